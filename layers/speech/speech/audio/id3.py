"""Makes the ID3v2.3 tag in front of an MP3, which every player reads, with chapters (CHAP and CTOC) and a cover."""

from collections.abc import Sequence

from speech.audio.tags import MAKER, Chapter, Tags, milliseconds, three_letters

_CHILDREN = 255
"""A table of contents counts its entries in one byte; longer ones are made of several."""

_NO_OFFSET = b"\xff" * 8
"""Where a chapter lies is said by its times alone."""


def tag(tags: Tags, chapters: Sequence[Chapter], rate: int) -> bytes:
    """Its length does not depend on when the chapters begin and end."""
    frames = [
        *(_text(name, value) for name, value in _texts(tags) if value),
        _frame("TXXX", _encoded("AI_GENERATED", "true")),
    ]
    if tags.comment:
        frames.append(_frame("COMM", _encoded("", tags.comment, before=b"eng")))
    if cover := tags.cover:
        frames.append(_frame("APIC", b"\0" + cover.mime.encode() + b"\0\x03\0" + cover.data))
    frames += _contents(chapters)
    frames += [_chapter(number, chapter, rate) for number, chapter in enumerate(chapters)]
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + body


def _texts(tags: Tags) -> list[tuple[str, str | None]]:
    year, month, day = (*(tags.date or "").split("-"), "", "")[:3]
    return [
        ("TIT2", tags.title),
        ("TALB", tags.title),
        ("TPE1", tags.author),
        ("TLAN", three_letters(tags.language)),
        ("TYER", year),
        ("TDAT", day + month if day else None),
        ("TENC", MAKER),
    ]


def _contents(chapters: Sequence[Chapter]) -> list[bytes]:
    if not chapters:
        return []
    names = [_name(number) for number in range(len(chapters))]
    if len(names) <= _CHILDREN:
        return [_table(b"toc", 3, names)]
    tables = [names[at : at + _CHILDREN] for at in range(0, len(names), _CHILDREN)]
    parts = [b"toc%d" % number for number in range(len(tables))]
    return [_table(b"toc", 3, parts), *(_table(part, 1, some) for part, some in zip(parts, tables, strict=True))]


def _table(name: bytes, flags: int, children: Sequence[bytes]) -> bytes:
    """`flags`: 2 for the top, 1 for entries in order."""
    return _frame("CTOC", name + b"\0" + bytes((flags, len(children))) + b"".join(each + b"\0" for each in children))


def _chapter(number: int, chapter: Chapter, rate: int) -> bytes:
    times = b"".join(milliseconds(at, rate).to_bytes(4) for at in (chapter.start, chapter.end))
    return _frame("CHAP", _name(number) + b"\0" + times + _NO_OFFSET + _text("TIT2", chapter.title))


def _name(number: int) -> bytes:
    return b"ch%d" % number


def _text(name: str, value: str | None) -> bytes:
    return _frame(name, _encoded(value or ""))


def _encoded(*values: str, before: bytes = b"") -> bytes:
    """The values with a zero between them, after a byte for their encoding; `before` follows that byte."""
    if all(value.isascii() for value in values):
        return b"\0" + before + b"\0".join(value.encode() for value in values)
    return b"\x01" + before + b"\0\0".join(b"\xff\xfe" + value.encode("utf-16-le") for value in values)


def _frame(name: str, body: bytes) -> bytes:
    return name.encode() + len(body).to_bytes(4) + b"\0\0" + body
