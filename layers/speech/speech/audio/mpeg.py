"""MPEG Layer III frames and the tags around them, without decoding."""

from functools import cache, lru_cache
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

BITRATES_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
BITRATES_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""By the version bits of the header: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5."""

_BE32 = Struct(">I")


class Header(NamedTuple):
    """What all frames of one file share. `sizes` gives a frame's length by its third byte, 0 where it is not one."""

    second_byte: int
    sample_rate: int
    channels: int
    samples: int
    side: int
    sizes: tuple[int, ...]


def header_at(data: bytes, pos: int) -> Header | None:
    """The Layer III frame header at `pos`, or None. Free-format bitrates are not read."""
    head = data[pos : pos + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    return _header(head[1] | 1, head[2] >> 2 & 3, head[3] >= 0xC0) if _bitrate(head[1], head[2]) else None


def _bitrate(second: int, third: int) -> int:
    return (BITRATES_MPEG1 if second >> 3 & 3 == 3 else BITRATES_MPEG2)[third >> 4]


@lru_cache(maxsize=32)
def _header(second: int, rate_bits: int, mono: bool) -> Header | None:
    version = second >> 3 & 3
    if version not in SAMPLE_RATES or rate_bits == 3:
        return None
    rate = SAMPLE_RATES[version][rate_bits]
    samples = 1152 if version == 3 else 576
    sizes = tuple(
        samples // 8 * 1000 * _bitrate(second, third) // rate + (third >> 1 & 1)
        if third >> 2 & 3 == rate_bits and _bitrate(second, third)
        else 0
        for third in range(256)
    )
    side = {(3, False): 32, (3, True): 17}.get((version, mono), 9 if mono else 17)
    return Header(second, rate, 1 if mono else 2, samples, side, sizes)


def front_tag_size(data: bytes, pos: int = 0) -> int:
    """The length of the ID3v2 or APE tag at `pos`, 0 when there is none."""
    head = data[pos : pos + 24]
    if head.startswith(b"APETAGEX") and len(head) == 24 and head[23] & 0x20:
        return 32 + int.from_bytes(head[12:16], "little")
    if len(head) < 10 or not head.startswith(b"ID3") or head[3] == 0xFF or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def tags_end(data: bytes) -> int:
    """Where the tags that may come before the audio end."""
    pos = 0
    while size := front_tag_size(data, pos):
        pos += size
    return pos


def begins(data: bytes, pos: int = 0) -> bool:
    """Whether a frame begins at `pos` and another one where it ends (or the data ends first)."""
    header = header_at(data, pos)
    if header is None:
        return False
    following = pos + header.sizes[data[pos + 2]]
    if following + 4 > len(data):
        return True
    after = header_at(data, following)
    return after is not None and after.sample_rate == header.sample_rate


def walk(data: bytes, pos: int, header: Header) -> tuple[list[int], int]:
    """The positions of the frames that follow each other from `pos`, and where the chain ends."""
    starts: list[int] = []
    append = starts.append
    second, sizes = header.second_byte, header.sizes
    last = len(data) - 4
    while pos <= last and data[pos] == 0xFF and data[pos + 1] | 1 == second:
        size = sizes[data[pos + 2]]
        if not size:
            break
        append(pos)
        pos += size
    return starts, pos


class Tag(NamedTuple):
    """The Xing, Info or VBRI tag in a first frame. Counts are None where it does not give them.

    `crc` is that of all frames that follow, where the encoder wrote one; `intact` is False where the
    tag does not match its own.
    """

    frames: int | None
    bytes: int | None
    gapless: bool
    crc: int | None = None
    intact: bool = True


def tag_at(data: bytes, pos: int, header: Header) -> Tag | None:
    """The tag that the frame at `pos` holds in place of audio."""
    frame = data[pos : pos + header.sizes[data[pos + 2]]]
    for at in (4 + header.side, 6 + header.side):  # a frame with a CRC may count its two bytes or not
        if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 8:
            flags = frame[at + 7]
            counts = [
                _BE32.unpack_from(frame, at + 8 + skip)[0] if has and len(frame) >= at + 12 + skip else None
                for has, skip in ((flags & 1, 0), (flags & 2, 4 * (flags & 1)))
            ]
            extension = at + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
            crc, intact = _checksums(frame, extension)
            return Tag(counts[0] or None, counts[1] or None, True, crc, intact)
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return Tag(_BE32.unpack_from(frame, 50)[0] or None, _BE32.unpack_from(frame, 46)[0] or None, gapless=False)
    return None


def _checksums(frame: bytes, at: int) -> tuple[int | None, bool]:
    """The checksum of the audio in LAME's extension of the tag, and whether the tag matches its own.

    LAME's own covers all that comes before it, FFmpeg's always 190 bytes. Encoders that do not come back
    to fill them in leave zeros.
    """
    if frame[at : at + 4] not in (b"LAME", b"Lavf", b"Lavc") or len(frame) < at + 36:
        return None, True
    audio, own = (int.from_bytes(frame[at + skip : at + skip + 2]) for skip in (32, 34))
    before = frame[: at + 34]
    intact = own in (0, crc16(before)) or own == crc16((before + b"\0\0" + frame[at + 36 :])[:190])
    return audio or None, intact


def crc16(data: bytes, before: int = 0) -> int:
    """The CRC-16 (of polynomial 0x8005, least bit first) that MP3 encoders write, going on from `before`.

    Byte by byte it would take longer than decoding. But the CRC of two pieces is that of the first, moved on
    by as many zero bytes as the second is long, xor that of the second: so all pairs are joined at once,
    then all pairs of pairs, and so on.
    """
    import numpy

    for level in range(len(data).bit_length()):
        if len(data) >> level & 1:
            before = int(_zero_bytes(level)[before])
    # Zeros in front change nothing. Two bytes meet a CRC of 0 as its 16 bits, and leave it shifted out by two.
    values = _zero_bytes(1).take(numpy.frombuffer(data if len(data) % 2 == 0 else b"\0" + data, "<u2"))
    level = 1
    while len(values) > 1:
        if len(values) % 2:
            values = numpy.concatenate((numpy.zeros(1, numpy.uint16), values))
        values = _zero_bytes(level).take(values[::2]) ^ values[1::2]
        level += 1
    return before ^ int(values[0]) if len(values) else before


@cache
def _zero_bytes(level: int) -> "NDArray[numpy.uint16]":
    """What each of the 65,536 values of a CRC becomes after 2**level zero bytes."""
    import numpy

    if level:
        half = _zero_bytes(level - 1)
        return half[half]
    values = numpy.arange(65_536)
    for _ in range(8):
        values = values >> 1 ^ (values & 1) * 0xA001
    return values.astype(numpy.uint16)


def misplaced(data: bytes, starts: list[int], header: Header) -> int | None:
    """The first frame whose bits cannot be where it says, None when all are in place.

    A frame may keep its bits in the frames before it and says how far back they begin. They begin where
    those of the frame before end, or later, and end in the frame itself at the latest: after a frame that
    was lost, moved or repeated this seldom holds for long.
    """
    wide = header.samples == 1152
    begin_bits = 9 if wide else 8
    # Lengths in bits stand at the head of each granule's part of the side information.
    parts, step = (2 * header.channels, 59) if wide else (header.channels, 63)
    total = 8 * header.side
    lengths = [step * part - 12 for part in range(1, parts + 1)]
    sizes, side = header.sizes, header.side
    room = taken = 0
    for number, start in enumerate(starts):
        at = start + (4 if data[start + 1] & 1 else 6)
        info = int.from_bytes(data[at : at + side])
        begins = room - (info >> total - begin_bits)
        ends = begins + (sum([info >> shift & 0xFFF for shift in lengths]) + 7) // 8
        room += sizes[data[start + 2]] - (at - start) - side
        if begins < taken or ends > room:
            return number
        taken = ends
    return None


def has_second_tag(data: bytes, starts: list[int], header: Header) -> bool:
    """Whether a frame other than the first holds a tag: the sign of a second file glued to the first."""
    names = (b"Xing", b"Info", b"VBRI")
    if len(starts) < 2 or all(data.find(name, starts[1]) == -1 for name in names):
        return False
    # In a frame of audio the four letters could come by chance, but not after side information of zeros.
    quiet = bytes(header.side)
    return any(
        data[start + offset - header.side : start + offset] == quiet
        and data[start + offset : start + offset + 4] in names
        for start in starts[1:]
        for offset in (4 + header.side, 6 + header.side, 36)
    )


def info_frame(header: Header, frames: int, length: int) -> bytes:
    """A frame that plays nothing and tells decoders how many frames (and bytes, `length`) follow.

    Without one libsndfile guesses the length from the first frames, and decodes no further than its
    guess: of a file at variable bitrate it can drop most, without an error.
    """
    head = 4 + header.side
    frame = smallest_frame(header, head + 16)
    return frame[:head] + b"Info\0\0\0\x03" + _BE32.pack(frames) + _BE32.pack(length + len(frame)) + frame[head + 16 :]


def smallest_frame(header: Header, needed: int) -> bytes:
    """A frame of silence with room for that many bytes."""
    fits = (third for third, size in enumerate(header.sizes) if size >= needed and not third & 3)
    third = min(fits, key=header.sizes.__getitem__)
    head = bytes((0xFF, header.second_byte, third, 0xC0 if header.channels == 1 else 0x00))
    return head.ljust(header.sizes[third], b"\0")


def mono_header(sample_rate: int) -> Header:
    """What the frames of a mono file at one of SAMPLE_RATES begin with."""
    version = next(version for version, rates in SAMPLE_RATES.items() if sample_rate in rates)
    header = _header(0xE3 | version << 3, SAMPLE_RATES[version].index(sample_rate), True)
    assert header is not None  # noqa: S101 - only the fourth rate, which is not in the table, has none
    return header
