"""Writes tags and chapters into a finished file of any of our formats, without a second copy of it.

What writes a format is imported where it is written: a cold start has one format.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from speech.audio.tags import Chapter, Tags


def room(format: str, tags: Tags | None) -> int:
    """How many bytes the tags will take: free in front of an MP3, a comment in a FLAC, at the end of a WAV.

    That is known before the first sample, since no format writes a late time longer than an early one.
    """
    if tags is None:
        return 0
    if format == "mp3":
        from speech.audio import id3

        return len(id3.tag(tags, tags.chapters(), 1))
    if format == "flac":
        from speech.audio import vorbis

        return vorbis.room(tags)
    if format == "wav":
        from speech.audio import riff

        return len(riff.chunks(tags, tags.chapters(), 1)) + 1
    return 0


def write(path: Path, format: str, tags: Tags | None, chapters: Sequence[Chapter], rate: int) -> None:
    """Put the tags where `room` was left for them, and make an Ogg file the same every time."""
    if format == "m4b":
        from speech.audio import m4b

        m4b.settle(path, tags)
    elif format == "ogg":
        from speech.audio import ogg, vorbis

        ogg.settle(path, partial(vorbis.comments, tags, chapters, rate, with_cover=True) if tags else None)
    elif tags is None:
        return
    elif format == "mp3":
        from speech.audio import id3

        with path.open("r+b") as file:
            file.write(id3.tag(tags, chapters, rate))
    elif format == "flac":
        from speech.audio import vorbis

        vorbis.write(path, tags, chapters, rate)
    elif format == "wav":
        from speech.audio import riff

        riff.write(path, riff.chunks(tags, chapters, rate))
