"""Finds out when each part of a segment's text begins, from the pauses in its audio."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from speech.audio.pauses import Pause

_NO_PAUSE = 1.0
"""What it costs to begin a part where there is no pause."""

_LONG = 0.6
"""A pause this long, in seconds, speaks as loudly for itself as one can."""

_SLACK = 0.35
"""How far off the expected length a part may be at little cost: seconds, plus this share of its length."""


_NEAR = 100
"""How many pauses before and after the expected time a part may begin after: minutes of speech. With all of them, time
and memory grew with their square, and a segment of nothing but numbers has thousands."""


def onsets(lengths: Sequence[int], pauses: Sequence[Pause], start: float, end: float) -> list[float]:
    """When each part but the first begins, in seconds, never decreasing.

    `lengths` are the parts' lengths in characters. What is expected is that characters take equal time,
    pauses aside, and that parts begin after pauses, rather after long ones. The best way to give parts to
    pauses in order is found by dynamic programming.
    """
    inner = [(max(a, start), min(b, end)) for a, b in pauses if b > start and a < end]
    lead = inner[0][1] if inner and inner[0][0] <= start else start
    tail = inner[-1][0] if inner and inner[-1][1] >= end else end
    inner = [each for each in inner if each[0] > lead and each[1] < tail]
    total = sum(lengths)
    if len(lengths) < 2 or tail <= lead or not total:
        return _shared(lengths, lead, max(tail, lead))
    return _placed(lengths, inner, lead, tail)


def _shared(lengths: Sequence[int], lead: float, tail: float) -> list[float]:
    total, heard, found = max(sum(lengths), 1), 0, []
    for length in lengths[:-1]:
        heard += length
        found.append(lead + (tail - lead) * heard / total)
    return found


def _placed(lengths: Sequence[int], pauses: Sequence[Pause], lead: float, tail: float) -> list[float]:
    import numpy

    paused = numpy.concatenate(([0.0], numpy.cumsum([b - a for a, b in pauses])))
    # Where the pauses lie, and how long the parts should take, in time that is spent speaking.
    at = numpy.array([a for a, _ in pauses]) - paused[:-1] - lead
    worth = numpy.array([min(b - a, _LONG) for a, b in pauses])
    speaking = tail - lead - float(paused[-1])
    expected = numpy.cumsum(lengths) / sum(lengths) * speaking

    # One row per part that begins: the cost of every place it may begin at, and which place of the part
    # before that came from. The last place of each row is no pause but the expected time.
    firsts = numpy.maximum(numpy.searchsorted(at, expected[:-1]) - _NEAR, 0).tolist()
    places = [numpy.append(at[first : first + 2 * _NEAR], when) for first, when in zip(firsts, expected, strict=False)]
    costs = numpy.array([0.0])
    before = numpy.array([0.0])
    came_from = []
    for first, place, length in zip(firsts, places, _differences(expected[:-1].tolist()), strict=True):
        prices = numpy.append(_LONG - worth[first : first + 2 * _NEAR], _LONG + _NO_PAUSE)
        took = place[None, :] - before[:, None]
        cost = costs[:, None] + numpy.square(took - length) / (_SLACK + _SLACK * length)
        cost = numpy.where(took > 0, cost, numpy.inf) + prices
        came_from.append(cost.argmin(axis=0))
        costs, before = cost.min(axis=0), place
    rest = speaking - float(expected[-2])
    last = costs + numpy.square(speaking - before - rest) / (_SLACK + _SLACK * rest)
    if not numpy.isfinite(last).any():
        return _shared(lengths, lead, tail)
    chosen = [int(last.argmin())]
    for row in reversed(came_from[1:]):
        chosen.append(int(row[chosen[-1]]))
    found = [
        pauses[firsts[part] + place][1]
        if place < len(places[part]) - 1
        else _wall_time(float(expected[part]), at.tolist(), paused.tolist(), lead)
        for part, place in enumerate(reversed(chosen))
    ]
    return list(numpy.maximum.accumulate(found))


def _differences(values: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise([0.0, *values])]


def _wall_time(speaking: float, at: Sequence[float], paused: Sequence[float], lead: float) -> float:
    """When so many seconds have been spent speaking."""
    return lead + speaking + paused[bisect_right(at, speaking)]
