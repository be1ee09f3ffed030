"""What a finished file says about itself: title, author, language, date, cover and chapters, apart from any format."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAKER = "Voicedrop"
"""Who wrote the file, where a format has a field for that."""

MAX_TITLE = 500
MAX_CHAPTER_TITLE = 200
MAX_CHAPTERS = 999
"""Readers of Vorbis comments know chapters by three digits."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]+")

# ISO 639-1 and -2: MP3 and MP4 know languages by three letters.
# fmt: off
_LETTERS = (
    "aa:aar ab:abk af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul bi:bis bm:bam "
    "bn:ben bo:bod br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces cv:chv cy:cym da:dan de:deu dv:div dz:dzo "
    "ee:ewe el:ell en:eng eo:epo es:spa et:est eu:eus fa:fas ff:ful fi:fin fj:fij fo:fao fr:fra fy:fry ga:gle gd:gla "
    "gl:glg gn:grn gu:guj gv:glv ha:hau he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye ia:ina id:ind ig:ibo io:ido is:isl "
    "it:ita iu:iku ja:jpn jv:jav ka:kat kg:kon ki:kik kk:kaz kl:kal km:khm kn:kan ko:kor ks:kas ku:kur kv:kom kw:cor "
    "ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mi:mri mk:mkd ml:mal mn:mon mr:mar "
    "ms:msa mt:mlt my:mya nb:nob nd:nde ne:nep nl:nld nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci oj:oji om:orm or:ori "
    "os:oss pa:pan pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron ru:rus rw:kin sa:san sc:srd sd:snd se:sme sg:sag "
    "si:sin sk:slk sl:slv sm:smo sn:sna so:som sq:sqi sr:srp ss:ssw st:sot su:sun sv:swe sw:swa ta:tam te:tel tg:tgk "
    "th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd uz:uzb ve:ven "
    "vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha zh:zho zu:zul"
)
# fmt: on


class Cover(NamedTuple):
    """A picture, JPEG or PNG."""

    mime: str
    width: int
    height: int
    data: bytes


class Mark(NamedTuple):
    """A chapter that begins where part number `part` of the audio does."""

    part: int
    title: str


class Chapter(NamedTuple):
    """From `start` to `end`, in frames."""

    start: int
    end: int
    title: str


@dataclass(frozen=True, slots=True)
class Tags:
    """`language` is a BCP 47 tag, `date` YYYY, YYYY-MM or YYYY-MM-DD. `opening` names what precedes the first mark."""

    title: str | None = None
    author: str | None = None
    language: str | None = None
    date: str | None = None
    comment: str | None = None
    cover: Cover | None = None
    marks: tuple[Mark, ...] = ()
    opening: str | None = None

    def chapters(self, spans: Sequence[tuple[int, int]] | None = None, end: int = 0) -> list[Chapter]:
        """The chapters, the first from 0 and the last to `end`. As many before the `spans` are known as after."""
        marks = list(self.marks)
        if marks and marks[0].part:
            marks.insert(0, Mark(0, self.opening or self.title or marks[0].title))
        starts = [0, *(spans[mark.part][0] if spans else 0 for mark in marks[1:])]
        ends = [*starts[1:], end]
        return [Chapter(start, end, mark.title) for start, end, mark in zip(starts, ends, marks, strict=False)]


def printable(text: str, most: int = MAX_TITLE) -> str:
    """A text of one line and of at most so many characters, whatever it was before."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def three_letters(language: str | None) -> str | None:
    """The language of a BCP 47 tag as ISO 639-2 writes it, or None where that is not known."""
    first = (language or "").split("-")[0].lower()
    known = dict(pair.split(":") for pair in _LETTERS.split())
    return known.get(first) or (first if len(first) == 3 else None)


def milliseconds(frames: int, rate: int) -> int:
    return (2_000 * frames + rate) // (2 * rate)
