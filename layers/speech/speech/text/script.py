"""What in a text is spoken and what is direction: headings, and marks that ask for a pause."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from speech.errors import FieldError, InvalidRequest
from speech.text.reading import SOUNDS

Span = tuple[int, int]

LONGEST_PAUSE = 30.0
"""Seconds that one mark may ask for."""

LONGEST_SILENCE = 3_600.0
"""Seconds that all marks of a text may ask for together."""

_MARK = re.compile(r"\[pause:", re.IGNORECASE)
_PAUSE = re.compile(
    r"\[pause:[ \t]{0,8}([0-9]{1,6}(?:[.,][0-9]{1,6})?)[ \t]{0,8}(ms|s)[ \t]{0,8}\]", re.IGNORECASE | re.ASCII
)
# Indented by four or more, a line is code in Markdown; so is what lies between two fences.
_LINE = re.compile(r"^ {0,3}(?:(#{1,6})[ \t]+(?=\S)|(`{3,}|~{3,}))", re.MULTILINE)
_CLOSING = re.compile(r"(?:^|[ \t])#+[ \t]*\Z")


class Heading(NamedTuple):
    """A line of one to six `#` and a title. `start` and `end` are those of what is spoken of it, in code points."""

    start: int
    end: int
    level: int
    title: str


class Pause(NamedTuple):
    """A mark such as `[pause:1.5s]`: where it stands, in code points, and the silence it asks for."""

    start: int
    end: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Script:
    """The directions in a text, in order. `unspoken` are the spans of it that no voice is given: marks, and the `#`
    around titles. Nothing is spoken across one of them, nor across an edge of a title."""

    headings: tuple[Heading, ...] = ()
    pauses: tuple[Pause, ...] = ()
    unspoken: tuple[Span, ...] = ()

    def blocks(self, length: int) -> list[Span]:
        """What is spoken of a text of this length, in runs that direction interrupts."""
        edges = [0, *(edge for span in self.unspoken for edge in span), length]
        return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end]

    def characters(self, length: int) -> int:
        """How many of the first `length` characters of the text are no direction."""
        return length - sum(min(end, length) - start for start, end in self.unspoken if start < length)


def read_script(text: str) -> Script:
    """The directions in a clean text, in linear time. A mark that cannot be read is none: see `check_script`.

    `#hashtag`, a row of `#` without a title that makes a sound, and lines of code (indented by four, or between
    fences) are no headings.
    """
    pauses = [
        Pause(*found.span(), seconds=seconds)
        for found in (_PAUSE.finditer(text) if "[" in text else ())
        if (seconds := _seconds(found)) <= LONGEST_PAUSE
    ]
    if "#" not in text:
        return Script((), tuple(pauses), tuple((each.start, each.end) for each in pauses))
    headings, around = _headings(text, pauses)
    unspoken = sorted([*around, *((each.start, each.end) for each in pauses)])
    return Script(tuple(headings), tuple(pauses), tuple(unspoken))


def check_script(text: str) -> None:
    """Raises InvalidRequest for a mark that nobody could follow: spoken as text it would be paid for and heard."""
    if not _MARK.search(text):
        return
    script = read_script(text)
    good = {each.start for each in script.pauses}
    for found in _MARK.finditer(text):
        if found.start() not in good:
            raise _refused(text, found.start())
    if sum(each.seconds for each in script.pauses) > LONGEST_SILENCE:
        message = f"may ask for at most {LONGEST_SILENCE / 60:.0f} minutes of pauses in all"
        raise InvalidRequest(f"The text {message}.", errors=[FieldError("text", message)])


def _seconds(found: re.Match[str]) -> float:
    number = float(found[1].replace(",", "."))
    return number / 1000 if found[2].lower() == "ms" else number


def _refused(text: str, at: int) -> InvalidRequest:
    line = text.count("\n", 0, at) + 1
    # A mark is named only where it is one: what somebody wrote in the brackets may be their text.
    shown = re.compile(r"\[pause:[-+0-9.,: \t]{0,16}[a-z]{0,8}[ \t]{0,4}\]?", re.IGNORECASE | re.ASCII).match(text, at)
    name = f"`{shown[0].strip()}`" if shown and shown[0].endswith("]") else "which begins with `[pause:`"
    message = (
        f"has a pause in line {line} that cannot be read: {name}. Write it as `[pause:1.5s]` or `[pause:800ms]`, "
        f"with at most {LONGEST_PAUSE:.0f} seconds"
    )
    return InvalidRequest(f"The text {message}.", errors=[FieldError("text", message)])


def _headings(text: str, pauses: list[Pause]) -> tuple[list[Heading], list[Span]]:
    """The headings, and what is not spoken on their lines."""
    headings: list[Heading] = []
    around: list[Span] = []
    fence, before_fence = "", 0
    marks = iter(pauses)
    mark = next(marks, None)
    for found in _LINE.finditer(text):
        if found[2]:
            if not fence:
                fence, before_fence = found[2], len(headings)
            elif found[2].startswith(fence) and not text[found.end() : _line_end(text, found.end())].strip():
                del headings[before_fence:], around[2 * before_fence :]
                fence = ""
            continue
        start, line_end = found.end(), _line_end(text, found.end())
        end = start + len(_CLOSING.sub("", text[start:line_end].rstrip()).rstrip())
        parts, at = [], start
        while mark is not None and mark.start < line_end:
            if start <= mark.start:
                parts.append(text[at : mark.start])
                at = mark.end
            mark = next(marks, None)
        title = " ".join(" ".join([*parts, text[at : max(at, end)]]).split())
        if SOUNDS.search(title):
            end = max(at, end)
            headings.append(Heading(start, end, len(found[1]), title))
            around += [(found.start(), start), (end, line_end)]
    return headings, around


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
