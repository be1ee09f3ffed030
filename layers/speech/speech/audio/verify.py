"""Judges whether bytes are whole, real, audible speech, by the bytes alone; headers are never asked."""

import re
from dataclasses import dataclass

from speech.audio import flac, layout, mp3, ogg, wav
from speech.audio.decode import blocks, opened
from speech.audio.layout import Layout, damaged, truncated
from speech.audio.recognise import OTHER_AUDIO, recognise
from speech.errors import UnusableAudio

SILENCE_DBFS = -60.0
SLOWEST, FASTEST = 2.0, 60.0
"""Characters per second between which speech is plausible. Real voices lie between 5 and 40."""

JUDGED_FROM = 20
"""Characters below which a duration says nothing: a number or an abbreviation may take any time."""

MAX_SECONDS = 2 * 3_600
MAX_SAMPLES = MAX_SECONDS * 48_000 * 2
"""What one segment may at most decode to, whatever its header claims and however well it is compressed."""

_READERS = {"wav": wav.read, "mp3": mp3.read, "flac": flac.read, "ogg": ogg.read}
_SAID_AS_IT_IS = {"empty", "json", "html", "xml", "text"}
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,40}")


@dataclass(frozen=True, slots=True)
class VerifiedAudio:
    """Audio that may be kept. `data` is what came, or the same samples with a mended header and no tags around them.

    `frames` counts the samples per channel that decoding `data` gives at `sample_rate`.
    """

    data: bytes
    container: str
    codec: str
    sample_rate: int
    channels: int
    frames: int
    seconds: float


def verify(
    data: bytes, *, characters: int | None, at_most: int | None = None, media_type: str | None = None
) -> VerifiedAudio:
    """Walk the container to its last byte, decode everything once, and listen; or raise UnusableAudio.

    `characters` is how much of the text makes a sound, None where it is not known: audio must not be too
    short for it. `at_most` is how many letters it may come to when read out (a digit is a word): audio must
    not be too long for that; without it `characters` counts. `media_type`, the sender's claim, decides
    nothing and is only repeated in the error.

    What the bytes cannot tell: a bit that flipped inside an MP3 frame; an untagged MP3, or a WAV of unknown
    size, that was cut exactly between two frames and is still long enough for its text.
    """
    container = recognise(data)
    if container not in _READERS:
        raise _not_audio(container, media_type)
    structure = _READERS[container](data)
    read_out = max(characters or 0, at_most or 0)
    longest = min(MAX_SECONDS, read_out / SLOWEST) if read_out >= JUDGED_FROM else MAX_SECONDS
    if structure.frames is not None and structure.frames / structure.sample_rate > longest:
        raise _implausible(structure.frames / structure.sample_rate, characters)
    sample_rate, frames, loudness = _listen(structure, longest, characters)
    _compare(structure, frames, sample_rate)
    seconds = frames / sample_rate
    if loudness <= 10 ** (SILENCE_DBFS / 20):
        raise UnusableAudio("silent", f"The audio is {seconds:.1f} seconds of silence.")
    if characters and characters >= JUDGED_FROM and characters > seconds * FASTEST:
        raise _implausible(seconds, characters)
    kept = structure.data
    if container == "flac" and structure.frames is None:
        kept = flac.with_frames(kept, frames)
    return VerifiedAudio(kept, container, structure.codec, sample_rate, structure.channels, frames, seconds)


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


def _listen(structure: Layout, longest: float, characters: int | None) -> tuple[int, int, float]:
    """Decode block by block: the sample rate, the frames, and the RMS without its constant part."""
    import numpy

    frames = 0
    total = power = 0.0
    centre = None
    # A float WAV may hold anything; what overflows is refused below.
    with opened(structure.data) as file, numpy.errstate(over="ignore", invalid="ignore"):
        rate, channels = file.samplerate, file.channels
        if channels != structure.channels or not layout.MIN_SAMPLE_RATE <= rate <= layout.MAX_SAMPLE_RATE:
            raise damaged(f"The decoder finds {channels} channels at {rate} Hz.")
        limit = min(longest * rate, MAX_SAMPLES // channels)
        for block in blocks(file):
            frames += len(block)
            if frames > limit:
                raise _implausible(frames / rate, characters)
            if centre is None:
                centre = block.mean()
            samples = block.reshape(-1) - centre  # a large constant would drown the rest in rounding
            total += float(samples.sum(dtype=numpy.float64))
            power += float(numpy.dot(samples, samples))
    count = max(frames * channels, 1)
    variance = power / count - (total / count) ** 2
    if not variance < float("inf"):  # neither infinite nor NaN, which a float WAV can hold
        raise damaged("The samples are not numbers.")
    return rate, frames, max(variance, 0.0) ** 0.5


def _compare(structure: Layout, frames: int, sample_rate: int) -> None:
    """Hold what was decoded against what the structure promised."""
    if not frames:
        raise UnusableAudio("empty", "There is no audio in the file.")
    if structure.frames is None:
        return
    promised, slack = (n * sample_rate / structure.sample_rate for n in (structure.frames, structure.slack))
    if frames < promised - slack - 1:
        raise truncated(f"Decoding gives {frames} samples of {promised:.0f}.")
    if frames > promised + slack + 1:
        raise damaged(f"Decoding gives {frames} samples in place of {promised:.0f}.")
