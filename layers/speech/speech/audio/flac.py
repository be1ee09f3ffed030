"""Checks the structure of a FLAC file as far as that goes without decoding it."""

from functools import cache

from speech.audio import mpeg
from speech.audio.layout import Layout, damaged, ends_in_text, several_files, truncated
from speech.errors import UnusableAudio

_MAX_FRAME = 2**18
"""Far more than the largest frame an encoder makes: 16,384 samples of 24 bits in stereo."""


def read(data: bytes) -> Layout:
    """Check the metadata and the last frame; the frames between are for the decoder, which checks their CRCs."""
    data = data[mpeg.id3_size(data) :]
    if len(data) < 42:
        raise truncated("The file ends inside its header.")
    if data[4] & 0x7F or int.from_bytes(data[5:8]) != 34:
        raise damaged("The stream information is missing.")
    packed = int.from_bytes(data[18:26])
    sample_rate, channels, frames = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    start = _first_frame(data)
    if start >= len(data):
        raise truncated("The file ends before its samples.") if frames else UnusableAudio("empty", "There is no audio.")
    if data.find(b"fLaC\0\0\0\x22", start) != -1 or data.find(b"fLaC\x80\0\0\x22", start) != -1:
        raise several_files("A second file (flac) follows the first.")
    if not _ends_with_a_frame(data, start):
        if ends_in_text(data):
            raise UnusableAudio("trailing-bytes", "An error message follows the audio.")
        raise truncated("The last frame is cut off, or something follows it.")
    return Layout("flac", sample_rate, channels, frames or None, data)


def with_frames(data: bytes, frames: int) -> bytes:
    """Write the number of samples into a file that was streamed without it."""
    packed = int.from_bytes(data[18:26]) | frames
    return data[:18] + packed.to_bytes(8) + data[26:]


def _first_frame(data: bytes) -> int:
    pos, last = 4, False
    while not last:
        if pos + 4 > len(data):
            raise truncated("The file ends inside its header.")
        last = data[pos] & 0x80 != 0
        pos += 4 + int.from_bytes(data[pos + 1 : pos + 4])
    return pos


def _ends_with_a_frame(data: bytes, start: int) -> bool:
    """Whether a frame begins somewhere from where its CRC-16 holds to the end of the file."""
    start = max(start, len(data) - _MAX_FRAME)
    tries = 0
    at = len(data)
    while tries < 3 and (at := data.rfind(b"\xff", start, at)) != -1:
        size = _header_size(data[at : at + 16])
        if size and _crc(data[at : at + size], 8, 0x07) == 0:
            tries += 1
            if _crc(data[at:], 16, 0x8005) == 0:
                return True
    return False


def _header_size(head: bytes) -> int:
    """The length of the frame header, CRC-8 included; 0 when it is not one."""
    if len(head) < 16 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return 0
    ones = f"{head[4]:08b}".find("0")
    number = 1 if ones == 0 else ones
    if ones in (1, -1):
        return 0
    block = {6: 1, 7: 2}.get(head[2] >> 4, 0)
    rate = {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    return 4 + number + block + rate + 1


@cache
def _table(width: int, polynomial: int) -> tuple[int, ...]:
    top, mask = 1 << width - 1, (1 << width) - 1
    table = []
    for byte in range(256):
        value = byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    return tuple(table)


def _crc(data: bytes, width: int, polynomial: int) -> int:
    table, shift, mask = _table(width, polynomial), width - 8, (1 << width) - 1
    value = 0
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value
