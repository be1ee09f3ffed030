"""Walks a RIFF/WAVE file chunk by chunk to its last byte, and mends what can be mended without loss."""

from dataclasses import dataclass
from struct import Struct

from speech.audio.layout import Layout, damaged, ends_in_text, is_padding, leftover, several_files, truncated
from speech.errors import UnusableAudio

_FORMAT = Struct("<HHIIHH")
_LE32 = Struct("<I")
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
# Written by programs that stream and cannot come back to fill in the size: 0, or as much as fits.
_PLACEHOLDER = 0x7FFF_0000
_KNOWN_CHUNKS = {b"LIST", b"fact", b"JUNK", b"PAD ", b"cue ", b"smpl", b"bext", b"id3 ", b"ID3 ", b"iXML", b"PEAK"}


@dataclass(frozen=True, slots=True)
class _Format:
    """The `fmt ` chunk; two of them are equal when their samples may follow each other."""

    codec: str
    sample_rate: int
    channels: int
    frame_bytes: int


@dataclass(frozen=True, slots=True)
class _File:
    """One RIFF/WAVE in the data: its samples lie at [start, end), the next file begins at `next`."""

    format: _Format
    chunk: bytes
    start: int
    end: int
    next: int
    as_declared: bool


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
    frames = length // first.format.frame_bytes
    if len(files) > 1 or not first.as_declared:
        data = _canonical(first, [data[file.start : file.end] for file in files], frames)
    return Layout(first.format.codec, first.format.sample_rate, first.format.channels, frames, data)


def _read_one(data: bytes, base: int) -> _File:
    if data[base : base + 4] != b"RIFF" or data[base + 8 : base + 12] != b"WAVE":
        raise truncated("The file ends inside its header.") if len(data) - base < 12 else leftover(data, base)
    parsed: _Format | None = None
    chunk = b""
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
            parsed = _parse(chunk)
        pos += 8 + size + (size & 1)
    if parsed is None:
        raise damaged("The format chunk is missing.")
    return _samples(data, base, parsed, chunk, pos + 8, size)


def _parse(chunk: bytes) -> _Format:
    if len(chunk) < _FORMAT.size:
        raise damaged("The format chunk is too short.")
    tag, channels, rate, _, frame_bytes, bits = _FORMAT.unpack_from(chunk)
    if tag == 0xFFFE:
        if len(chunk) < 40 or chunk[26:40] != _GUID_TAIL:
            raise UnusableAudio("unsupported-container", "The WAV file holds a codec we do not read.")
        tag = int.from_bytes(chunk[24:26], "little")
    codec = _CODECS.get((tag, bits))
    if codec is None:
        raise UnusableAudio("unsupported-container", f"The WAV file holds codec {tag:#x} at {bits} bits.")
    if not channels or frame_bytes != channels * bits // 8:
        raise damaged("The format chunk contradicts itself.")
    return _Format(codec, rate, channels, frame_bytes)


def _samples(data: bytes, base: int, parsed: _Format, chunk: bytes, start: int, size: int) -> _File:
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
        if end == len(data) and ends_in_text(data):
            raise UnusableAudio("trailing-bytes", "An error message follows the samples.")
        return _File(parsed, chunk, start, end, following, as_declared=False)
    if size > present:
        raise truncated(f"The header promises {size} bytes of samples; there are {present}.")
    if size % parsed.frame_bytes:
        raise damaged("The samples end inside a frame.")
    end = start + size
    following = _after(data, end, size & 1)
    whole = following == len(data) and _LE32.unpack_from(data, base + 4)[0] == len(data) - base - 8
    return _File(parsed, chunk, start, end, following, as_declared=whole)


def _after(data: bytes, end: int, pad: int) -> int:
    """Where the next file begins, or the end of the data, past the chunks that follow the samples."""
    for pos in (end + 1, end) if pad else (end,):
        stop = _walk_chunks(data, pos)
        if stop >= len(data) or data[stop : stop + 4] == b"RIFF" or is_padding(data, stop):
            return stop if data[stop : stop + 4] == b"RIFF" else len(data)
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
