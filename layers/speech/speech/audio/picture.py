"""Tells what a picture is from its first bytes: JPEG or PNG, how wide and how high."""

from speech.audio.tags import Cover

MAX_BYTES = 2_000_000
MAX_SIDE = 10_000

_SIZED = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""The JPEG segments that begin with the size of the picture."""


def cover(data: bytes) -> Cover:
    """Raises ValueError, with what is to be done, for anything that is no picture of an acceptable size."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES:,} bytes; make it smaller")
    mime, size = ("image/png", _png(data)) if data.startswith(b"\x89PNG\r\n\x1a\n") else ("image/jpeg", _jpeg(data))
    if size is None:
        raise ValueError("is neither a JPEG nor a PNG picture")
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"must be 1 to {MAX_SIDE:,} pixels wide and high")
    return Cover(mime, *size, data)


def _png(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR" or len(data) < 33:
        return None
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    while data[at : at + 1] == b"\xff" and at + 9 <= len(data):
        kind = data[at + 1]
        if kind == 0xFF:  # padding
            at += 1
        elif kind in _SIZED:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return None
