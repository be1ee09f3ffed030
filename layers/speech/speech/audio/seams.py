"""What is heard between two segments: how much of a vendor's silence goes, and how much of ours takes its place."""

from collections.abc import Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from speech.audio.decode import Samples

SILENCES = {
    "continues": 0.0,
    "clause": 0.1,
    "sentence": 0.4,
    "paragraph": 0.7,
    "before-heading": 1.2,
    "after-heading": 0.8,
    "beginning": 0.0,
    "end": 0.0,
}
"""Seconds that we put where one segment ends and the next begins, for what lies between them in the text."""

LEAD_IN = 0.25
LEAD_OUT = 0.5
"""As much silence of the vendor's stays, at most, before the first segment and after the last."""

_OUTSIDE = {"beginning": LEAD_IN, "end": LEAD_OUT}

GUARD_BEFORE = 0.03
GUARD_AFTER = 0.06
"""As much of the silence beside speech stays everywhere: breath, the end of a room."""

FADE = 0.005
"""Seconds in which audio comes and goes where it meets silence of ours, so that nothing clicks."""

EASE = 0.05
"""Seconds in which one gain becomes the next where a sound goes on from one segment to another."""

_LEAST_JUMP = 0.02
_TIMES_THE_SOUND = 2.0
"""A joint clicks where the waveform jumps by so much, and by so many times more than the sound beside it bends."""

LEVEL_SECONDS = 0.01
"""The stretch of audio that is silent or not."""

_LOUDEST_SILENCE = 0.02
_QUIETEST_SPEECH = 0.005
"""Silence is 46 dB below speech, or up to 34 dB where the pauses of this speech are noisy: an f or an h is louder."""


class Seam(NamedTuple):
    """What lies before or after a segment: a kind of SILENCES, or a `pause` that the text asks for in seconds.

    One that does not trim leaves the vendor's silence as it is, and adds none but what the text asks for.
    """

    kind: str
    pause: float | None = None
    trims: bool = True

    @property
    def seconds(self) -> float:
        """Of silence that we put in."""
        if self.pause is not None:
            return self.pause
        return SILENCES[self.kind] if self.trims else 0.0

    def kept(self, *, before_segment: bool) -> float:
        """How many seconds of the vendor's own silence stay, at most, on one side of this seam."""
        if not self.trims:
            return inf
        if self.pause is None and self.kind in _OUTSIDE:
            return _OUTSIDE[self.kind]
        return GUARD_BEFORE if before_segment else GUARD_AFTER


class Joint:
    """Sees what passes from one part to the next, and mends where a sound was broken off: no click is at a joint."""

    def __init__(self) -> None:
        self._before: Samples | None = None

    def passed(self, part: "Iterable[Samples]", sample_rate: int, *, goes_on: bool) -> "Iterator[Samples]":
        """The blocks of the next part, which goes on where the one before it has ended, or does not."""
        import numpy

        before = self._before = self._before if goes_on else None
        length = round(FADE * sample_rate)
        for block in part:
            mended = block if before is None else _unclicked(before, block, sample_rate)
            # The last block of a part may be a sample or two, which do not say how a sound goes on.
            heard = mended if self._before is None else numpy.concatenate((self._before, mended[-length:]))
            self._before = heard[-length:].copy()
            before = None
            yield mended


def _unclicked(before: "Samples", after: "Samples", sample_rate: int) -> "Samples":
    """`after` without the jump from the last samples `before` it, if there is one: a sound that goes on stays as it is,
    to the bit."""
    import numpy

    if len(before) < 3 or not len(after):
        return after
    jump = float(2 * before[-1] - before[-2] - after[0])
    beside = [numpy.diff(each, 2) for each in (before, after[: len(before)]) if len(each) > 2]
    bend = max(float(numpy.abs(each).max()) for each in beside)
    if abs(jump) <= max(_LEAST_JUMP, _TIMES_THE_SOUND * bend):
        return after
    length = min(len(after), round(FADE * sample_rate))
    fall = 0.5 + 0.5 * numpy.cos(numpy.pi * (numpy.arange(length) + 0.5) / length)
    mended = after.copy()
    mended[:length] += ((before[-1] - after[0]) * fall).astype(numpy.float32)
    return mended


def sounding(levels: "Samples") -> tuple[int, int]:
    """Where in the levels speech begins, and where it has ended: before and after there is silence alone.

    `levels` are RMS. Where all is silent, nothing is.
    """
    import numpy

    powers = numpy.square(levels.astype(numpy.float64))
    powers = powers[powers > 1e-10]
    if not len(powers):
        return 0, len(levels)
    speech = float(numpy.sqrt(powers[powers > powers.mean() / 10].mean()))
    noise = float(numpy.sort(levels)[len(levels) // 50])
    threshold = min(max(2 * noise, _QUIETEST_SPEECH * speech), _LOUDEST_SILENCE * speech)
    loud = numpy.flatnonzero(levels > threshold)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(levels))
