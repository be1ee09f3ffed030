"""Writes tags and chapters into a finished file of any of our formats, without a second copy of it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from speech.audio import id3, m4b, ogg, riff, vorbis
from speech.audio.tags import Chapter, Tags


def room(format: str, tags: Tags | None) -> int:
    """How many bytes the tags will take: free in front of an MP3, a comment in a FLAC, at the end of a WAV.

    That is known before the first sample, since no format writes a late time longer than an early one.
    """
    if tags is None:
        return 0
    if format == "mp3":
        return len(id3.tag(tags, tags.chapters(), 1))
    if format == "flac":
        return vorbis.room(tags)
    return len(riff.chunks(tags, tags.chapters(), 1)) + 1 if format == "wav" else 0


def write(path: Path, format: str, tags: Tags | None, chapters: Sequence[Chapter], rate: int) -> None:
    """Put the tags where `room` was left for them, and make an Ogg file the same every time."""
    if format == "m4b":
        m4b.settle(path, tags)
    elif format == "ogg":
        ogg.settle(path, partial(vorbis.comments, tags, chapters, rate, with_cover=True) if tags else None)
    elif tags is None:
        return
    elif format == "mp3":
        with path.open("r+b") as file:
            file.write(id3.tag(tags, chapters, rate))
    elif format == "flac":
        vorbis.write(path, tags, chapters, rate)
    elif format == "wav":
        riff.write(path, riff.chunks(tags, chapters, rate))
