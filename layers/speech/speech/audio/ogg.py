"""Walks an Ogg file page by page to its last byte, and makes a finished file the same every time."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import IO, NamedTuple

from speech.audio.layout import Layout, damaged, is_padding, leftover, several_files, truncated
from speech.errors import UnusableAudio

_PAGE = Struct("<4sBBqIIIB")
_MOST_IN_A_PAGE = 255 * 255
_LE32 = Struct("<I")
_CONTINUES, _BEGINS, _ENDS = 1, 2, 4
OPUS_CLOCK = 48_000
"""Opus counts in 48 kHz whatever rate it decodes to."""

_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(page: bytes) -> int:
    """The CRC of a page whose own CRC field is zero.

    Ogg's CRC is that of zlib with the bits of every byte, and of the result, the other way round, and
    without the inversions: by mirroring the bytes zlib computes it, a hundred times faster than a loop.
    """
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRROR), "big")


class _Stream(NamedTuple):
    codec: str
    channels: int
    clock: int
    skip: int


def read(data: bytes) -> Layout:
    """Check the structure of a whole Ogg file that holds one Opus or Vorbis stream."""
    granule = end = 0
    serial = None
    stream: _Stream | None = None
    for number, (pos, end) in enumerate(_pages(data)):
        _, version, flags, position, page_serial, sequence, crc, segments = _PAGE.unpack_from(data, pos)
        if checksum(data[pos : pos + 22] + b"\0\0\0\0" + data[pos + 26 : end]) != crc or version:
            raise damaged(f"Page {number} does not match its checksum.")
        if stream is None:
            stream, serial = _identify(data[pos + _PAGE.size + segments : end], flags), page_serial
        elif flags & _BEGINS or page_serial != serial:
            raise several_files("More than one stream is in the file.")
        if sequence != number:
            raise damaged(f"Page {number} is missing.")
        if position >= 0:
            granule = position
        if flags & _ENDS:
            break
    else:
        raise truncated("The last page is missing.")
    if not is_padding(data, end):
        raise leftover(data, end)
    assert stream is not None  # noqa: S101 - the loop broke, so there was a first page
    frames = granule - stream.skip
    if frames <= 0:
        raise UnusableAudio("empty", "The file holds headers and no audio.")
    repairs = ("padding-removed",) if end < len(data) else ()
    return Layout(stream.codec, stream.clock, stream.channels, frames, data[:end], stream.clock // 100, repairs)


def _pages(data: bytes) -> Iterator[tuple[int, int]]:
    pos = 0
    while pos < len(data):
        if data[pos : pos + 4] != b"OggS":
            raise truncated("The last page is cut off.") if b"OggS".startswith(data[pos:]) else damaged("No page.")
        body = pos + _PAGE.size
        if body > len(data):
            raise truncated("The last page is cut off.")
        lacing = data[body : body + data[body - 1]]
        end = body + data[body - 1] + sum(lacing)
        if end > len(data):
            raise truncated("The last page is cut off.")
        yield pos, end
        pos = end


def _identify(packet: bytes, flags: int) -> _Stream:
    if not flags & _BEGINS:
        raise truncated("The beginning of the stream is missing.")
    if packet.startswith(b"OpusHead") and len(packet) >= 19:
        return _Stream("opus", packet[9], OPUS_CLOCK, int.from_bytes(packet[10:12], "little"))
    if packet.startswith(b"\x01vorbis") and len(packet) >= 30:
        return _Stream("vorbis", packet[11], int.from_bytes(packet[12:16], "little"), 0)
    raise UnusableAudio("unsupported-container", "The Ogg file holds a codec we do not read.")


def settle(path: Path, comments: Callable[[bytes], bytes] | None = None) -> None:
    """Give the stream in a finished Opus file the serial number 0 in place of a random one, so that the same
    audio makes the same bytes, and other `comments`, which are made from the name of the encoder.

    Goes through the file page by page and holds in memory only by how much it grows.
    """
    with path.open("r+b") as file:
        waiting, packet = bytearray(), b""
        read = written = number = 0
        while page := _page_at(file, read):
            read += len(page)
            is_header = number == 1 and comments is not None
            if is_header:
                packet += page[_PAGE.size + page[26] :]
                if page[_PAGE.size + page[26] - 1] == 255:
                    continue  # the packet goes on in the next page
                made = list(_comment_pages(packet, comments)) if comments else []
            else:
                made = [page]
            for each in made:
                waiting += _sealed(each, number)
                number += 1
            # Never over what is still to be read.
            ready = min(len(waiting), read - written)
            file.seek(written)
            file.write(waiting[:ready])
            written += ready
            del waiting[:ready]
        file.seek(written)
        file.write(waiting)
        file.truncate()


def _page_at(file: IO[bytes], at: int) -> bytearray:
    file.seek(at)
    page = bytearray(file.read(_PAGE.size))
    if page:
        page += file.read(page[26])
        page += file.read(sum(page[_PAGE.size :]))
    return page


def _sealed(page: bytearray, number: int) -> bytearray:
    page[14:26] = bytes(4) + _LE32.pack(number) + bytes(4)
    page[22:26] = _LE32.pack(checksum(bytes(page)))
    return page


def _comment_pages(packet: bytes, comments: Callable[[bytes], bytes]) -> Iterator[bytearray]:
    """Pages without number and checksum for the comments in place of those in `packet`."""
    vendor = packet[12 : 12 + int.from_bytes(packet[8:12], "little")]
    body = packet[:8] + comments(vendor)
    for at in range(0, len(body) + 1, _MOST_IN_A_PAGE):
        part = body[at : at + _MOST_IN_A_PAGE]
        is_end = at + _MOST_IN_A_PAGE > len(body)
        lacing = b"\xff" * (len(part) // 255) + (bytes((len(part) % 255,)) if is_end else b"")
        position = 0 if is_end else -1
        yield bytearray(_PAGE.pack(b"OggS", 0, _CONTINUES if at else 0, position, 0, 0, 0, len(lacing)) + lacing + part)
