"""Makes the comments of FLAC and Ogg Opus files, and puts them where libsndfile left room for them."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from speech.audio.tags import MAKER, Chapter, Cover, Tags, milliseconds

_COMMENT, _PICTURE, _LAST = 4, 6, 0x80
_FRONT_COVER = 3
_SPACE = b"comment="
"""What libsndfile writes before the comment that keeps the room."""


def comments(tags: Tags, chapters: Sequence[Chapter], rate: int, vendor: bytes, *, with_cover: bool = False) -> bytes:
    """A block of comments. Its length does not depend on when the chapters begin. Ogg has the cover in it."""
    fields = [
        ("TITLE", tags.title),
        ("ALBUM", tags.title),
        ("ARTIST", tags.author),
        ("LANGUAGE", tags.language),
        ("DATE", tags.date),
        ("COMMENT", tags.comment),
        ("AI_GENERATED", "true"),
        ("ENCODED-BY", MAKER),
    ]
    for number, chapter in enumerate(chapters, start=1):
        fields += [(f"CHAPTER{number:03d}", _clock(milliseconds(chapter.start, rate)))]
        fields += [(f"CHAPTER{number:03d}NAME", chapter.title)]
    if tags.cover and with_cover:
        fields.append(("METADATA_BLOCK_PICTURE", b64encode(picture(tags.cover)).decode()))
    lines = [f"{name}={value}".encode() for name, value in fields if value]
    return len(vendor).to_bytes(4, "little") + vendor + _counted(lines)


def _counted(lines: Sequence[bytes]) -> bytes:
    return len(lines).to_bytes(4, "little") + b"".join(len(each).to_bytes(4, "little") + each for each in lines)


def _clock(total: int) -> str:
    seconds, thousandths = divmod(total, 1_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{thousandths:03d}"


def picture(cover: Cover) -> bytes:
    """The body of a FLAC picture block."""
    numbers = (cover.width, cover.height, 24, 0, len(cover.data))
    mime = len(cover.mime).to_bytes(4) + cover.mime.encode()
    return _FRONT_COVER.to_bytes(4) + mime + bytes(4) + b"".join(each.to_bytes(4) for each in numbers) + cover.data


def room(tags: Tags) -> int:
    """How long a comment is that takes as much room in a FLAC file as `write` will need."""
    around = _block(_COMMENT, bytes(4) + _counted([_SPACE]))
    return len(_blocks(tags, tags.chapters(), 1, vendor=b"")) - len(around)


def write(path: Path, tags: Tags, chapters: Sequence[Chapter], rate: int) -> None:
    """Put the comments, and a cover, into the FLAC file that was begun with `room`."""
    with path.open("r+b") as file:
        file.seek(42)  # the stream information is always as long
        head = file.read(4)
        size = int.from_bytes(head[1:])
        body = file.read(size)
        vendor = body[4 : 4 + int.from_bytes(body[:4], "little")]
        blocks = bytearray(_blocks(tags, chapters, rate, vendor))
        if head[0] & 0x7F != _COMMENT or len(blocks) != 4 + size:
            raise ValueError("The room for the comments is not what they take.")
        if head[0] & _LAST:
            blocks[_last_block(blocks)] |= _LAST
        file.seek(42)
        file.write(blocks)


def _blocks(tags: Tags, chapters: Sequence[Chapter], rate: int, vendor: bytes) -> bytes:
    blocks = _block(_COMMENT, comments(tags, chapters, rate, vendor))
    return blocks + _block(_PICTURE, picture(tags.cover)) if tags.cover else blocks


def _block(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3) + body


def _last_block(blocks: bytes | bytearray) -> int:
    at = 0
    while (after := at + 4 + int.from_bytes(blocks[at + 1 : at + 4])) < len(blocks):
        at = after
    return at
