"""Pictures made of numbers."""

import struct
import zlib


def a_png(width: int = 3, height: int = 2, *, more: int = 0) -> bytes:
    """A red picture; `more` bytes of comment make the file larger."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + b"\xc8\x0a\x0a" * width for _ in range(height))
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    comment = chunk(b"tEXt", b"Comment\0" + b"x" * more) if more else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + comment
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def a_jpeg(width: int = 3, height: int = 2) -> bytes:
    """The head of a JPEG, and as much as a reader of heads looks at."""
    size = struct.pack(">BHHB", 8, height, width, 3) + bytes(9)
    jfif = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    return b"\xff\xd8" + jfif + b"\xff\xc2" + struct.pack(">H", 2 + len(size)) + size + bytes(40) + b"\xff\xd9"
