"""What lies in a text between the pieces that it was cut into: what a reader would make a pause for, and how long."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from speech.text.cutting import begins_paragraph
from speech.text.script import Script, read_script

Span = tuple[int, int]

_MARGIN = 16
# Whatever follows and is no word may close what was said: German closes with “ and «, with which others open. In Greek,
# ; is a question mark.
_CLAUSE_MARKS = ",;:—–、，；：،؛"
_CLOSED = rf"(?:\[\d{{1,3}}\]|[^\w{_CLAUSE_MARKS}]|_)*\Z"
_SENTENCE = re.compile(rf"(?:[.!?…。．｡！？।॥؟۔։።፧។៕။]|[\u0370-\u03ff\u1f00-\u1fff];){_CLOSED}")
_CLAUSE = re.compile(rf"[{_CLAUSE_MARKS}]{_CLOSED}")


class Between(NamedTuple):
    """`kind` is beginning, end, continues, clause, sentence, paragraph, before-heading, after-heading or pause;
    `seconds` are what marks ask for, where it is a pause."""

    kind: str
    seconds: float | None = None


def seams(text: str, spans: Sequence[Span]) -> list[Between]:
    """What lies before, between and after the pieces with these spans of a clean text: one more than there are.

    Marks say how long a pause is, and several beside each other say so together; nothing else counts there. Never
    raises: a text that was taken is spoken.
    """
    script = read_script(text)
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    marks = [mark.start for mark in script.pauses]
    found = []
    for number, (end, start) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        first, last = bisect_right(marks, end - 1), bisect_right(marks, start - 1)
        if first < last:
            found.append(Between("pause", sum(mark.seconds for mark in script.pauses[first:last])))
        elif number == 0:
            found.append(Between("beginning"))
        elif number == len(spans):
            found.append(Between("end"))
        else:
            found.append(Between(_kind(text, script, end, start)))
    return found


def _kind(text: str, script: Script, end: int, start: int) -> str:
    """Of the seam between a piece that ends at `end` and one that begins at `start`."""
    before, after = _heading_at(script, end - 1), _heading_at(script, start)
    if before != after:
        return "before-heading" if after is not None else "after-heading"
    if begins_paragraph(text, end, start):
        return "paragraph"
    tail = text[max(0, end - _MARGIN) : end]
    if _SENTENCE.search(tail):
        return "sentence"
    return "clause" if _CLAUSE.search(tail) else "continues"


def _heading_at(script: Script, at: int) -> int | None:
    number = bisect_right(script.headings, at, key=lambda each: each.start) - 1
    return number if number >= 0 and at < script.headings[number].end else None
