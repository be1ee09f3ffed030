"""How long audio may become, by format, and how long that of a text may take at a slow reader's pace. No I/O."""

import re
from collections.abc import Iterable, Mapping, Sized

from speech.errors import FieldError, ProcessingFailed, TextTooLong
from speech.jobs import Spec
from speech.segments import Segment

HOURS: Mapping[str, int] = {"mp3": 24, "ogg": 24, "m4b": 24, "flac": 30, "wav": 30}
"""What a function joins in its fifteen minutes with time to spare, at any sample rate (see docs/benchmarks.md)."""

WAV_TAGS_BYTES = 2**22
"""More than tags, cues and a cover take."""

SLOW_READER = 12.0
"""Characters a second. Voices in languages of letters read 14 to 20."""

SLOW_READER_OF_SIGNS = 4.0
"""The same for signs that are a syllable or a word each."""

HIGHEST_RATE = 48_000

_SIGNS = r"[\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]+"


MOST_SEGMENTS = 10_000
"""What one function sends to the queue, and another joins, with time to spare. A text of 1,000,000 letters is cut into
some 2,500 at the smallest limit of a vendor; only headings and pauses, which are cuts of their own, make it many more.
"""


def longest_seconds(format: str, sample_rate: int) -> float:
    """How long a file of this format may be."""
    most = HOURS[format] * 3_600.0
    if format != "wav":
        return most
    from speech.audio.join import MAX_WAV_BYTES

    return min(most, (MAX_WAV_BYTES - WAV_TAGS_BYTES) / (2 * sample_rate))


def slow_seconds(text: str, speed: float | None) -> float:
    """How long a slow reader takes."""
    signs = sum(map(len, re.findall(_SIGNS, text)))
    seconds = signs / SLOW_READER_OF_SIGNS + (len(text) - signs) / SLOW_READER
    return seconds / min(speed or 1.0, 1.0)


def may_be_too_long(text: str) -> bool:
    """Whether it is worth reckoning: an hour of signs fits everywhere, at any speed that a vendor has."""
    return len(text) >= SLOW_READER_OF_SIGNS * 3_600


def require_room(text: str, spec: Spec, silence: float) -> None:
    """Before anything is bought: raises TextTooLong for a text whose audio may not fit into a file of its format.

    `silence` are the seconds that nobody speaks. Without a sample rate, it is reckoned with the highest.
    """
    if not may_be_too_long(text):
        return
    rate = spec.sample_rate or HIGHEST_RATE
    seconds, most = slow_seconds(text, spec.speed) + silence, longest_seconds(spec.format, rate)
    if seconds <= most:
        return
    message = (
        f"may become {_hours(seconds)} hours of audio at a slow voice's pace; a file in {spec.format} holds "
        f"{_hours(most)}{f' at {rate:,} Hz' if spec.format == 'wav' else ''}"
    )
    other = _other(spec.format, seconds)
    advice = f"choose {other}, or send the text in parts" if other else "send the text in parts"
    errors = [FieldError("text", f"{message}: {advice}")]
    if other:
        errors.append(FieldError("format", f"`{spec.format}` may not hold this text: {advice}"))
    raise TextTooLong(f"The text {message}; {advice}.", errors=errors)


def require_few(rows: Sized) -> None:
    """Before anything is bought: raises TextTooLong for a text that headings and pauses cut into too many segments."""
    if len(rows) > MOST_SEGMENTS:
        message = (
            f"is cut into {len(rows):,} segments by its headings and pauses; a job has at most {MOST_SEGMENTS:,}: "
            "send the text in parts"
        )
        raise TextTooLong(f"The text {message}.", errors=[FieldError("text", message)])


def require_fit(rows: Iterable[Segment], spec: Spec, silence: float) -> None:
    """Before the parts are joined: raises ProcessingFailed when they are too long together for the file."""
    seconds, first = silence, 0
    for row in rows:
        if row.audio is not None:
            seconds += row.audio.frames / row.audio.sample_rate
            first = first or row.audio.sample_rate
    rate = spec.sample_rate or first or HIGHEST_RATE
    most = longest_seconds(spec.format, rate)
    if seconds <= most:
        return
    other = _other(spec.format, seconds)
    advice = (
        f"Ask for {other}: what was spoken is kept, and is not bought again"
        if other
        else "Send the text in parts: of what was spoken, whole paragraphs are not bought again"
    )
    raise ProcessingFailed(
        f"The audio is {_hours(seconds)} hours long; a file in {spec.format} holds {_hours(most)}. {advice}."
    )


def _other(format: str, seconds: float) -> str | None:
    """A format that holds so much: without loss for one without loss."""
    preferred = ("flac", "mp3") if format in ("wav", "flac") else ("mp3", "flac")
    return next((each for each in preferred if each != format and seconds <= HOURS[each] * 3_600), None)


def _hours(seconds: float) -> str:
    return f"{seconds / 3_600:.1f}".removesuffix(".0")
