"""Adds tags and chapters to a finished WAV: LIST/INFO, cue points with labels, and an ID3 tag, after the samples."""

from collections.abc import Sequence
from pathlib import Path

from speech.audio import id3
from speech.audio.tags import MAKER, Chapter, Tags


def chunks(tags: Tags, chapters: Sequence[Chapter], rate: int) -> bytes:
    """Their length does not depend on when the chapters begin and end.

    Programs for editing read INFO and cue points, players the ID3 tag. FFmpeg reads both, and numbers chapters from 0.
    """
    fields = [
        (b"INAM", tags.title),
        (b"IART", tags.author),
        (b"ICRD", tags.date),
        (b"ILNG", tags.language),
        (b"ICMT", tags.comment),
        (b"ISFT", MAKER),
    ]
    info = b"".join(_chunk(name, value.encode() + b"\0") for name, value in fields if value)
    made = _chunk(b"LIST", b"INFO" + info)
    if chapters:
        points = (
            _little(number, each.start) + b"data" + _little(0, 0, each.start) for number, each in enumerate(chapters)
        )
        made += _chunk(b"cue ", _little(len(chapters)) + b"".join(points))
        labels = (
            _chunk(b"labl", _little(number) + each.title.encode() + b"\0") for number, each in enumerate(chapters)
        )
        made += _chunk(b"LIST", b"adtl" + b"".join(labels))
    return made + _chunk(b"id3 ", id3.tag(tags, chapters, rate))


def write(path: Path, added: bytes) -> None:
    """Append chunks to a WAV and count them in its header."""
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.write(bytes(end & 1) + added)  # a chunk begins at an even place
        size = file.tell() - 8
        file.seek(4)
        file.write(_little(size))


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + _little(len(body)) + body + bytes(len(body) & 1)


def _little(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)
