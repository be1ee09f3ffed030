"""What a finished file says about its job: title, author, who spoke it, and a chapter for each heading."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

from speech.audio.tags import MAX_CHAPTER_TITLE, MAX_CHAPTERS, Chapter, Mark, Tags, milliseconds, printable
from speech.jobs import About, Job, Spec
from speech.segments import Segment
from speech.text.script import Heading, read_script

LEVELS = 2
"""How many levels of headings become chapters, of those that a text has."""

CHAPTERS_VERSION = "1.2.0"
"""Of Podcasting 2.0's JSON chapters."""


def tags_of(job: Job, rows: Sequence[Segment], text: str) -> Tags:
    """`rows` are what is heard, in order, and `text` that of the job."""
    about, spec = job.about or About(), job.spec
    marks = _marks(read_script(text).headings, rows, text)
    named = about.title or _file_name(job)
    title = about.title or (marks[0].title if marks else named)
    return Tags(
        title=printable(title) if title else None,
        author=printable(about.author) if about.author else None,
        language=spec.language if spec else None,
        date=about.date or datetime.fromtimestamp(job.created_at / 1000, UTC).date().isoformat(),
        comment=_comment(spec) if spec else None,
        marks=tuple(marks),
        opening=printable(named) if named else None,
    )


def chapter_list(tags: Tags, chapters: Sequence[Chapter], rate: int) -> bytes:
    """The chapters as JSON, for players of podcasts."""
    said = {"version": CHAPTERS_VERSION, "title": tags.title, "author": tags.author}
    listed = [{"startTime": milliseconds(each.start, rate) / 1000, "title": each.title} for each in chapters]
    known = {name: value for name, value in said.items() if value}
    return json.dumps(known | {"chapters": listed}, ensure_ascii=False, indent=2).encode()


def _comment(spec: Spec) -> str:
    """That nobody human speaks here. A voice whose name is an address says nothing to a listener."""
    voice = f", voice {spec.voice}" if spec.voice and "://" not in spec.voice else ""
    return printable(f"AI-generated speech by {spec.vendor}{voice}, made with Voicedrop")


def _file_name(job: Job) -> str | None:
    return PurePosixPath(job.source.key).stem if job.source.type == "upload" and job.source.key else None


def _marks(headings: Sequence[Heading], rows: Sequence[Segment], text: str) -> list[Mark]:
    """A mark for each heading of the upper levels, at the part that begins with it."""
    levels = sorted({each.level for each in headings})[:LEVELS]
    chosen = [each for each in headings if each.level in levels]
    if len(chosen) >= MAX_CHAPTERS:  # one more may be made of what precedes the first
        chosen = [each for each in chosen if each.level == levels[0]][: MAX_CHAPTERS - 1]
    marks: dict[int, Mark] = {}
    ends = [row.end for row in rows]
    at = in_bytes = 0
    for heading in chosen:
        in_bytes += len(text[at : heading.start].encode())
        at = heading.start
        part = bisect_right(ends, in_bytes)
        if part < len(rows):
            marks.setdefault(part, Mark(part, printable(heading.title, MAX_CHAPTER_TITLE)))
    return list(marks.values())
