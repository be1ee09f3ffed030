"""Tells what bytes are from the bytes alone: which audio container, or which other thing a vendor sent."""

import codecs
import re

from speech.audio import mpeg

AUDIO = frozenset({"wav", "mp3", "flac", "ogg"})
"""The containers we read."""

OTHER_AUDIO = frozenset(
    {
        *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "flv", "midi", "mp4", "realaudio", "rf64"),
        *("tta", "voc", "w64", "wavpack", "webm"),
    }
)
"""Real audio, but in containers we do not read."""

_HEAD = 1_024

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"RF64", "rf64"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
    (b"\x1a\x45\xdf\xa3", "webm"),
    (b"#!AMR", "amr"),
    (b".snd", "au"),
    (b"caff", "caf"),
    (b"MThd", "midi"),
    (b"ADIF", "aac"),
    (b"\x0b\x77", "ac3"),
    (b"MAC ", "ape"),
    (b"wvpk", "wavpack"),
    (b"TTA1", "tta"),
    (b".ra\xfd", "realaudio"),
    (b".RMF", "realaudio"),
    (b"FLV\x01", "flv"),
    (b"Creative Voice File", "voc"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"%PDF", "pdf"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
)
_FORMS = {
    (b"RIFF", b"WAVE"): "wav",
    (b"RIFF", b"AVI "): "avi",
    (b"RIFF", b"WEBP"): "image",
    (b"FORM", b"AIFF"): "aiff",
    (b"FORM", b"AIFC"): "aiff",
}
_JSON = re.compile(r'\{\s*["}]|\[\s*[\[\]{"\dtfn-]')
_HTML = re.compile(r"<!doctype\s+html|<(html|head|body|title|h1|p|div|center|script|meta)\b", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def recognise(data: bytes) -> str | None:
    """Name the container or kind of `data`: one of AUDIO, of OTHER_AUDIO, json, html, xml, text, empty, … or None."""
    if not data[:_HEAD].strip() and not data.strip():
        return "empty"
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if form := _FORMS.get((data[:4], data[8:12])):
        return form
    if data[4:8] in (b"ftyp", b"moov", b"mdat"):
        return "mp4"
    tag = mpeg.tags_end(data)
    if tag:
        # Players also meet FLAC behind a tag; a tag that fills the file is an MP3 that was cut.
        return "flac" if data.startswith(b"fLaC", tag) else "mp3"
    if mpeg.begins(data):
        return "mp3"
    if _is_adts(data):
        return "aac"
    return _kind_of_text(data[:_HEAD])


def _is_adts(data: bytes) -> bool:
    """An ADTS frame (AAC without a container) where the next one, if there is one, is where it should be."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return False
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    following = data[size : size + 2]
    return size >= 7 and (len(following) < 2 or (following[0] == 0xFF and following[1] & 0xF6 == 0xF0))


def _kind_of_text(head: bytes) -> str | None:
    encoding = "utf-8"
    for bom, name in _BOMS:
        if head.startswith(bom):
            encoding, head = name, head[len(bom) :]
    # JSON followed by audio is JSON: how it begins counts, so this comes before "is all of it text".
    beginning = head.decode(encoding, "replace").lstrip()
    if _JSON.match(beginning):
        return "json"
    if _HTML.match(beginning):
        return "html"
    try:
        # Not final: the head may end inside a character.
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    if not text or _CONTROL.search(text):
        return None
    return "xml" if beginning.startswith("<") else "text"
