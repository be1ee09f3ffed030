"""Good files of every kind, and files damaged in every way we could think of, made from a seed."""

import base64
import gzip
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import soundfile
from numpy.typing import NDArray

from speech.audio import flac, mpeg
from speech.audio.decode import blocks, opened
from speech.audio.verify import VerifiedAudio, verify
from speech.errors import UnusableAudio
from tests.unit.audio import sounds

Random = np.random.Generator

JSON = b'{"error": {"code": "quota", "message": "Out of credits"}}'
HTML = b"<html><head><title>502</title></head><body>Bad Gateway</body></html>"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200)


# --- Good files -------------------------------------------------------------------------------


def _streamed_wav(data: bytes) -> bytes:
    return sounds.with_sizes(data, 0xFFFF_FFFF, 0xFFFF_FFFF)


def _streamed_flac(data: bytes) -> bytes:
    out = bytearray(data)
    out[21] &= 0xF0
    out[22:26] = bytes(4)
    return bytes(out)


def _wav(subtype: str) -> Callable[[sounds.Samples, int], bytes]:
    return lambda sound, rate: sounds.wav(sound, rate, subtype)


KINDS: dict[str, Callable[[sounds.Samples, int], bytes]] = {
    "WAV, 8 bits": _wav("PCM_U8"),
    "WAV, 16 bits": _wav("PCM_16"),
    "WAV, 24 bits": _wav("PCM_24"),
    "WAV, 32 bits": _wav("PCM_32"),
    "WAV, float": _wav("FLOAT"),
    "WAV, A-law": _wav("ALAW"),
    "WAV, µ-law": _wav("ULAW"),
    "WAV, streamed": lambda sound, rate: _streamed_wav(sounds.wav(sound, rate)),
    "MP3, variable bitrate": lambda sound, rate: sounds.mp3(sound, rate),
    "MP3, constant bitrate": lambda sound, rate: sounds.mp3(sound, rate, "CONSTANT", 0.6),
    "MP3, variable, no tag": lambda sound, rate: sounds.untagged(sounds.mp3(sound, rate)),
    "MP3, constant, no tag": lambda sound, rate: sounds.untagged(sounds.mp3(sound, rate, "CONSTANT", 0.6)),
    "FLAC, 16 bits": lambda sound, rate: sounds.flac(sound, rate),
    "FLAC, 24 bits": lambda sound, rate: sounds.flac(sound, rate, "PCM_24"),
    "FLAC, streamed": lambda sound, rate: _streamed_flac(sounds.flac(sound, rate)),
    "Ogg Opus": lambda sound, rate: sounds.opus(sound, rate),
    "Ogg Vorbis": lambda sound, rate: sounds.vorbis(sound, rate),
}
WAVS = frozenset(kind for kind in KINDS if kind.startswith("WAV"))
UNTAGGED = frozenset({"MP3, variable, no tag", "MP3, constant, no tag"})
_ANY_RATE = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


def _rate(rng: Random, kind: str) -> int:
    return int(rng.choice(_OPUS_RATES if kind == "Ogg Opus" else _ANY_RATE))


@dataclass(frozen=True, slots=True)
class Good:
    """A whole file, how many characters it speaks, and what verifying it gave."""

    kind: str
    data: bytes
    characters: int
    verified: VerifiedAudio

    @property
    def edges(self) -> list[int]:
        """Where its frames, its pages or, every thousand samples, its samples begin."""
        if self.kind.startswith("MP3"):
            return sounds.frame_starts(self.data)
        if self.kind.startswith("Ogg"):
            return [match.start() for match in re.finditer(b"OggS", self.data)]
        if self.kind.startswith("FLAC"):
            found = (match.start() for match in re.finditer(rb"\xff[\xf8\xf9]", self.data))
            return [at for at in found if flac._frame(self.data, at)]
        start = self.data.index(b"data") + 8
        width = int.from_bytes(self.data[32:34], "little")
        return list(range(start, len(self.data) - width, 1_000 * width))

    @property
    def head(self) -> int:
        """The length of what comes before the first frame of sound."""
        edges = self.edges
        return edges[2 if self.kind.startswith("Ogg") else 1 if "bitrate" in self.kind else 0]


@cache
def good(kind: str, seed: int) -> Good:
    """An ordinary file of that kind."""
    rng = np.random.default_rng((seed, list(KINDS).index(kind)))
    rate, seconds = _rate(rng, kind), float(rng.uniform(3, 6))
    sound = sounds.speech(seconds, rate, int(rng.integers(1, 3)), seed)
    data, characters = KINDS[kind](sound, rate), int(seconds * rng.uniform(12, 18))
    return Good(kind, data, characters, verify(data, characters=characters))


def odd_but_good(number: int) -> tuple[str, bytes, int]:
    """A whole file with something unusual about it, from its number: what it is, its bytes, its characters."""
    rng = np.random.default_rng((7, number))
    kind = list(KINDS)[number % len(KINDS)]
    rate, seconds = _rate(rng, kind), float(rng.uniform(1, 5))
    sound = sounds.speech(seconds, rate, int(rng.integers(1, 3)), number)
    matter, sound = _unusual_sound(rng, sound, rate)
    data = KINDS[kind](sound, rate)
    if kind.startswith("MP3") and rng.random() < 0.5:
        mode, level = str(rng.choice(["VARIABLE", "CONSTANT", "AVERAGE"])), float(rng.uniform(0, 0.95))
        data = sounds.mp3(sound, rate, mode, level)
        data = sounds.untagged(data) if "no tag" in kind and _has_tag(data) else data
        matter += f", {mode.lower()} {level:.2f}"
    dressed, data = _dressed(rng, kind, data)
    heard = len(sound) / rate
    return f"{kind}, {rate} Hz, {matter}{dressed}", data, max(1, int(heard * rng.uniform(4, 35)))


def _has_tag(data: bytes) -> bool:
    header = mpeg.header_at(data, 0)
    return header is not None and mpeg.tag_at(data, 0, header) is not None


def _unusual_sound(rng: Random, sound: sounds.Samples, rate: int) -> tuple[str, sounds.Samples]:
    match int(rng.integers(0, 8)):
        case 0:
            return "quiet", sound * 0.02
        case 1:
            return "too loud", np.clip(sound * 12, -1, 1)
        case 2:
            return "off centre", np.clip(sound + 0.2, -1, 1)
        case 3:
            pause = np.zeros((rate // 8, *sound.shape[1:]))
            return "with pauses", np.concatenate([pause, sound[: len(sound) // 2], pause, sound[len(sound) // 2 :]])
        case 4:
            return "over hiss", sound + 0.01 * rng.standard_normal(sound.shape)
        case 5:
            return "a tone", 0.5 * np.sin(np.arange(len(sound)) * 2 * np.pi * 440 / rate)
        case _:
            return "ordinary", sound


def _dressed(rng: Random, kind: str, data: bytes) -> tuple[str, bytes]:
    choice = int(rng.integers(0, 6))
    if kind.startswith("MP3"):
        front, end = [(b"", b""), (sounds.id3(), b""), (b"", sounds.id3v1()), (sounds.id3(), sounds.ape())][choice % 4]
        # Behind frames that nothing counts, many zeros may be what became of the rest.
        end += bytes(int(rng.integers(0, 500 if _has_tag(data) else 16))) if choice == 4 else b""
        front = sounds.ape() + front if choice == 5 else front
        return (", tags" if front or end else ""), front + data + end
    if kind.startswith("FLAC") and choice < 3:
        return ", tags", [sounds.id3() + data, data + sounds.id3v1(), data + sounds.ape()][choice]
    if kind.startswith("WAV") and choice < 4:
        place = [0, 0xFFFF_FFFF, 0x7FFF_FFFF, None][choice]
        if place is not None:
            return ", streamed", sounds.with_sizes(data, place, place)
        if "streamed" not in kind:
            return ", a list of tags", data + b"LIST\x06\0\0\0INFOxx"
    return "", data


# --- Damage -----------------------------------------------------------------------------------


def _cut_anywhere(rng: Random, file: Good) -> bytes:
    return file.data[: int(rng.integers(1, len(file.data)))]


def _cut_in_header(rng: Random, file: Good) -> bytes:
    return file.data[: int(rng.integers(1, max(2, file.head)))]


def _cut_last_bytes(rng: Random, file: Good) -> bytes:
    return file.data[: -int(rng.integers(1, 17))]


def _cut_at_edge(rng: Random, file: Good) -> bytes:
    return file.data[: int(rng.choice(file.edges[1:]))]


def _head_lost_anywhere(rng: Random, file: Good) -> bytes:
    return file.data[int(rng.integers(1, len(file.data))) :]


def _head_lost_at_edge(rng: Random, file: Good) -> bytes:
    """The first frames are missing, though not the file's header."""
    head = 0 if file.kind in UNTAGGED else file.head
    later = [at for at in file.edges if at > head]
    return file.data[:head] + file.data[int(rng.choice(later)) :]


def _flipped(rng: Random, data: bytes, start: int, end: int, count: int) -> bytes:
    out = bytearray(data)
    for at in rng.integers(start, end, count).tolist():
        out[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(out)


def _bits_in_header(rng: Random, file: Good) -> bytes:
    return _flipped(rng, file.data, 0, max(36, file.head), int(rng.integers(1, 4)))


def _bits_in_sound(rng: Random, file: Good) -> bytes:
    return _flipped(rng, file.data, file.head, len(file.data), int(rng.integers(1, 9)))


def _overwritten(rng: Random, file: Good, patch: Callable[[int], bytes], longest: int) -> bytes:
    at = int(rng.integers(file.head, len(file.data) - 64))
    length = min(int(rng.integers(64, longest)), len(file.data) - at)
    return file.data[:at] + patch(length) + file.data[at + length :]


def _noise_burst(rng: Random, file: Good) -> bytes:
    return _overwritten(rng, file, rng.bytes, 1_024)


def _zeroed_range(rng: Random, file: Good) -> bytes:
    return _overwritten(rng, file, bytes, 4_096)


def _zeroed_tail(rng: Random, file: Good) -> bytes:
    at = int(rng.integers(file.head, len(file.data) - 64))
    return file.data[:at] + bytes(len(file.data) - at)


def _pieces(file: Good) -> tuple[bytes, list[bytes]]:
    edges = [at for at in file.edges if at >= file.head]
    return file.data[: edges[0]], [file.data[a:b] for a, b in zip(edges, [*edges[1:], len(file.data)], strict=True)]


def _frame_dropped(rng: Random, file: Good) -> bytes:
    head, pieces = _pieces(file)
    del pieces[int(rng.integers(0, len(pieces) - 1))]
    return head + b"".join(pieces)


def _frame_doubled(rng: Random, file: Good) -> bytes:
    head, pieces = _pieces(file)
    at = int(rng.integers(0, len(pieces) - 1))
    return head + b"".join([*pieces[:at], pieces[at], *pieces[at:]])


def _frames_swapped(rng: Random, file: Good) -> bytes:
    head, pieces = _pieces(file)
    if len(pieces) > 2:
        first, second = sorted(rng.choice(len(pieces) - 1, 2, replace=False).tolist())
        pieces[first], pieces[second] = pieces[second], pieces[first]
    else:
        pieces.reverse()
    return head + b"".join(pieces)


def _two_files(rng: Random, file: Good) -> bytes:
    """Two of one kind. WAV files of one format in a row are one sound, so those have another rate."""
    others = [good(file.kind, seed) for seed in range(4)]
    if file.kind in WAVS:
        others = [other for other in others if other.verified.sample_rate != file.verified.sample_rate]
    return file.data + others[int(rng.integers(0, len(others)))].data


def _two_kinds(rng: Random, file: Good) -> bytes:
    family = file.kind[:3]
    others = [kind for kind in KINDS if not kind.startswith(family)]
    return file.data + good(str(rng.choice(others)), 0).data


def _message(rng: Random) -> bytes:
    return [JSON, HTML, JSON + b"\n", b'{\n  "detail": "internal error"\n}'][int(rng.integers(0, 4))]


def _message_after(rng: Random, file: Good) -> bytes:
    return file.data + _message(rng)


def _message_after_cut(rng: Random, file: Good) -> bytes:
    return file.data[: int(rng.choice(file.edges[1:]))] + _message(rng)


def _message_before(rng: Random, file: Good) -> bytes:
    return _message(rng) + b"\n" + file.data


def _message_inside(rng: Random, file: Good) -> bytes:
    at = int(rng.choice([at for at in file.edges if at > file.head]))
    return file.data[:at] + _message(rng) + file.data[at:]


def _text_in_place(rng: Random, _file: Good) -> bytes:
    texts = [b"", b"\r\n \n", b"null", b"{}", JSON, HTML, b"<?xml version='1.0'?><Error/>", b"Internal Server Error"]
    return texts[int(rng.integers(0, len(texts)))]


def _text_as_samples(rng: Random, file: Good) -> bytes:
    """An error behind the header that somebody put before what should have been raw samples."""
    text = _message(rng) * int(rng.integers(1, 2_000))
    return sounds.wav_with(sounds.format_chunk(bits=8, tag=int(rng.choice([1, 6, 7]))), text)


def _other_container(rng: Random, file: Good) -> bytes:
    sound, rate = soundfile.read(io.BytesIO(file.verified.data))
    match int(rng.integers(0, 7)):
        case 0:
            return sounds.encode(sound, rate, str(rng.choice(["AIFF", "AU", "CAF", "W64", "RF64"])), "PCM_16")
        case 1:
            return b"\0\0\0\x20ftypM4A \0\0\0\0" + file.data
        case 2:
            return (b"\xff\xf1\x50\x80\x02\x1f\xfc" + rng.bytes(9)) * 100
        case 3:
            return b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81" + file.data
        case 4:
            return b"#!AMR\n" + rng.bytes(2_000)
        case 5:
            return b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + rng.bytes(2_000)
        case _:
            return (
                sounds.wav(sound, rate, str(rng.choice(["IMA_ADPCM", "MS_ADPCM", "GSM610"])))
                if sound.ndim == 1
                else PNG
            )


def _packed(rng: Random, file: Good) -> bytes:
    match int(rng.integers(0, 3)):
        case 0:
            return gzip.compress(file.data, 1, mtime=0)
        case 1:
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as packed:
                packed.writestr(zipfile.ZipInfo("audio"), file.data)
            return archive.getvalue()
        case _:
            return base64.b64encode(file.data)


def _random_bytes(rng: Random, file: Good) -> bytes:
    return file.data[: int(rng.integers(0, 5))] + rng.bytes(int(rng.integers(100, 20_000)))


def _silence(rng: Random, file: Good) -> bytes:
    rate = file.verified.sample_rate
    frames = int(rate * rng.uniform(3, 6))
    hiss = float(rng.choice([0, 0.0004])) * rng.standard_normal(frames)
    # Of a constant level a lossy codec makes a click and a hum.
    if file.kind.startswith(("WAV", "FLAC")) and rng.random() < 0.4:
        return KINDS[file.kind](np.full(frames, 0.3), rate)
    return KINDS[file.kind](hiss, rate)


def _too_short(rng: Random, file: Good) -> bytes:
    """Speech that was over too soon: the file itself is whole."""
    rate = file.verified.sample_rate
    seconds = file.characters / 60 * rng.uniform(0.2, 0.85)
    return KINDS[file.kind](sounds.speech(seconds, rate, seed=int(rng.integers(0, 50))), rate)


def _too_long(rng: Random, file: Good) -> bytes:
    seconds = file.characters / 2 * rng.uniform(1.1, 1.5)
    return KINDS[file.kind](sounds.speech(seconds, 8_000, seed=int(rng.integers(0, 50))), 8_000)


def _rate_lie(rng: Random, file: Good) -> bytes:
    """A header with another sample rate, in every field that names it."""
    out = bytearray(file.data)
    if file.kind in WAVS:
        wrong = int(rng.choice([rate for rate in _ANY_RATE if rate != file.verified.sample_rate]))
        out[24:28] = wrong.to_bytes(4, "little")
        out[28:32] = (wrong * int.from_bytes(out[32:34], "little")).to_bytes(4, "little")
    elif file.kind.startswith("FLAC"):
        wrong = int(rng.choice([rate for rate in _ANY_RATE if rate != file.verified.sample_rate]))
        packed = int.from_bytes(out[18:26]) & (1 << 44) - 1 | wrong << 44
        out[18:26] = packed.to_bytes(8)
    else:
        at = file.data.index(b"OpusHead" if "Opus" in file.kind else b"vorbis") if "Ogg" in file.kind else 2
        at += 12 if "Ogg" in file.kind else 0
        out[at] ^= 0x04 if file.kind.startswith("MP3") else 0xFF
    return bytes(out)


def _count_lie(rng: Random, file: Good) -> bytes:
    """A header that promises more than there is."""
    out = bytearray(file.data)
    if file.kind in WAVS:
        at = file.data.index(b"data") + 4
        size = int.from_bytes(out[at : at + 4], "little")
        out[at : at + 4] = (len(out) - at - 4 + 2 * int(rng.integers(1, 10**6))).to_bytes(4, "little")
        del size
    elif file.kind.startswith("FLAC"):
        packed = int.from_bytes(out[18:26])
        out[18:26] = ((packed & ~((1 << 36) - 1)) | int(rng.integers(10**7, 1 << 36))).to_bytes(8)
    elif file.kind.startswith("Ogg"):
        last = file.edges[-1]
        out[last + 6 : last + 14] = int(rng.integers(10**8, 1 << 60)).to_bytes(8, "little")
    elif "bitrate" in file.kind:
        at = file.data.index(b"Xing" if b"Xing" in file.data[:64] else b"Info") + 8
        out[at : at + 4] = int(rng.integers(10**4, 1 << 32)).to_bytes(4)
    else:
        out[1] ^= 0x08  # another MPEG version
    return bytes(out)


def _bomb(rng: Random, file: Good) -> bytes:
    """Few bytes, hours of samples, and a text that takes seconds."""
    return _bomb_of("ogg" if file.kind.startswith("Ogg") else "flac", int(rng.choice([700, 900])))


@cache
def _bomb_of(container: str, seconds: int) -> bytes:
    rate = 8_000
    sound = np.zeros(rate * seconds)
    sound[:rate] = 0.1 * np.sin(np.arange(rate) / 5)
    if container == "flac":
        return sounds.encode(sound, rate, "FLAC", "PCM_16")
    return sounds.encode(sound, rate, "OGG", "VORBIS")


DAMAGE: dict[str, Callable[[Random, Good], bytes]] = {
    "cut anywhere": _cut_anywhere,
    "cut inside the header": _cut_in_header,
    "the last 1 to 16 bytes lost": _cut_last_bytes,
    "cut between two frames": _cut_at_edge,
    "the beginning lost, anywhere": _head_lost_anywhere,
    "the first frames lost": _head_lost_at_edge,
    "bits flipped in the header": _bits_in_header,
    "bits flipped in the sound": _bits_in_sound,
    "a burst of noise over the bytes": _noise_burst,
    "a range of zeros over the bytes": _zeroed_range,
    "zeros to the end": _zeroed_tail,
    "a frame dropped": _frame_dropped,
    "a frame doubled": _frame_doubled,
    "two frames swapped": _frames_swapped,
    "two files of one kind": _two_files,
    "two files of two kinds": _two_kinds,
    "an error message after the sound": _message_after,
    "an error message after a cut": _message_after_cut,
    "an error message before the sound": _message_before,
    "an error message inside the sound": _message_inside,
    "an error message in place of the sound": _text_in_place,
    "an error message as samples": _text_as_samples,
    "a container we do not read": _other_container,
    "packed or encoded": _packed,
    "random bytes": _random_bytes,
    "silence": _silence,
    "over too soon": _too_short,
    "far too long": _too_long,
    "another sample rate in the header": _rate_lie,
    "a promise of more than there is": _count_lie,
    "a bomb": _bomb,
}

_SAMPLES_WITHOUT_CHECKSUM = {
    "bits flipped in the sound",
    "a burst of noise over the bytes",
    "a range of zeros over the bytes",
    "zeros to the end",
    "two frames swapped",
    "another sample rate in the header",
}
_UNCOUNTED = {
    "cut between two frames",
    "the first frames lost",
    "a frame dropped",
    "a frame doubled",
}


def detectable(damage: str, kind: str) -> bool:
    """Whether the bytes can tell. What they cannot is a promise we do not make; its rate is measured."""
    if kind in WAVS and damage in {*_SAMPLES_WITHOUT_CHECKSUM, "bits flipped in the header"}:
        return False
    if kind == "WAV, streamed" and damage in {
        *_UNCOUNTED,
        "two files of two kinds",
        "cut anywhere",
        "the last 1 to 16 bytes lost",
        "an error message inside the sound",
    }:
        return False
    if kind in UNTAGGED and damage in {
        *_UNCOUNTED,
        "bits flipped in the header",
        "bits flipped in the sound",
        "a burst of noise over the bytes",
        "a range of zeros over the bytes",
        "zeros to the end",
        "two frames swapped",
        "two files of one kind",
    }:
        return False
    return not (kind == "FLAC, streamed" and damage == "cut between two frames")


PAIRS = [(damage, kind) for damage in DAMAGE for kind in KINDS]


# --- Verdicts ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one damaged file: refused for a `reason`, or accepted; `harmed` if it sounds different.

    `faster` is how much faster than in the whole file the text would seem to be spoken.
    """

    damage: str
    kind: str
    number: int
    reason: str | None = None
    harmed: bool = False
    faster: float = 1.0

    @property
    def wrong(self) -> bool:
        return self.reason is None and self.harmed


def heard(data: bytes) -> NDArray[np.float32]:
    """Every sample that the decoder gives."""
    with opened(data) as file:
        return np.concatenate([block.copy() for block in blocks(file)])


def judge(damage: str, kind: str, number: int) -> Verdict:
    """Damage a file as the number says, and ask for the verdict."""
    rng = np.random.default_rng((number, *damage.encode(), *kind.encode()))
    file = good(kind, int(rng.integers(0, 4)))
    data = DAMAGE[damage](rng, file)
    try:
        verified = verify(data, characters=file.characters)
    except UnusableAudio as error:
        return Verdict(damage, kind, number, error.reason)
    harmed = not np.array_equal(heard(verified.data), heard(file.verified.data))
    harmed = harmed or verified.sample_rate != file.verified.sample_rate
    return Verdict(damage, kind, number, None, harmed, file.verified.heard / verified.heard)


def verdicts(count: int, *, can_be_told: bool) -> Iterator[Verdict]:
    """The verdicts on that many damaged files, all classes in turn."""
    pairs = [pair for pair in PAIRS if detectable(*pair) is can_be_told]
    for number in range(count):
        damage, kind = pairs[number % len(pairs)]
        yield judge(damage, kind, number // len(pairs))


# --- Mutation ---------------------------------------------------------------------------------


def mutated(number: int, files: list[Good]) -> bytes:
    """A good file with a few bytes changed, cut out, repeated, moved, put in, or taken from another file."""
    rng = np.random.default_rng((15, number))
    data = bytearray(files[number % len(files)].data)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        early = rng.random() < 0.5  # headers are where the interesting bytes are
        at = int(rng.integers(0, min(len(data), 300) if early else len(data)))
        length = int(rng.integers(1, 64 if rng.random() < 0.8 else 5_000))
        match int(rng.integers(0, 7)):
            case 0:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at : at + 4] = [bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"][int(rng.integers(0, 4))]
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                data[at:at] = rng.bytes(length)
            case 5:
                other = files[int(rng.integers(0, len(files)))].data
                data[at:at] = other[: 10 * length]
            case _:
                del data[max(1, at) :]
    return bytes(data)
