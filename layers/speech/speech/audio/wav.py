"""Walks a RIFF/WAVE file chunk by chunk to its last byte, and mends what can be mended without loss."""

from struct import Struct
from typing import NamedTuple

from speech.audio.layout import (
    MOST_PADDING,
    Layout,
    after_end_tags,
    damaged,
    ends_in_text,
    is_padding,
    leftover,
    several_files,
    truncated,
)
from speech.audio.recognise import recognise
from speech.errors import UnusableAudio

_FORMAT = Struct("<HHIIHH")
_LE32 = Struct("<I")
_HEAD = 4_096
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_CODECS = {
    (1, 8): "pcm_u8",
    (1, 16): "pcm_s16",
    (1, 24): "pcm_s24",
    (1, 32): "pcm_s32",
    (3, 32): "float32",
    (3, 64): "float64",
    (6, 8): "alaw",
    (7, 8): "ulaw",
}
_COMMON_RATES = {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000}
# Written by programs that stream and cannot come back to fill in the size: 0, or as much as fits.
_PLACEHOLDER = 0x7FFF_0000
_KNOWN_CHUNKS = {b"LIST", b"fact", b"JUNK", b"PAD ", b"cue ", b"smpl", b"bext", b"id3 ", b"ID3 ", b"iXML", b"PEAK"}


class _Format(NamedTuple):
    """The `fmt ` chunk; two of them are equal when their samples may follow each other."""

    codec: str
    sample_rate: int
    channels: int
    frame_bytes: int


class _File(NamedTuple):
    """One RIFF/WAVE in the data: its samples lie at [start, end), the next file begins at `next`."""

    format: _Format
    chunk: bytes
    start: int
    end: int
    next: int
    repairs: tuple[str, ...] = ()


def read(data: bytes) -> Layout:
    """Check the structure of a whole WAV file, or of several in a row with the same format: they become one.

    A stream whose sizes are placeholders and that was cut between two samples looks whole: only its
    duration can give it away.
    """
    files = [_read_one(data, 0)]
    while files[-1].next < len(data):
        files.append(_read_one(data, files[-1].next))
    first = files[0]
    if any(file.format != first.format for file in files):
        raise several_files("WAV files of different formats follow each other.")
    length = sum(file.end - file.start for file in files)
    if not length:
        raise UnusableAudio("empty", "The file holds a header and no audio.")
    for file in files:
        _refuse_text(data, file.start, file.end)
    frames = length // first.format.frame_bytes
    repairs = tuple(dict.fromkeys(repair for file in files for repair in file.repairs))
    repairs += ("files-merged",) if len(files) > 1 else ()
    if repairs:
        data = _canonical(first, [data[file.start : file.end] for file in files], frames)
    form = first.format
    return Layout(form.codec, form.sample_rate, form.channels, frames, data, repairs=repairs)


def _read_one(data: bytes, base: int) -> _File:
    if data[base : base + 4] != b"RIFF" or data[base + 8 : base + 12] != b"WAVE":
        raise truncated("The file ends inside its header.") if len(data) - base < 12 else leftover(data, base)
    parsed: _Format | None = None
    chunk = b""
    repairs: tuple[str, ...] = ()
    pos = base + 12
    while True:
        if pos + 8 > len(data):
            raise truncated("The file ends before its samples.")
        name = data[pos : pos + 4]
        size = _LE32.unpack_from(data, pos + 4)[0]
        if name == b"data":
            break
        if pos + 8 + size > len(data):
            raise truncated("The file ends before its samples.")
        if name == b"fmt ":
            chunk = data[pos + 8 : pos + 8 + size]
            parsed, chunk, repairs = _parse(chunk)
        pos += 8 + size + (size & 1)
    if parsed is None:
        raise damaged("The format chunk is missing.")
    start, end, following, as_declared = _samples(data, base, parsed, pos + 8, size)
    return _File(parsed, chunk, start, end, following, repairs if as_declared else (*repairs, "sizes-corrected"))


def _parse(chunk: bytes) -> tuple[_Format, bytes, tuple[str, ...]]:
    """What the chunk says, the chunk as it should be, and what that mended."""
    if len(chunk) < _FORMAT.size:
        raise damaged("The format chunk is too short.")
    tag, channels, rate, byte_rate, frame_bytes, bits = _FORMAT.unpack_from(chunk)
    if tag == 0xFFFE:
        if len(chunk) < 40 or chunk[26:40] != _GUID_TAIL:
            raise UnusableAudio("unsupported-container", "The WAV file holds a codec we do not read.")
        tag = int.from_bytes(chunk[24:26], "little")
    codec = _CODECS.get((tag, bits))
    if codec is None:
        raise UnusableAudio("unsupported-container", f"The WAV file holds codec {tag:#x} at {bits} bits.")
    if not channels or frame_bytes != channels * bits // 8:
        raise damaged("The format chunk contradicts itself.")
    if byte_rate == rate * frame_bytes:
        return _Format(codec, rate, channels, frame_bytes), chunk, ()
    # Players go by the sample rate, so nobody notices a wrong byte rate. Only a rate that audio never has
    # is taken for the wrong one of the two.
    if rate not in _COMMON_RATES and byte_rate % frame_bytes == 0 and byte_rate // frame_bytes in _COMMON_RATES:
        rate = byte_rate // frame_bytes
    chunk = chunk[:4] + _LE32.pack(rate) + _LE32.pack(rate * frame_bytes & 0xFFFF_FFFF) + chunk[12:]
    return _Format(codec, rate, channels, frame_bytes), chunk, ("rates-corrected",)


def _refuse_text(data: bytes, start: int, end: int) -> None:
    """Raw samples get their header from whoever fetched them, and so does an error in their place."""
    head = data[start : min(end, start + _HEAD)]
    kind = recognise(head)
    # Samples may begin like JSON by chance, but they do not go on as text.
    if kind in ("json", "html", "xml") and recognise(b"x" + head) == "text":
        raise UnusableAudio(kind, f"There is {kind} where the samples should be.")
    if ends_in_text(data[max(start, end - _HEAD) : end]):
        raise UnusableAudio("trailing-bytes", "An error message follows the samples.")


def _samples(data: bytes, base: int, parsed: _Format, start: int, size: int) -> tuple[int, int, int, bool]:
    """Where the samples begin and end, where the next file begins, and whether the sizes say so."""
    present = len(data) - start
    streamed = (size >= _PLACEHOLDER and size > present) or (size == 0 and present > 0 and not _ends_well(data, start))
    if streamed:
        following = _next_riff(data, start)
        end = following
        extra = (end - start) % parsed.frame_bytes
        if extra == 1 and parsed.frame_bytes % 2 and data[end - 1] == 0:
            end -= 1  # the byte that makes an odd chunk even
        elif extra:
            raise truncated("The file ends inside a sample.")
        return start, end, following, False
    if size > present:
        raise truncated(f"The header promises {size} bytes of samples; there are {present}.")
    if size % parsed.frame_bytes:
        raise damaged("The samples end inside a frame.")
    end = start + size
    following = _after(data, end, size & 1)
    whole = following == len(data) and _LE32.unpack_from(data, base + 4)[0] == len(data) - base - 8
    return start, end, following, whole


def _after(data: bytes, end: int, pad: int) -> int:
    """Where the next file begins, or the end of the data, past the chunks that follow the samples."""
    for pos in (end + 1, end) if pad else (end,):
        stop = _walk_chunks(data, pos)
        if data[stop : stop + 4] == b"RIFF":
            return stop
        padded = is_padding(data, stop) and len(data) - stop > MOST_PADDING
        if after_end_tags(data, stop) >= len(data) and not padded:
            return len(data)
    stop = _walk_chunks(data, end + pad)
    if data[stop : stop + 4] in _KNOWN_CHUNKS:
        raise truncated("The file ends inside a chunk that follows the samples.")
    raise leftover(data, stop)


def _walk_chunks(data: bytes, pos: int) -> int:
    while pos + 8 <= len(data) and data[pos : pos + 4] != b"RIFF":
        size = _LE32.unpack_from(data, pos + 4)[0]
        if not _is_chunk_name(data[pos : pos + 4]) or pos + 8 + size > len(data):
            break
        pos += 8 + size + (size & 1)
    return pos


def _is_chunk_name(name: bytes) -> bool:
    return name.replace(b" ", b"").replace(b"_", b"").isalnum()


def _ends_well(data: bytes, start: int) -> bool:
    """Whether the rest is chunks to the last byte: then a size of 0 means that there are no samples."""
    return _walk_chunks(data, start) == len(data)


def _next_riff(data: bytes, start: int) -> int:
    at = data.find(b"WAVE", start)
    while at != -1:
        if data[at - 8 : at - 4] == b"RIFF" and at - 8 >= start and _is_chunk_name(data[at + 4 : at + 8]):
            return at - 8
        at = data.find(b"WAVE", at + 1)
    return len(data)


def _canonical(file: _File, samples: list[bytes], frames: int) -> bytes:
    """One file with true sizes: format, sample count where the codec needs it, samples."""
    length = sum(map(len, samples))
    chunks = b"fmt " + _LE32.pack(len(file.chunk)) + file.chunk + b"\0" * (len(file.chunk) & 1)
    if not file.format.codec.startswith("pcm"):
        chunks += b"fact" + _LE32.pack(4) + _LE32.pack(frames)
    chunks += b"data" + _LE32.pack(length)
    pad = b"\0" * (length & 1)
    return b"".join((b"RIFF", _LE32.pack(4 + len(chunks) + length + len(pad)), b"WAVE", chunks, *samples, pad))
