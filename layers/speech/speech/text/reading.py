"""From the bytes of a file to the text that will be spoken, and the options in its front matter."""

import re
from collections.abc import Iterator
from typing import Any
from unicodedata import category

from speech.errors import EmptyText, FieldError, InvalidRequest, NotText

FRONT_MATTER_BYTES = 64 * 1024
_ADVICE = "Save it as plain text in UTF-8 and send it again."

# --- Bytes to text ---------------------------------------------------------------------------

_BOMS = (  # the longer first: UTF-32 LE begins as UTF-16 LE does
    (b"\xff\xfe\x00\x00", "utf-32-le", "UTF-32"),
    (b"\x00\x00\xfe\xff", "utf-32-be", "UTF-32"),
    (b"\xef\xbb\xbf", "utf-8", "UTF-8"),
    (b"\xff\xfe", "utf-16-le", "UTF-16"),
    (b"\xfe\xff", "utf-16-be", "UTF-16"),
)

_READABLE_BUT_NOT_TEXT = (
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
)

_SIGNATURES = (
    *_READABLE_BUT_NOT_TEXT,
    (b"PK\x03\x04", "a ZIP archive, as .docx, .odt and .epub files are"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.doc, .xls)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3", "a database"),
    (b"ID3", "an MP3 audio file"),
    (b"\xff\xfb", "an MP3 audio file"),
    (b"\xff\xf3", "an MP3 audio file"),
    (b"\xff\xf1", "an AAC audio file"),
    (b"OggS", "an Ogg audio file"),
    (b"fLaC", "a FLAC audio file"),
    (b"RIFF", "a RIFF file (WAV, AVI or WebP)"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM file"),
)

# What chardet may answer; without a list it also offers EBCDIC and its kin.
# fmt: off
_LEGACY = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258",
    "iso8859-2", "iso8859-5", "iso8859-7", "iso8859-15",
    "koi8-r", "koi8-u", "cp866", "cp850", "cp852", "cp437", "mac-roman",
    "cp932", "euc-jp", "gb18030", "big5", "cp949", "cp874",
)
# fmt: on
_SAMPLE_BYTES = 32 * 1024

# Text in the wrong code page shows it: symbols or capitals inside words, two scripts in one word.
_ODD = re.compile(
    r"[^\W\d_][¡-©«-´¶¸¹»-¿×÷†‡•…‰€™–—“”„‹›˘˛˙¨˝¯─-▟√≤≥∙■°²][^\W\d_]"
    r"|[a-zß-ÿ][A-ZÀ-ÞА-Я]"
    r"|[^\W\d_][‚„ˆ†‡](?:\s|[^\W\d_])"
    r"|[A-Za-zÀ-ɏ][Ͱ-ӿ֐-ۿ฀-๿]|[Ͱ-ӿ֐-ۿ฀-๿][A-Za-zÀ-ɏ]|[Ͱ-Ͽ][Ѐ-ӿ]"
    r"|[^\W\d_][─-▟]|[─-▟][^\W\d_]|¤"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")


def read_text(data: bytes) -> str:
    """The clean text in the bytes of any file.

    Order: byte order mark, strict UTF-8, UTF-16 or UTF-32 told by its NULs, and only then a guess at
    a legacy encoding; guessing first turns good UTF-8 into Windows-1252. Damaged Unicode (half
    characters, lone surrogates) is refused: speaking a guess costs money. Raises NotText, EmptyText.
    """
    if not data:
        raise EmptyText("The file is empty. Put the text to speak in it and send it again.")
    return clean_text(_decoded(data))


def _decoded(data: bytes) -> str:
    for prefix, what in _READABLE_BUT_NOT_TEXT:
        if data.startswith(prefix):
            raise NotText(f"The file looks like {what}. {_ADVICE}")
    for bom, encoding, name in _BOMS:
        if data.startswith(bom):
            return _refuse_binary(_strictly(data[len(bom) :], encoding, name), data)
    if b"\x00" in data:
        return _wide_without_bom(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        _refuse_damaged_utf8(data, error)
        return _legacy(data)
    return _refuse_binary(text, data)


def _strictly(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise NotText(f"The file begins as {name} but is damaged at byte {error.start}. {_ADVICE}") from error


def _refuse_binary(text: str, data: bytes) -> str:
    """A stray escape or form feed is cleaned away; NULs, or controls all over, are not text."""
    controls = sum(1 for _ in _CONTROLS.finditer(text))
    has_text = any(not each.isspace() and not _CONTROLS.match(each) for each in text[:_SAMPLE_BYTES])
    if "\x00" in text or (has_text and controls > 2 + len(text) // 200):
        raise _not_text(data)
    return text


def _wide_without_bom(data: bytes) -> str:
    """UTF-16 and UTF-32 show themselves by where their NULs are."""
    for encoding, width, zeros in (
        ("utf-32-le", 4, not any(data[3::4])),
        ("utf-32-be", 4, not any(data[::4])),
        ("utf-16-le", 2, data[1::2].count(0) >= 3 * data[::2].count(0)),
        ("utf-16-be", 2, data[::2].count(0) >= 3 * data[1::2].count(0)),
    ):
        if len(data) % width or not zeros or _is_utf8_with_nuls(data):
            continue
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _all_assigned(text):
            return text
    raise _not_text(data)


def _all_assigned(text: str) -> bool:
    """Random bytes read as UTF-16 soon hit a control, or a code point that is private or nobody's."""
    return not _CONTROLS.search(text) and not any(category(each) in {"Cn", "Co"} for each in set(text))


def _is_utf8_with_nuls(data: bytes) -> bool:
    """A stray NUL shifts nothing in UTF-8, but the whole would also pass for UTF-16 full of ideographs."""
    rest = data.replace(b"\x00", b"")
    if len(data) - len(rest) >= len(data) / 4:  # real UTF-16 of an alphabet has more
        return False
    try:
        return not _CONTROLS.search(rest.decode())
    except UnicodeDecodeError:
        return False


def _refuse_damaged_utf8(data: bytes, error: UnicodeDecodeError) -> None:
    """Mostly good UTF-8 with a broken place is no legacy encoding: it would be spoken as `Ã©`."""
    repaired = data.decode(errors="replace")
    broken = repaired.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    good = sum(1 for each in repaired if each > "\x7f") - broken
    if good > 4 * broken:
        raise NotText(f"The file looks like UTF-8 but is damaged at byte {error.start}. {_ADVICE}") from error


def _legacy(data: bytes) -> str:
    """Guess a code page. chardet alone takes short Catalan for Hungarian and Italian for Macedonian."""
    if re.search(rb"[\x01-\x08\x0e-\x19\x1b-\x1f\x7f]", data):
        raise _not_text(data)
    import chardet

    data = data.rstrip(b"\x1a")  # the end-of-file mark of DOS
    first = next(i for i, byte in enumerate(data) if byte > 0x7F)
    start = max(0, first - 1_000)
    sample = data[start : start + _SAMPLE_BYTES]
    best, text = 0.0, None
    for guess in chardet.detect_all(sample, ignore_threshold=True, include_encodings=_LEGACY, compat_names=False):
        encoding = guess["encoding"]
        if encoding is None:
            continue
        shown = sample.decode(encoding, "replace")
        high = sum(1 for each in shown if each > "\x7f") or 1
        score = guess["confidence"] * (1 - 5 * len(_ODD.findall(shown)) / high)
        if encoding == "cp1252" and "¤" not in shown:
            # By far the commonest, and languages that chardet does not know are written in it. But
            # Turkish and Lithuanian read in it look like Icelandic.
            score *= 0.9 if guess["language"] == "is" else 1.8
        if score > best and not _CONTROLS.search(shown):
            try:
                best, text = score, data.decode(encoding)
            except UnicodeDecodeError:
                continue
    if text is None:
        raise _not_text(data)
    return text


def _not_text(data: bytes) -> NotText:
    for prefix, what in _SIGNATURES:
        if data.startswith(prefix):
            return NotText(f"The file looks like {what}. {_ADVICE}")
    if data[4:8] == b"ftyp":
        return NotText(f"The file looks like an MP4 audio or video file. {_ADVICE}")
    if b"\x00" in data:
        return NotText(f"The file holds zero bytes, as binary files do. {_ADVICE}")
    return NotText(f"The file looks like binary data, or text in an encoding we cannot tell. {_ADVICE}")


# --- Text to what is spoken ------------------------------------------------------------------

_NEWLINES = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SILENT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]+")
# Letters and digits of any script (not the fillers that count as letters), and signs that are read out.
SOUNDS = re.compile(r"[^\W_\u115f\u1160\u3164\uffa0]|[$€£¥¢₩₹₽₺₴%‰&@§°]")


LETTERS_OF_A_SIGN = 8
"""About as many as the longest name of a digit or a sign has in the languages vendors speak."""


def clean_text(text: str) -> str:
    """The text that will be spoken: line ends as `\\n`; no controls, marks of byte order or half characters.

    Nothing else changes. Raises EmptyText when nothing in it makes a sound: white space, punctuation
    and emoji do not, since most voices are silent on them.
    """
    cleaned = _SILENT.sub("", _NEWLINES.sub("\n", text))
    if not SOUNDS.search(cleaned):
        if cleaned.strip():
            raise EmptyText(
                "The text holds only punctuation or symbols. Write words or numbers for the voice to speak."
            )
        raise EmptyText("The text is empty. Write words or numbers for the voice to speak.")
    return cleaned


def spoken_length(text: str) -> int:
    """How many characters make a sound: letters, digits and signs that are read out.

    A floor for plausibility, not an estimate: a digit or an ideograph sounds longer than a letter.
    """
    return sum(1 for _ in SOUNDS.finditer(text))


def spoken_bounds(text: str) -> tuple[int, int]:
    """The least and the most letters that reading this text out may come to: "7" may be said as "seventy-seven".

    For judging whether audio can be the speech of it, not for estimating how long that will be.
    """
    least = most = 0
    for sound in SOUNDS.finditer(text):
        least += 1
        most += 1 if sound[0].isalpha() and sound[0] < "\u3000" else LETTERS_OF_A_SIGN
    return least, max(most, len(text))


# --- Front matter ----------------------------------------------------------------------------

_OPENING = re.compile(r"\ufeff?---[ \t]*\r?\n")
_CLOSING = re.compile(r"^---[ \t]*\r?(?:\n|\Z)", re.MULTILINE)
_OPTIONS_LINE = re.compile(r"^[\"']?voicedrop[\"']?[ \t]*:", re.MULTILINE)
_MAX_NODES = 2_000
_MAX_DEPTH = 16
_CORE_SCALARS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,15}"), int),
    (re.compile(r"[-+]?(?:\.[0-9]{1,15}|[0-9]{1,15}\.[0-9]{0,15})(?:[eE][-+]?[0-9]{1,2})?"), float),
)


def split_front_matter(text: str) -> tuple[dict[str, object], str]:
    """The mapping under `voicedrop:` in YAML front matter, and the text after it.

    Front matter is a YAML mapping (or nothing) between two `---` lines at the very top. The rest of
    it is left out of the text and not looked at. A `---` that begins anything else is text, as is a
    block above 64 KB without options. Values are JSON's: scalars follow YAML 1.2, so that
    `language: no` is Norwegian, and dates stay strings. Does not check that speakable text is left:
    that is `clean_text`. Raises InvalidRequest naming `voicedrop`.
    """
    opening = _OPENING.match(text)
    closing = _CLOSING.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        return {}, text
    block, rest = text[opening.end() : closing.start()], text[closing.end() :]
    has_options = _OPTIONS_LINE.search(block) is not None
    if len(block.encode(errors="replace")) > FRONT_MATTER_BYTES:
        if has_options:
            raise _bad_options("The front matter is larger than 64 KB.")
        return {}, text
    import yaml

    try:
        # Nodes, not values: building values is where aliases, merges and tags do their harm.
        root = yaml.compose(block, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        if has_options:
            mark = getattr(error, "problem_mark", None)
            where = f" near line {mark.line + 2}" if mark else ""
            raise _bad_options(f"The front matter is not valid YAML{where}.") from error
        return {}, text
    if root is None:
        return {}, rest
    if not isinstance(root, yaml.MappingNode):
        return {}, text
    given = [value for key, value in root.value if key.value == "voicedrop"]
    if not given:
        return {}, rest
    if len(given) > 1:
        raise _bad_options("It is there twice.")
    options = _Plain().value(given[0], "voicedrop", 0)
    if not isinstance(options, dict):
        raise _bad_options("It must be a mapping of options, such as `voice: alice`, one per line.")
    return options, rest


class _Plain:
    """Turns YAML nodes into JSON's values within a budget, which bounds what aliases can unfold."""

    def __init__(self) -> None:
        self._left = _MAX_NODES

    def value(self, node: Any, path: str, depth: int) -> object:
        import yaml

        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise _bad_options("It is too large or too deeply nested.")
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return dict(self._items(node, path, depth))
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(each, f"{path}.{i}", depth + 1) for i, each in enumerate(node.value)]
        if kind == "str":
            return _whole(node.value, path)
        if kind in {"int", "float", "bool", "null", "timestamp", "merge", "value"}:
            return _core_scalar(node.value)
        raise _bad_options("YAML tags are not supported here.", path)

    def _items(self, node: Any, path: str, depth: int) -> Iterator[tuple[str, object]]:
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key.value, str):
                raise _bad_options("The name of an option must be a plain word.", path)
            name = _whole(key.value, path)
            if name in seen:
                raise _bad_options("An option is there twice.", f"{path}.{name}"[:200])
            seen.add(name)
            yield name, self.value(value, f"{path}.{name}"[:200], depth + 1)


def _core_scalar(written: str) -> object:
    """YAML 1.2's core schema; what JSON cannot hold (dates, .inf, numbers of many digits) stays as written."""
    for pattern, convert in _CORE_SCALARS:
        if pattern.fullmatch(written):
            return convert(written)
    return written


def _whole(value: str, path: str) -> str:
    if re.search("[\x00\ud800-\udfff]", value):
        raise _bad_options("It holds an escape that is no character.", path)
    return value


def _bad_options(message: str, field: str = "voicedrop") -> InvalidRequest:
    return InvalidRequest(
        f"The options under `voicedrop:` in the front matter cannot be read. {message}",
        errors=[FieldError(field=field, message=message)],
    )
