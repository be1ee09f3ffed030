"""Decides by how much each part is turned up or down, so that a listener never reaches for the volume."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from speech.audio.loudness import integrated

if TYPE_CHECKING:
    from speech.audio.part import Part

ENOUGH_SECONDS = 3.0
"""Speech, pauses aside, from which its loudness can be told. A shorter part, such as a heading, goes with its
neighbour: a word or two is loud or soft by what it says."""

FARTHEST = 4.0
"""LU that a short part may be off all the same: beyond, something else than what it says made it so."""

NOTHING = 0.1
"""dB that nobody hears: a part so near is left as it is, to the bit."""

MOST = 20.0
"""dB that a part is turned up or down at most. Beyond, there is more noise than speech."""

_PARTS_AHEAD = 8
_FRAMES_AHEAD = 16_000_000


class Level(NamedTuple):
    """A part's loudness in LUFS, None where it was not measured or is silent, and the gain in dB for it."""

    loudness: float | None = None
    gain: float = 0.0


def levelled(parts: Iterable["Part"], target: float | None) -> "Iterator[tuple[Part, Level]]":
    """Each part with the gain that brings it to `target`: one gain from its first sample to its last.

    Short parts at the beginning wait, up to a bound, for what follows; a later one takes after the long part before.
    """
    waiting: list[Part] = []
    reference: float | None = None
    for part in parts:
        if target is None:
            yield part, Level()
            continue
        waiting.append(part)
        if reference is None:
            pooled, seconds = _measured(waiting)
            ahead = sum(each.held for each in waiting)
            if seconds < ENOUGH_SECONDS and len(waiting) < _PARTS_AHEAD and ahead < _FRAMES_AHEAD:
                continue
            reference = None if pooled is None else target - pooled
        for each in waiting:
            level, is_sure = _level(each, target, reference)
            reference = target - level.loudness if is_sure and level.loudness is not None else reference
            yield each, level
        waiting = []
    if waiting and target is not None:
        pooled, _ = _measured(waiting)
        for each in waiting:
            yield each, _level(each, target, None if pooled is None else target - pooled)[0]


def _level(part: "Part", target: float, reference: float | None) -> tuple[Level, bool]:
    """And whether the part is long enough to be sure."""
    loudness, seconds = _measured([part])
    if loudness is None:
        return Level(None, _rounded(reference or 0.0)), False
    gain = target - loudness
    is_sure = seconds >= ENOUGH_SECONDS
    if not is_sure and reference is not None:
        gain = min(max(reference, gain - FARTHEST), gain + FARTHEST)
    return Level(loudness, _rounded(gain)), is_sure


def _measured(parts: "list[Part]") -> tuple[float | None, float]:
    import numpy

    energies = [each.energies for each in parts if each.energies is not None]
    return integrated(numpy.concatenate(energies)) if energies else (None, 0.0)


def _rounded(gain: float) -> float:
    gain = round(min(max(gain, -MOST), MOST), 2)
    return 0.0 if abs(gain) <= NOTHING else gain
