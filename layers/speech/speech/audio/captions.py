"""Lays text out as captions: at most two lines of 42 columns, broken where the sense allows it."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from unicodedata import category, east_asian_width

LINE = 42
"""Columns of a line. A wide character, such as an ideograph, takes two."""

_CLAUSE = re.compile(r"[.,;:!?…、，。！？；：।؟،؛—–)\]»”’]$")

# Thai and Lao have no spaces, and vowels beside their letter that Unicode counts as graphemes of their own.
_LETTER = r"[\u0e40-\u0e44\u0ec0-\u0ec4]*\X[\u0e2f\u0e30\u0e32\u0e45\u0e46\u0eaf\u0eb0\u0eb2\u0ec6]*"


def captions(text: str) -> list[str]:
    """The text in captions of one or two lines; joined again by white space it is the same text.

    Only white space becomes a line end. Where there is none, a caption has one line, and the text goes
    on in the next. A word wider than a line is cut.
    """
    if width(text) <= LINE:
        return [text]
    made = []
    for run in _runs(text):
        words = run
        while words:
            taken, lines = _first(words)
            made.append(lines)
            words = words[taken:]
    return made


def width(text: str) -> int:
    """Columns that the text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(each) for each in text)


@cache
def _columns(character: str) -> int:
    if category(character) in ("Mn", "Me", "Cf"):  # not by `combining`: that is 0 for the vowel signs of Thai and Hindi
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _runs(text: str) -> Iterator[list[str]]:
    """Words, none wider than a line, in runs: between two runs is no white space, so they share no caption."""
    run: list[str] = []
    for word in text.split():
        rest = word
        while width(rest) > LINE:
            at = _cut(rest)
            yield [*run, rest[:at]]
            run, rest = [], rest[at:]
        run.append(rest)
    yield run


def _cut(word: str) -> int:
    """Where to cut a word wider than a line: after punctuation in the second half of the line, else at its end.

    Not inside a grapheme, nor between a letter and a vowel of its own, if they are no wider than a line.
    """
    if word.isascii():
        return _as_many_as_fit(word)
    import regex

    letters = (each[0] for each in regex.finditer(_LETTER, word))
    return _as_many_as_fit(letters) or _as_many_as_fit(word) or 1


def _as_many_as_fit(parts: Iterable[str]) -> int:
    """How long what fits on a line is, from the beginning to punctuation in its second half, or to its end."""
    columns = end = sense = 0
    for part in parts:
        columns += width(part)
        if columns > LINE:
            return sense or end
        end += len(part)
        if columns > LINE // 2 and _CLAUSE.search(part):
            sense = end
    return end


def _first(words: list[str]) -> tuple[int, str]:
    """How many words the next caption takes, and its lines."""
    fitting = _fitting(words, 0)
    both = fitting + _fitting(words, fitting) if fitting < len(words) else fitting
    if both == len(words):
        best = both
    else:
        # End it at the end of a clause, if that leaves it a third full.
        least = max(1, both // 3)
        best = next((at for at in range(both, least, -1) if _CLAUSE.search(words[at - 1])), both)
        if len(words) - best == 1 and best > 2 and not _CLAUSE.search(words[best - 1]):
            best -= 1  # no caption of one word
    return best, _lines(words[:best])


def _fitting(words: list[str], start: int) -> int:
    columns = -1
    for count, word in enumerate(words[start:]):
        columns += 1 + width(word)
        if columns > LINE:
            return max(count, 1)
    return len(words) - start


def _lines(words: list[str]) -> str:
    """One line if it fits, else two: after a clause if that is near the middle, else as even as can be."""
    whole = " ".join(words)
    if width(whole) <= LINE:
        return whole
    best: tuple[float, str] | None = None
    for at in range(1, len(words)):
        first, second = " ".join(words[:at]), " ".join(words[at:])
        a, b = width(first), width(second)
        if max(a, b) > LINE:
            continue
        price = abs(a - b) - (LINE // 2 if _CLAUSE.search(words[at - 1]) else 0)
        if best is None or price < best[0]:
            best = (price, f"{first}\n{second}")
    return best[1] if best else whole
