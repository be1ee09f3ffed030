"""Makes subtitles: cues from the spans and pauses of segments, written as WebVTT and SRT."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from speech.audio.alignment import onsets
from speech.audio.captions import captions
from speech.audio.pauses import Pause


class Cue(NamedTuple):
    """Some text and when it is heard. `end_ms` is later than `start_ms`."""

    start_ms: int
    end_ms: int
    text: str


class Spoken(NamedTuple):
    """A segment in the joined file. `sentences` are spans of code points in `text`; all times are seconds of the file.

    `pauses` are those in this segment, in order; without them time is shared in proportion to characters.
    """

    text: str
    sentences: Sequence[tuple[int, int]]
    start: float
    end: float
    pauses: Sequence[Pause] = ()


def cues(spoken: Sequence[Spoken]) -> list[Cue]:
    """A cue per sentence, or several where it is longer than two lines. Edges of segments are exact.

    Inside a segment cues begin after the pauses that fit best. Together the cues hold all of the text, white
    space folded. A cue too short for a millisecond of its own joins a neighbour.
    """
    made: list[Cue] = []
    waiting = ""
    for segment in spoken:
        texts = [caption for sentence in _sentences(segment) for caption in captions(sentence)]
        start, end = round(segment.start * 1000), round(segment.end * 1000)
        if made:
            start = max(start, made[-1].end_ms)
        begins = onsets([len(text) for text in texts], segment.pauses, segment.start, segment.end)
        untils = [min(max(round(each * 1000), start), end) for each in begins] + [end] * bool(texts)
        at = start
        for text, until in zip(texts, untils, strict=True):
            waiting = f"{waiting} {text}".lstrip()
            if until > at:
                made.append(Cue(at, until, waiting))
                waiting, at = "", until
    if waiting and made:
        made[-1] = Cue(made[-1].start_ms, made[-1].end_ms, f"{made[-1].text} {waiting}")
    return made


def _sentences(segment: Spoken) -> list[str]:
    """The folded sentences. Each reaches to where the next one starts, so that nothing is left out."""
    cuts = [0, *(start for start, _ in segment.sentences[1:]), len(segment.text)]
    folded = (" ".join(segment.text[a:b].split()) for a, b in pairwise(cuts))
    return [text for text in folded if text]


def to_vtt(cues: Iterable[Cue]) -> str:
    """WebVTT, LF line ends."""
    blocks = ["WEBVTT\n"]
    for cue in cues:
        text = _lines(cue.text).replace("&", "&amp;").replace("<", "&lt;")
        if text:
            blocks.append(f"{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n{text}\n")
    return "\n".join(blocks)


def to_srt(cues: Iterable[Cue]) -> str:
    """SubRip, LF line ends. Nothing is escaped: SubRip has no way to."""
    texts = ((cue, _lines(cue.text)) for cue in cues)
    return "\n".join(
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n{text}\n"
        for number, (cue, text) in enumerate(((cue, text) for cue, text in texts if text), start=1)
    )


def _lines(text: str) -> str:
    """The text without what would end a cue or begin another: blank lines and arrows."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").split("\n")
    return "\n".join(line.strip() for line in lines if line.strip()).replace("-->", "→")


def _time(ms: int, point: str) -> str:
    seconds, milliseconds = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
