"""The pronunciation lexicon: words that are spoken as if they were written otherwise. Plain text, never markup.

A text is cut, shown and counted as it is written; what a vendor is sent, and what a segment's audio is found by, is the
respelled piece of it. So an edit of the lexicon speaks anew exactly the pieces that contain the word.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from speech.errors import FieldError, InvalidRequest
from speech.text.reading import SOUNDS

MAX_BYTES = 1_000_000
"""Of a file."""
MAX_ENTRIES = 20_000
MAX_WORD = 60
MAX_RESPELLING = 200
MAX_USED = 500
MAX_USED_BYTES = 32_768
"""Of what a job keeps: the entries whose words its text contains. Its row is read for every segment."""
MOST_TOLD = 10
"""How many mistakes are told at once."""

TOO_MANY = f"has more than {MAX_ENTRIES:,} entries; keep only the words that are spoken wrongly"

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_HEADER = ("word", "respelling")
_COLUMNS = "word,respelling or word,respelling,language"


class Entry(NamedTuple):
    """It holds for `language`, a tag such as `en` or `pt-BR`, and for what is more exact; without one, for all."""

    word: str
    respelling: str
    language: str | None = None


# --- What was written ------------------------------------------------------------------------


def read_csv(name: str, data: bytes) -> list[Entry]:
    """The entries of a file. Raises InvalidRequest that names the file, the lines, and what to do."""
    if len(data) > MAX_BYTES:
        raise _invalid(name, [f"is larger than {MAX_BYTES:,} bytes; keep only the words that are spoken wrongly"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _invalid(name, [f"line {line} is not UTF-8; save the file as CSV in UTF-8"]) from error
    import csv
    import io

    found = _Found()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        for number, row in enumerate(rows):
            cells = [each.strip() for each in row]
            while cells and not cells[-1]:
                cells.pop()
            is_header = number == 0 and tuple(each.lower() for each in cells[:2]) == _HEADER
            if cells and not is_header:
                found.add(f"line {rows.line_num}", cells)
            if found.is_too_much:
                break
    except csv.Error as error:
        found.wrong.append(
            f"line {rows.line_num} is not CSV ({error}); put a field that has a comma or a quote in it between quotes, "
            "and write each quote in it twice"
        )
    return found.entries_of(name)


def read_option(value: object) -> list[dict[str, Any]]:
    """The option `lexicon`, an object or a list of rows, as a list of rows. Raises ValueError that says what to do."""
    if isinstance(value, Mapping):
        rows: Iterable[object] = ({"word": word, "respelling": respelling} for word, respelling in value.items())
    elif isinstance(value, list):
        rows = value
    else:
        raise ValueError(  # noqa: TRY004 - what pydantic wants of a validator
            'must be an object of words and respellings, such as {"GIF": "jif"}, or a list of rows'
        )
    found = _Found()
    for number, row in enumerate(rows, 1):
        found.add(f"entry {number}", _cells(row))
        if found.is_too_much:
            break
    if len(found.entries) > MAX_ENTRIES:
        found.wrong.append(TOO_MANY)
    if found.wrong:
        raise ValueError("; ".join(found.wrong[:MOST_TOLD]))
    return [{name: part for name, part in each._asdict().items() if part is not None} for each in found.entries]


def _cells(row: object) -> list[str] | None:
    """None for what is no row."""
    if not isinstance(row, Mapping) or not {"word", "respelling"} <= row.keys() <= {"word", "respelling", "language"}:
        return None
    cells = [row["word"], row["respelling"], *([row["language"]] if row.get("language") is not None else [])]
    return [each.strip() for each in cells] if all(isinstance(each, str) for each in cells) else None


class _Found:
    """Entries as they are found, and what is wrong with others: places and reasons, never the words themselves."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.wrong: list[str] = []
        self._places: dict[tuple[str, str | None], str] = {}

    @property
    def is_too_much(self) -> bool:
        return len(self.wrong) >= MOST_TOLD or len(self.entries) > MAX_ENTRIES

    def add(self, place: str, cells: Sequence[str] | None) -> None:
        if cells is None:
            self.wrong.append(f"{place} must have a `word`, a `respelling` and, if need be, a `language`, all strings")
            return
        if not 2 <= len(cells) <= 3:
            columns = "column" if len(cells) == 1 else "columns"
            self.wrong.append(f"{place} has {len(cells)} {columns}; write {_COLUMNS}")
            return
        word, respelling, language = cells[0], cells[1], cells[2].lower() if len(cells) == 3 else None
        reason = _reason_against(word, respelling, language)
        if reason is None and (before := self._places.get((word, language))):
            reason = f"has the same word as {before}; keep one of them"
        if reason is not None:
            self.wrong.append(f"{place} {reason}")
            return
        self._places[word, language] = place
        self.entries.append(Entry(word, respelling, language))

    def entries_of(self, name: str) -> list[Entry]:
        if len(self.entries) > MAX_ENTRIES:
            self.wrong.append(TOO_MANY)
        if self.wrong:
            raise _invalid(name, self.wrong[:MOST_TOLD])
        return self.entries


def _reason_against(word: str, respelling: str, language: str | None) -> str | None:
    if not word or len(word) > MAX_WORD or not SOUNDS.search(word):
        return f"needs a word of letters or digits with at most {MAX_WORD} characters"
    if not respelling or len(respelling) > MAX_RESPELLING or not SOUNDS.search(respelling):
        return f"needs a respelling that can be spoken, with at most {MAX_RESPELLING} characters"
    if any(not each.isprintable() for each in word + respelling):
        return "has a line break or an invisible character in it; take it out"
    if set("<>[]") & set(respelling):
        return "has markup in its respelling; write it as plain letters"
    if language is not None and not _LANGUAGE.fullmatch(language):
        return "has a language that is no tag such as en or pt-BR"
    return None


def _delimiter(text: str) -> str:
    """A comma; a semicolon or a tab, as spreadsheets write them, where the first line has one of those first."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = re.search(r"[,;\t]", re.sub(r'"[^"]*"', "", first))
    return found[0] if found else ","


def _invalid(name: str, wrong: Sequence[str]) -> InvalidRequest:
    return InvalidRequest(
        "; ".join(f"`{name}` {each}" for each in wrong) + ".", errors=[FieldError(name, each) for each in wrong]
    )


# --- What is spoken --------------------------------------------------------------------------


def used(entries: Iterable[Entry], *, language: str | None, text: str) -> dict[str, str]:
    """Of the entries that hold for this language those whose words the text contains: word → respelling.

    Of two for the same word the one for the more exact language counts, and of two for the same language the later
    one. Raises InvalidRequest for more than a job can keep.
    """
    tag = (language or "").lower()
    chosen = {
        entry.word: entry.respelling
        for entry in sorted(entries, key=lambda entry: len(entry.language or ""))
        if entry.language is None or tag == entry.language or tag.startswith(f"{entry.language}-")
    }
    if not chosen:
        return {}
    words = {word for _, _, word in _Finder(chosen).find(text)}
    kept = {word: chosen[word] for word in sorted(words)}
    size = sum(len(word.encode()) + len(respelling.encode()) for word, respelling in kept.items())
    if len(kept) > MAX_USED or size > MAX_USED_BYTES:
        message = (
            f"has {len(kept):,} entries ({size:,} bytes) for words of this text; a job takes at most {MAX_USED} "
            f"({MAX_USED_BYTES:,} bytes): split the text, or keep only the words that are spoken wrongly"
        )
        raise _invalid("lexicon", [message])
    return kept


class Speller:
    """Respells texts by one lexicon, word → respelling."""

    def __init__(self, lexicon: Mapping[str, str]) -> None:
        self._lexicon = lexicon
        self._finder = _Finder(lexicon) if lexicon else None

    def __call__(self, text: str) -> str:
        """The text as it is to be spoken."""
        if self._finder is None:
            return text
        parts, at = [], 0
        for start, end, word in self._finder.find(text):
            parts += [text[at:start], self._lexicon[word]]
            at = end
        return "".join([*parts, text[at:]])


# Characters that are written several ways: in lexicons as they are typed, in books as they are set. One for one.
_SAME = str.maketrans({"’": "'", "ʼ": "'", "＇": "'", "‐": "-", "‑": "-", "\n": " ", "\t": " ", "\u00a0": " "})

# Scripts that put no space between words, and Korean, where particles follow a word without one.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_INSIDE = "\u00ad\u2060"
"""Where a word may, or may not, be broken between two lines: a soft hyphen, a word joiner."""

_ASCII_WORDS = re.compile(r"[A-Za-z0-9_]+")


@cache
def _unspaced_character() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")  # not when this is imported: most jobs have no lexicon


class _Finder:
    """Finds words of a lexicon in texts: whole words, the longest first, in time that grows with the text alone.

    Each token of a text is looked up by itself; it leads to the few lengths that words beginning with it have.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._exact: dict[str, str] = {}
        self._any_case: dict[str, str] = {}
        shapes: dict[str, set[tuple[int, int]]] = {}
        for word in words:
            for form in {word, unicodedata.normalize("NFC", word), unicodedata.normalize("NFD", word)}:
                plain = form.translate(_SAME)
                first = _words_of(plain).search(plain)
                if first is None:
                    continue
                self._exact[plain] = word
                if plain == plain.lower():
                    self._any_case[plain] = word
                shapes.setdefault(first[0].lower(), set()).add((len(plain), first.start()))
        self._shapes = {token: sorted(each, reverse=True) for token, each in shapes.items()}

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where words stand, in order and apart: start, end, and the word as the lexicon has it."""
        plain, done, shapes = text.translate(_SAME), 0, self._shapes
        for token in _words_of(plain).finditer(plain):
            for length, offset in shapes.get(token[0].lower(), ()):
                start = token.start() - offset
                end = start + length
                if start < done or end > len(plain):
                    continue
                written = plain[start:end]
                word = self._exact.get(written) or self._any_case.get(written.lower())
                if word and not _goes_on(plain, end) and (not offset or not _is_word(plain[start - 1 : start])):
                    yield start, end, word
                    done = end
                    break


def _words_of(text: str) -> Any:
    """What finds the tokens of this text: runs of letters, marks, digits and `_`; of a script without spaces every
    character, with its marks."""
    if text.isascii():
        return _ASCII_WORDS
    import regex

    return regex.compile(rf"(?V1)[{_UNSPACED}]\p{{M}}*|[[\w\p{{M}}{_INSIDE}]--[{_UNSPACED}]]+")


def _goes_on(text: str, at: int) -> bool:
    """Whether the word that ends at `at` really goes on there: across an apostrophe only as `can` does in `can't`."""
    following = text[at : at + 1]
    if not _is_word(following):
        return following == "'" and text[at + 1 : at + 2] in ("t", "T") and not _is_word(text[at + 2 : at + 3])
    if unicodedata.category(following).startswith("M"):
        return True
    unspaced = _unspaced_character()
    return not (unspaced.match(following) or unspaced.match(text, at - 1))


def _is_word(character: str) -> bool:
    return bool(character) and (
        character.isalnum() or character in f"_{_INSIDE}" or unicodedata.category(character).startswith("M")
    )
