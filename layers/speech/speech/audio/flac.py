"""Checks the structure of a FLAC file as far as that goes without decoding it."""

import re
from functools import cache
from typing import NamedTuple

from speech.audio import mpeg
from speech.audio.layout import Layout, after_end_tags, damaged, ends_in_text, several_files, truncated
from speech.errors import UnusableAudio

_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_RATES = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_BITS = (0, 8, 12, None, 16, 20, 24, 32)
_MAX_TAGS = 2**20

_MAX_FRAME = 2**18
"""Far more than the largest frame an encoder makes: 16,384 samples of 24 bits in stereo."""


def read(data: bytes) -> Layout:
    """Check the metadata, the row of frames and the end of the last; the decoder checks every frame's CRC."""
    repairs: tuple[str, ...] = ()
    if front := mpeg.tags_end(data):
        data, repairs = data[front:], ("tags-removed",)
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
        untagged = _without_end_tags(data)
        if not _ends_with_a_frame(untagged, start):
            if ends_in_text(data):
                raise UnusableAudio("trailing-bytes", "An error message follows the audio.")
            raise truncated("The last frame is cut off, or something follows it.")
        data, repairs = untagged, ("tags-removed",)
    numbered = _numbered_samples(data, start, _Stream(sample_rate, channels, (packed >> 36 & 31) + 1))
    if not frames:
        data, repairs = data[:18] + (packed | numbered).to_bytes(8) + data[26:], (*repairs, "length-added")
    elif numbered < frames:
        raise truncated(f"The header promises {frames} samples; the frames number {numbered}.")
    elif numbered > frames:
        raise damaged(f"The header promises {frames} samples; the frames number {numbered}.")
    return Layout("flac", sample_rate, channels, numbered, data, repairs=repairs)


class _Stream(NamedTuple):
    """What all frames of a file share."""

    sample_rate: int
    channels: int
    bits: int


class _Frame(NamedTuple):
    """A frame header. `number` counts frames, or samples where the length of frames varies; 0 is "as the file"."""

    number: int
    block: int
    sample_rate: int
    channels: int
    bits: int

    def fits(self, stream: _Stream) -> bool:
        return (
            self.sample_rate in (0, stream.sample_rate)
            and self.bits in (0, stream.bits)
            and self.channels == stream.channels
        )


def _numbered_samples(data: bytes, start: int, stream: _Stream) -> int:
    """How many samples the frames hold that follow each other by number.

    The decoder would play frames that were left out, repeated or moved without a word.
    """
    first = _frame(data, start)
    if first is None or first.number or not first.fits(stream):
        raise damaged("The frames are not those that the header describes.")
    varies = data[start + 1] & 1
    numbered = count = 0
    for match in _SYNC.finditer(data, start):
        at = match.start()
        # Bytes inside a frame may look like a header, but hardly like one of this very stream.
        if data[at + 1] & 1 != varies or data[at + 2] & 15 != data[start + 2] & 15 or not (frame := _frame(data, at)):
            continue
        if frame.fits(stream) and frame.number == (numbered if varies else count):
            numbered += frame.block
            count += 1
        elif frame.fits(stream) and frame.block == first.block:
            raise damaged(f"Frame {count} is missing or not in its place.")
    return numbered


def _without_end_tags(data: bytes) -> bytes:
    for mark in (b"APETAGEX", b"TAG"):
        at = data.find(mark, max(0, len(data) - _MAX_TAGS))
        if at != -1 and after_end_tags(data, at) == len(data):
            return data[:at]
    return data


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
        if _frame(data, at):
            tries += 1
            if _crc(data[at:], 16, 0x8005) == 0:
                return True
    return False


def _frame(data: bytes, at: int) -> _Frame | None:
    """The frame header at `at`, where its CRC-8 holds."""
    head = data[at : at + 16].ljust(16, b"\0")  # the last frame may be shorter than the longest header
    if head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    ones = f"{head[4]:08b}".find("0")  # the number is written as UTF-8 writes a character
    if ones in (1, -1):
        return None
    pos = 4 + (ones or 1)
    number = head[4] & 0x7F >> ones
    for byte in head[5:pos]:
        number = number << 6 | byte & 0x3F
    size, rate, bits = head[2] >> 4, head[2] & 15, _BITS[head[3] >> 1 & 7]
    if size == 0 or rate == 15 or bits is None or head[3] >> 4 > 10:
        return None
    if size in (6, 7):
        block = int.from_bytes(head[pos : pos + size - 5]) + 1
        pos += size - 5
    else:
        block = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    if rate < 12:
        sample_rate = _RATES[rate]
    else:
        width = 1 if rate == 12 else 2
        sample_rate = int.from_bytes(head[pos : pos + width]) * (1_000, 1, 10)[rate - 12]
        pos += width
    if _crc(head[:pos], 8, 0x07) != head[pos]:
        return None
    channels = head[3] >> 4
    return _Frame(number, block, sample_rate, channels + 1 if channels < 8 else 2, bits)


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
