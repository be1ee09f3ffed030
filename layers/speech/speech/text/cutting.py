"""Cutting text: into sentences for subtitles, and into pieces for vendors, at code point offsets."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

from speech.text.reading import SOUNDS
from speech.text.script import read_script

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """One vendor call's worth of a text: offsets in code points and in bytes of the text's UTF-8."""

    start: int
    end: int
    byte_start: int
    byte_end: int
    text: str


def sentences(text: str, *, language: str | None = None) -> list[Span]:
    """The sentences of a clean text, in order; what lies before, between and after them is white space only.

    A sentence never crosses a paragraph. One that makes no sound joins the one before it, unless its
    whole paragraph makes none. `language` is a BCP 47 tag; English is assumed without one.
    """
    return list(_sentences(text, (0, len(text)), language, _inside_graphemes(text)))


def cut(text: str, *, limit: int, language: str | None = None) -> list[Piece]:
    """Pieces of at most `limit` code points of a clean text, cut where a reader would draw breath.

    Whole paragraphs are packed while they fit; one that does not fit is cut at sentence ends, then at
    clause punctuation, white space, and between graphemes. Every piece makes a sound, none begins or
    ends with white space, and all that is not white space is in exactly one piece. Left out is only
    what would be silence bought: a rule or a row of emoji that fits no neighbour, a text of dots. And what is
    direction: a mark for a pause and the `#` of a heading are in no piece, none reaches across a mark, and a
    heading shares a piece with nothing else.

    Where several neighbours fit, what they say decides which of the places to cut is taken, not how many
    came before: an edit moves the cuts around it, and those further on fall where they fell before.
    """
    if limit < 1:
        raise ValueError(f"A limit of {limit} characters.")
    inside = _inside_graphemes(text)
    spans: list[Span] = []
    for block in read_script(text).blocks(len(text)):
        if text[slice(*block)].isspace():  # every other one in a text of headings
            continue
        packer = _Packer(text, limit, inside)
        for paragraph in _voiced(text, _paragraphs(text, block, inside)):
            if not packer.add(paragraph, begins_paragraph=True):
                for sentence in _voiced(text, _sentences(text, paragraph, language, inside)):
                    if not packer.add(sentence, begins_paragraph=sentence[0] == paragraph[0]):
                        packer.carve(sentence)
        spans += packer.finish()
    return list(_pieces(text, spans))


def begins_paragraph(text: str, end: int, start: int) -> bool:
    """Whether a paragraph begins between two spans, of which one ends and the other starts there."""
    found = _PARAGRAPH.search(text, end, start + _LONGEST_MARKER)
    return found is not None and found.start() < start


# --- Packing ---------------------------------------------------------------------------------

# In order of preference, what ends a part of a sentence. A full stop comes late: a sentence was cut
# at those that end one, so the rest are mostly abbreviations.
_BREATHS = (
    re.compile(r"""(?:[;:!?…—–]["'”’»)\]]*(?=\s)|[。！？；：…]["”’」』）】》]*)"""),
    re.compile(r"""(?:[,،][”’»)\]"']*(?=\s)|[、，،])"""),
    re.compile(r"""[.)\]]["'”’»]*(?=\s)"""),
)
_SPACES = re.compile(r"\s+")


_ANCHOR = 48
"""How much of a span is looked at to judge the place before it: an edit further on does not change it."""


class _Unit(NamedTuple):
    """A span that goes into a piece whole, and how good the place before it is for a cut."""

    start: int
    end: int
    begins_paragraph: bool
    draw: int


class _Packer:
    """Fills one piece at a time with neighbouring spans."""

    def __init__(self, text: str, limit: int, inside: bytearray) -> None:
        self._text = text
        self._limit = limit
        self._silence = max(limit // 4, 32)  # what is worth tearing a sentence for
        self._inside = inside
        self._done: list[Span] = []
        self._open: list[_Unit] = []

    def add(self, span: Span, *, begins_paragraph: bool = False) -> bool:
        """Take the span whole, in the open piece or in a new one. False when it is too long for any."""
        start, end = span
        if end - start > self._limit:
            # What is cut anyway may fill up a short piece, such as a heading, but not a decent one.
            if self._open and self._open[-1].end - self._open[0].start > self._limit // 2:
                self._close()
            return False
        draw = crc32(self._text[start : min(end, start + _ANCHOR)].encode())
        unit = _Unit(start, end, begins_paragraph, draw)
        if self._open and end - self._open[0].start > self._limit:
            self._cut_before(unit)
        self._open.append(unit)
        return True

    def _cut_before(self, unit: _Unit) -> None:
        """End the open piece, where two thirds of it at least are kept and the rest fits together with `unit`."""
        units = [*self._open, unit]
        first = self._open[0].start
        places = [
            at
            for at in range(1, len(units))
            if 3 * (units[at - 1].end - first) >= 2 * self._limit and unit.end - units[at].start <= self._limit
        ]
        at = max(places, key=lambda at: (units[at].begins_paragraph, units[at].draw, at), default=len(self._open))
        self._done.append((first, units[at - 1].end))
        self._open = self._open[at:]

    def carve(self, span: Span) -> None:
        """Take a span that is longer than the limit, in parts, without the long silences in it."""
        start, end = span
        if self._open:
            start = self._open[0].start
            self._open = []
        last_sound = _last_sound(self._text, start, end)
        voiced_end = self._after_sound(last_sound + 1, end)
        end, silence = (voiced_end, (voiced_end, end)) if end - voiced_end > self._silence else (end, None)
        start = self._sounding(start, last_sound, end)
        while end - start > self._limit:
            at = self._breath(start, last_sound)
            self._done.append(_trimmed(self._text, (start, at), self._inside))
            start = self._sounding(at, last_sound, end)
        self._open = [_Unit(start, end, begins_paragraph=False, draw=0)]
        if silence:
            self.add(_trimmed(self._text, silence, self._inside))

    def finish(self) -> list[Span]:
        """The pieces; silent ones join the one before, or the one after, or are left out."""
        self._close()
        return list(_voiced(self._text, self._done, self._limit))

    def _close(self) -> None:
        if self._open:
            self._done.append((self._open[0].start, self._open[-1].end))
        self._open = []

    def _sounding(self, start: int, last_sound: int, end: int) -> int:
        """Where a part that follows `start` begins: past the white space, and past a long silence."""
        start = _trimmed(self._text, (start, end), self._inside)[0]
        first = SOUNDS.search(self._text, start, last_sound + 1)
        if first is None or first.start() - start <= self._silence:
            return start
        at = first.start()
        while self._inside[at] or (first.start() - at < self._silence and not self._text[at - 1].isspace()):
            at -= 1
        return at

    def _after_sound(self, at: int, end: int) -> int:
        """Where the punctuation that follows a sound directly ends, or as much of it as is worth keeping."""
        most = at + self._silence
        while at < end and (self._inside[at] or (at < most and not self._text[at].isspace())):
            at += 1
        return at

    def _breath(self, start: int, last_sound: int) -> int:
        """The best place to end a piece that begins at `start`, leaving a sound on both sides if that can be."""
        top = start + self._limit
        first = SOUNDS.search(self._text, start, top)
        bottom = first.end() if first else start + 1
        if bottom <= last_sound:
            top = min(top, last_sound)
        half = max(bottom, start + self._limit // 2)
        for breath in _BREATHS:
            # One more character to see the white space after the mark.
            ends = [each.end() for each in breath.finditer(self._text, half - 1, top + 1)]
            for at in reversed(ends):
                if half <= at <= top and not self._inside[at]:
                    return at
        for each in reversed(list(_SPACES.finditer(self._text, bottom, top + 1))):
            if each.start() <= top and not self._inside[each.start()] and not self._inside[each.end()]:
                return each.start()
        # The last resort leaves no sound behind, the very last is inside a grapheme longer than the limit.
        whole = (
            at for highest in (top, start + self._limit) for at in range(highest, start, -1) if not self._inside[at]
        )
        return next(whole, start + self._limit)


def _pieces(text: str, spans: list[Span]) -> Iterator[Piece]:
    position, byte = 0, 0
    for start, end in spans:
        byte_start = byte + len(text[position:start].encode())
        part = text[start:end]
        position, byte = end, byte_start + len(part.encode())
        yield Piece(start=start, end=end, byte_start=byte_start, byte_end=byte, text=part)


def _voiced(text: str, spans: Iterable[Span], limit: int | None = None) -> Iterator[Span]:
    """Join what makes no sound to the one before, else to the one after; leave it out if it fits neither."""
    held: Span | None = None
    held_sounds = False
    for start, end in spans:
        sounds = SOUNDS.search(text, start, end) is not None
        if held and not (sounds and held_sounds) and (limit is None or end - held[0] <= limit):
            held = (held[0], end)
            held_sounds = sounds or held_sounds
            continue
        if held and held_sounds:
            yield held
        held, held_sounds = (start, end), sounds
    if held and held_sounds:
        yield held


# --- Sentences -------------------------------------------------------------------------------

# A blank line, or a line that begins a list item, a heading or a turn of dialogue.
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*|\n(?=[ \t]*(?:[-*+•–—]|#{1,6}|\d{1,3}[.)])[ \t])")

_LONGEST_MARKER = 8
"""As much as must be seen of a line to tell that it begins a paragraph."""

_WINDOW = 2_048
_MARGIN = 64
_LONG = 300

_QUOTES = frozenset("\"'“”„‟‘’‚«»‹›()[]{}「」『』【】（）［］｛｝《》〈〉〔〕*_")
_CLOSERS = re.compile(r"""(?:[^\S\n]?»(?=\s|\Z)|[)\]}"'”’»›」』】）》〉〕］｝*_]|[“‘«‹](?=[\s)\]}"'”’»›]|\Z))*\s*""")
_OPENERS = re.compile(r"""[\s"'“”„‟‘‚«»‹›(\[—–-]*""")
_UNQUOTED = str.maketrans(dict.fromkeys('"“”„‟‘‚«»‹›()[]{}「」『』【】（）［］｛｝《》〈〉〔〕', " "))


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


# Kept to those that hardly ever end a sentence, in any language; sentencex knows most others by language.
_ABBREVIATIONS = _words(
    "dr mr mrs ms prof sr sra srta dra rev vs cf viz approx e.g i.e mme mlle d.h z.b bzw ca evtl ggf inkl exkl dvs "
    "t.ex bl.a dott dott.ssa avv pl p.ex núm tel np tzw tzn tj hab ul inż mgr т.е ул mevr dhr bijv d.w.z drs डॉ د"
)
_BEFORE_NUMBERS = _words(
    "no nr n nº núm num p pp pg pag pág pàg s str st ss art fig abb afb rys tab vol cap kap bd blz kl godz uur "
    "№ с д стр рис табл гл ص"
)
_BEFORE_NUMBER = "|".join(sorted(_BEFORE_NUMBERS))
# What sentencex never ends a sentence with, but a capital after it does: lists that go on, units after a number, the
# number of a page, and brackets around a whole sentence.
_BEFORE_CAPITAL = re.compile(r"""[.)](?=\s+[«“„‘"'(—–¿¡]*\s?([^\W\d_]))""")
_ENDS_ALL_THE_SAME = re.compile(
    rf"""(?:\b(?:etc|ecc|suiv|usw|enz|itd|itp|m\.m)\.|\d\s?(?:h|kg|km|cm|mm|ч|мин|кг|км|руб|zł|kr|Uhr)\."""
    rf"""|\b(?:{_BEFORE_NUMBER})\.?\s?\d+\.|[.!?…]\))\Z""",
    re.IGNORECASE,
)
_LAST_BEFORE = frozenset("cvwzdptmhgrłдпчнгмбDPM0123456789.!?…")
"""What stands before the full stop or bracket in any of them: most sentences are ruled out by that alone."""

_ELLIPSIS = re.compile(r"[^\s.…]+\s?(?:\.\.\.|…+)\W*\Z")
_QUOTED_QUESTION = re.compile(r"""[?!？！؟]["”’»)\]」』]+\s*\Z""")
_SHORT_WORDS, _SHORT_SIGNS = 3, 5
"""How short what follows a quoted question is where it says who asked, in scripts without capitals."""
# Words that sentencex 1.0.32 takes for abbreviations, so that no sentence would end with them.
_ORDINARY = {
    "ca": "no mar cap",
    "en": "me no",
    "es": "bien no mar",
    "it": "no mar",
    "nl": "al best dat no",
    "sv": "det hon maj min no ut",
}
_LAST_WORD = re.compile(r"([^\s\"'“„‘«(\[]+)\.\Z")
_END = re.compile(r"[.!?…。！？؟।]")
_LIST_MARK = re.compile(r"\W*(?:\d{1,3}|[^\W\d_])[.)]")


def _paragraphs(text: str, span: Span, inside: bytearray) -> Iterator[Span]:
    start, end = span
    breaks = [each.start() for each in _PARAGRAPH.finditer(text, start, end)]
    return _filled(text, [start, *breaks, end], inside)


def _sentences(text: str, span: Span, language: str | None, inside: bytearray) -> Iterator[Span]:
    for start, end in _paragraphs(text, span, inside):
        if not SOUNDS.search(text, start, end):
            yield start, end
            continue
        paragraph = text[start:end]
        breaks = [start + at for at in _breaks(paragraph, language) if not inside[start + at]]
        yield from _voiced(text, _filled(text, [start, *breaks, end], inside))


def _breaks(paragraph: str, language: str | None) -> Iterator[int]:
    """Where sentences begin, but the first. Quotations are one sentence until they get too long for one."""
    cased = not paragraph.islower()
    start = 0
    for at in [*_repaired(paragraph, _found(paragraph, language), cased), len(paragraph)]:
        if at - start > _LONG:
            part = paragraph[start:at]
            # sentencex lets nothing break a pair of quotes or brackets, and any two make a pair.
            unquoted = part.translate(_UNQUOTED)
            if unquoted != part:
                yield from (start + each for each in _repaired(part, _found(unquoted, language), cased))
        if at < len(paragraph):
            yield at
        start = at


def _found(paragraph: str, language: str | None) -> list[int]:
    """What sentencex says, asked about a window at a time: an open « makes it take quadratic time."""
    code = (language or "en").replace("_", "-").split("-")[0].lower()
    # A single line end is a space; and "A\u2009." with any space but ASCII's makes sentencex 1.0.32 panic.
    flat = re.sub(r"\s", " ", paragraph)
    if code in _ORDINARY:
        ordinary = rf"\b(?:{_ORDINARY[code].replace(' ', '|')})(?=\.)"
        flat = re.sub(ordinary, lambda word: "x" * len(word[0]), flat, flags=re.IGNORECASE)
    found: list[int] = []
    missed = [
        each.start(1)
        for each in _BEFORE_CAPITAL.finditer(flat)
        if flat[each.start() - 1] in _LAST_BEFORE
        and each[1].isupper()
        and _ENDS_ALL_THE_SAME.search(flat, max(0, each.end() - 16), each.end())
    ]
    start = 0
    while True:
        window = flat[start : start + _WINDOW]
        is_last = start + _WINDOW >= len(flat)
        edge = len(window) if is_last else _WINDOW - _MARGIN
        found += [
            start + at for at in _asked(code, window) if 0 < at < edge and start + at > (found[-1] if found else 0)
        ]
        if is_last:
            return sorted({*found, *missed}) if missed else found
        if found and found[-1] > start + _WINDOW // 2:
            start = found[-1]
        else:
            start += max(window.rfind(" ", 0, edge) + 1, _WINDOW // 2)


def _asked(code: str, window: str) -> list[int]:
    from sentencex import get_sentence_boundaries

    try:
        return [each["start_index"] for each in get_sentence_boundaries(code, window)]
    except BaseException as error:  # a panic in Rust is no Exception, and its type cannot be imported
        # No sentences is an answer.
        if type(error).__name__ != "PanicException":
            raise
        return []


def _repaired(text: str, found: list[int], cased: bool) -> Iterator[int]:
    """Put closing quotes with what they close, opening ones with what they open, and mend false ends."""
    previous = 0
    for each in found:
        at = each
        while at > previous and (text[at - 1].isspace() or text[at - 1] in _QUOTES):
            at -= 1
        closers = _CLOSERS.match(text, at, at + _MARGIN)
        at = closers.end() if closers else at
        if previous < at < len(text) and not _goes_on(text, previous, at, cased):
            yield at
            previous = at


def _goes_on(text: str, start: int, at: int, cased: bool) -> bool:
    """Whether the sentence that begins at `start` does not really end before `at`."""
    if text[at - 1] in ".!?":  # no white space: J.-C.
        return True
    opened = _OPENERS.match(text, at, at + _MARGIN)
    after = text[opened.end() : opened.end() + 2] if opened else ""
    if cased and after[:1].islower() and not after[1:].isupper():  # iPhone may begin one
        return True
    tail = text[max(start, at - _MARGIN) : at].rstrip()
    if after[:1].isalpha() and after[:1].upper() == after[:1].lower() and _goes_on_uncased(text, start, at, tail):
        return True
    if at - start <= _MARGIN and _LIST_MARK.fullmatch(tail):
        return True
    last = _LAST_WORD.search(tail)
    word = last[1].lower() if last else ""
    return word in _ABBREVIATIONS or (word in _BEFORE_NUMBERS and after[:1].isdigit())


def _goes_on_uncased(text: str, start: int, at: int, tail: str) -> bool:
    """The same where no capital tells: a hesitation does not end a sentence, nor a question that somebody asked."""
    if tail[-1:] in ".…":
        return _ELLIPSIS.fullmatch(text[start:at].strip()) is not None
    if not _QUOTED_QUESTION.search(tail):
        return text[at] == "と" and tail[-1:] in "」』"
    following = _END.split(text[at : at + _MARGIN], maxsplit=1)[0].split()
    return len(following) <= _SHORT_WORDS if len(following) > 1 else len(following[0]) <= _SHORT_SIGNS


# --- Spans -----------------------------------------------------------------------------------


def _filled(text: str, edges: list[int], inside: bytearray) -> Iterator[Span]:
    """The spans between the edges, without the white space around them; none that is only white space."""
    for edge, following in pairwise(edges):
        start, end = _trimmed(text, (edge, following), inside)
        if start < end:
            yield start, end


def _trimmed(text: str, span: Span, inside: bytearray) -> Span:
    """The span without white space around it, except where that is part of a grapheme."""
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end:
        return start, end
    while start > span[0] and inside[start]:
        start -= 1
    while end < span[1] and inside[end]:
        end += 1
    return start, end


def _last_sound(text: str, start: int, end: int) -> int:
    return next((at for at in range(end - 1, start, -1) if SOUNDS.match(text, at)), start)


_FLAGS = re.compile("[\U0001f1e6-\U0001f1ff]+")  # in pairs, from the first
_JOINING = r"[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=Prepend}\p{GCB=L}\p{GCB=V}\p{GCB=T}\r]"


def _inside_graphemes(text: str) -> bytearray:
    """One byte per offset: 1 where a cut would fall inside a grapheme."""
    inside = bytearray(len(text) + 1)
    if text.isascii():
        return inside
    import regex

    for flags in _FLAGS.finditer(text):
        start, end = flags.span()
        inside[start + 1 : end : 2] = b"\x01" * ((end - start) // 2)
    # Without the flags, on a row of which \X takes quadratic time. Most texts have no character that
    # joins another, and finding that out is twenty times cheaper.
    plain = _FLAGS.sub(lambda flags: "x" * len(flags[0]), text)
    if regex.search(_JOINING, plain):
        for each in regex.finditer(r"\X", plain):
            start, end = each.span()
            if end - start > 1:
                inside[start + 1 : end] = b"\x01" * (end - start - 1)
    return inside
