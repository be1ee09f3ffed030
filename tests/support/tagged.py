"""What finished audio says about itself, as read by libraries that did not write it: mutagen, and FFmpeg by PyAV."""

import io
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from mutagen.flac import FLAC, Picture
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4
from mutagen.oggopus import OggOpus
from mutagen.wave import WAVE

KINDS: Mapping[str, Any] = {"mp3": MP3, "wav": WAVE, "m4b": MP4, "flac": FLAC, "ogg": OggOpus}

Chapters = Sequence[tuple[float, str]]
"""Where each chapter begins, in seconds, and its title."""


@dataclass(frozen=True)
class Tagged:
    title: str | None = None
    author: str | None = None
    language: str | None = None
    date: str | None = None
    comment: str | None = None
    is_ai: str | None = None
    chapters: Chapters = field(default_factory=list)
    cover: bytes | None = None


def by_mutagen(data: bytes, format: str) -> Tagged:
    """What mutagen reads."""
    opened = KINDS[format](io.BytesIO(data))
    if format in ("mp3", "wav"):
        return _id3(opened.tags)
    if format == "m4b":
        return _mp4(opened)
    comments = {name: value[0] for name, value in opened.tags.items()}
    read_picture: Any = Picture
    in_ogg = [read_picture(b64decode(each)) for each in opened.tags.get("metadata_block_picture", [])]
    return _comments(comments, opened.pictures if format == "flac" else in_ogg)


def seconds_by_mutagen(data: bytes, format: str) -> float:
    return float(KINDS[format](io.BytesIO(data)).info.length)


def chapters_by_ffmpeg(data: bytes) -> Chapters:
    with av.open(io.BytesIO(data), "r") as container:
        return [
            (float(Fraction(each["start"]) * (each["time_base"] or 0)), each["metadata"].get("title", ""))
            for each in container.chapters()
        ]


def metadata_by_ffmpeg(data: bytes) -> dict[str, str]:
    """Of the file and of its first stream, where Ogg has it; names in lower case."""
    with av.open(io.BytesIO(data), "r") as container:
        found = {**container.metadata, **container.streams[0].metadata}
        return {name.lower(): value for name, value in found.items()}


def frames_by_ffmpeg(data: bytes) -> int:
    """How many samples FFmpeg decodes."""
    with av.open(io.BytesIO(data), "r") as container:
        return sum(int(frame.samples) for frame in container.decode(audio=0))


def _id3(tags: Any) -> Tagged:
    def first(name: str) -> str | None:
        found = tags.getall(name)
        return str(found[0]) if found else None

    in_order = [child for table in _tables(tags) for child in table]
    listed = [tags[f"CHAP:{name}"] for name in in_order]
    pictures = tags.getall("APIC")
    return Tagged(
        title=first("TIT2"),
        author=first("TPE1"),
        language=first("TLAN"),
        date=first("TDRC"),
        comment=first("COMM"),
        is_ai=first("TXXX:AI_GENERATED"),
        chapters=[(each.start_time / 1000, str(each.sub_frames["TIT2"])) for each in listed],
        cover=pictures[0].data if pictures else None,
    )


def _tables(tags: Any) -> list[list[str]]:
    """The entries of the table of contents, or of those that it is made of."""
    tables = {each.element_id: each.child_element_ids for each in tags.getall("CTOC")}
    top = tables.get("toc", [])
    return [tables[name] for name in top] if top and top[0] in tables else [top]


def _comments(tags: Mapping[str, str], pictures: Sequence[Any]) -> Tagged:
    chapters: list[tuple[float, str]] = []
    while (number := f"chapter{len(chapters) + 1:03d}") in tags:
        hours, minutes, seconds = tags[number].split(":")
        chapters.append((round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3), tags[f"{number}name"]))
    return Tagged(
        title=tags.get("title"),
        author=tags.get("artist"),
        language=tags.get("language"),
        date=tags.get("date"),
        comment=tags.get("comment"),
        is_ai=tags.get("ai_generated"),
        chapters=chapters,
        cover=pictures[0].data if pictures else None,
    )


def _mp4(file: Any) -> Tagged:
    def first(name: str) -> Any:
        return (file.tags or {}).get(name, [None])[0]

    mark, cover = first("----:com.apple.iTunes:AI_GENERATED"), first("covr")
    return Tagged(
        title=first("\xa9nam"),
        author=first("\xa9ART"),
        language=None,
        date=first("\xa9day"),
        comment=first("\xa9cmt"),
        is_ai=bytes(mark).decode() if mark is not None else None,
        chapters=[(each.start, each.title) for each in file.chapters or []],
        cover=bytes(cover) if cover is not None else None,
    )
