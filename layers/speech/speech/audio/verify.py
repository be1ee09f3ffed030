"""Judges whether bytes are whole, real, audible speech, by the bytes alone; headers are never asked."""

import re
from math import log10
from typing import NamedTuple

from speech.audio import flac, layout, mp3, ogg, wav
from speech.audio.decode import blocks, opened
from speech.audio.layout import Layout, damaged, truncated
from speech.audio.recognise import OTHER_AUDIO, recognise
from speech.errors import UnusableAudio

SILENCE = 10 ** (-60 / 20)
"""As RMS, of full scale."""

SLOWEST, FASTEST = 2.0, 60.0
"""Characters per second between which speech is plausible. Real voices lie between 5 and 40."""

JUDGED_FROM = 20
"""Characters below which a duration says nothing: a number or an abbreviation may take any time."""

UNJUDGED_SECONDS = 600
"""As long as the speech of so short a text may take."""

MAX_SECONDS = 2 * 3_600
MAX_SAMPLES = MAX_SECONDS * 48_000 * 2
"""What one segment may at most decode to, whatever its header claims and however well it is compressed."""

_WINDOW = 256
"""Frames between which a pause is told from a sound."""

_READERS = {"wav": wav.read, "mp3": mp3.read, "flac": flac.read, "ogg": ogg.read}
_SAID_AS_IT_IS = {"empty", "json", "html", "xml", "text"}
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}")


class VerifiedAudio(NamedTuple):
    """Audio that may be kept. `data` is what came, or the same samples with a mended header and no tags around them.

    `frames` counts the samples per channel that decoding `data` gives at `sample_rate`. `heard` is how many
    seconds lie between the first sound and the end of the last, `loudness` the RMS in dB below full scale;
    `repairs` names what was mended.
    """

    data: bytes
    container: str
    codec: str
    sample_rate: int
    channels: int
    frames: int
    seconds: float
    heard: float
    loudness: float
    repairs: tuple[str, ...] = ()


def verify(
    data: bytes, *, characters: int | None, at_most: int | None = None, media_type: str | None = None
) -> VerifiedAudio:
    """Walk the container to its last byte, decode everything once, and listen; or raise UnusableAudio.

    `characters` is how much of the text makes a sound, None where it is not known: audio must not be too
    short for it. `at_most` is how many letters it may come to when read out (a digit is a word): audio must
    not be too long for that; without it `characters` counts. `media_type`, the sender's claim, decides
    nothing and is only repeated in the error.

    What the bytes cannot tell is measured in docs/verified-audio.md.
    """
    container = recognise(data)
    if container not in _READERS:
        raise _not_audio(container, media_type)
    structure = _READERS[container](data)
    read_out = max(characters or 0, at_most or 0)
    longest: float = MAX_SECONDS
    if read_out:
        longest = min(longest, read_out / SLOWEST if read_out >= JUDGED_FROM else UNJUDGED_SECONDS)
    if structure.frames / structure.sample_rate > longest:
        raise _implausible(structure.frames / structure.sample_rate, characters)
    listened = _listen(structure)
    rate, frames = listened.sample_rate, listened.frames
    _compare(structure, frames, rate)
    seconds = frames / rate
    if listened.rms <= SILENCE:
        raise UnusableAudio("silent", f"The audio is {seconds:.1f} seconds of silence.")
    if listened.rms > 1:
        raise damaged("The samples are far louder than full scale.")
    # A vendor that failed may fill up with silence, so only what is heard counts.
    if characters and characters >= JUDGED_FROM and characters > listened.heard * FASTEST:
        raise _implausible(listened.heard, characters)
    loudness = round(20 * log10(listened.rms), 1)
    return VerifiedAudio(
        structure.data,
        container,
        structure.codec,
        rate,
        structure.channels,
        frames,
        seconds,
        listened.heard,
        loudness,
        structure.repairs,
    )


def _not_audio(kind: str | None, media_type: str | None) -> UnusableAudio:
    claim = f", though it was sent as {media_type}" if media_type and _MEDIA_TYPE.fullmatch(media_type) else ""
    if kind in OTHER_AUDIO:
        return UnusableAudio("unsupported-container", f"The audio is in a container we do not read ({kind}){claim}.")
    if kind in _SAID_AS_IT_IS:
        return UnusableAudio(kind, f"The answer is not audio but {kind}{claim}.")
    return UnusableAudio("not-audio", f"The answer is not audio ({kind or 'of no known kind'}){claim}.")


def _implausible(seconds: float, characters: int | None) -> UnusableAudio:
    spoken = f"{characters} characters" if characters else "a segment"
    return UnusableAudio("implausible-duration", f"{seconds:.1f} seconds cannot be the speech of {spoken}.")


class _Listened(NamedTuple):
    """What decoding gave; `rms` is without the constant part, and 0 where there is next to nothing but that."""

    sample_rate: int
    frames: int
    rms: float
    heard: float


def _listen(structure: Layout) -> _Listened:
    """Decode block by block, no further than the structure promised."""
    import numpy

    frames = first = last = sounds = 0
    total = power = 0.0
    centre = None
    size = _WINDOW * structure.channels
    # A float WAV may hold anything; what overflows is refused below.
    with opened(structure.data) as file, numpy.errstate(over="ignore", invalid="ignore"):
        rate, channels = file.samplerate, file.channels
        if channels != structure.channels or not layout.MIN_SAMPLE_RATE <= rate <= layout.MAX_SAMPLE_RATE:
            raise damaged(f"The decoder finds {channels} channels at {rate} Hz.")
        most = min((structure.frames + structure.slack) * rate // structure.sample_rate + 2, MAX_SAMPLES // channels)
        for block in blocks(file):
            if centre is None:
                centre = block.mean()
            samples = block.reshape(-1) - centre  # a large constant would drown the rest in rounding
            total += float(samples.sum(dtype=numpy.float64))
            power += float(numpy.dot(samples, samples))
            whole = len(block) // _WINDOW
            windows = samples[: whole * _WINDOW * channels].reshape(whole, _WINDOW * channels)
            # Without each window's own constant part: bytes of zero are silence, but at full scale in some codecs.
            changes = numpy.einsum("ij,ij->i", windows, windows) / size - (windows.sum(axis=1) / size) ** 2
            sounding = numpy.flatnonzero(changes > SILENCE**2)
            if len(sounding):
                first = first or frames + int(sounding[0]) * _WINDOW + 1
                last = frames + (int(sounding[-1]) + 1) * _WINDOW
                sounds += len(sounding) * _WINDOW
            frames += len(block)
            if frames > most:
                break
    count = max(frames * channels, 1)
    variance = power / count - (total / count) ** 2
    if not variance < float("inf"):  # neither infinite nor NaN, which a float WAV can hold
        raise damaged("The samples are not numbers.")
    rms = max(variance, 0.0) ** 0.5 if 100 * sounds >= frames - _WINDOW else 0.0
    return _Listened(rate, frames, rms, max(last - first + 1, 0) / rate)


def _compare(structure: Layout, frames: int, sample_rate: int) -> None:
    """Hold what was decoded against what the structure promised."""
    if not frames:
        raise UnusableAudio("empty", "There is no audio in the file.")
    promised, slack = (n * sample_rate / structure.sample_rate for n in (structure.frames, structure.slack))
    if frames < promised - slack - 1:
        raise truncated(f"Decoding gives {frames} samples of {promised:.0f}.")
    if frames > promised + slack + 1:
        raise damaged(f"Decoding gives {frames} samples in place of {promised:.0f}.")
