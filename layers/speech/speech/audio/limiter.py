"""Keeps audio under a true peak while it streams by, by turning it down gently around what would exceed it."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from speech.audio.decode import Samples

    Numbers = NDArray[numpy.float64]

CEILING = -1.0
"""dB of full scale that the waveform between the samples does not exceed either."""

_MOST = 10 ** ((CEILING - 0.1) / 20)
"""A little less, since the peak between samples is an estimate."""

_NEAR = 0.7
"""Of the most: beside a sample below that, speech has no peak above it."""

_REACH_SECONDS = 0.015
"""How far the gain is held and then eased, before and after a peak: longer than a period of any voice."""

_CHUNK = 65_536
_STEP = 16
"""Frames from one value of the gain to the next; between them it goes in a straight line."""

_TAPS = 16


class Limiter:
    """Gives back as many samples as it was given, some time later; those far from a peak unchanged, to the bit."""

    def __init__(self, sample_rate: int) -> None:
        # In steps, and even, since each of two averages takes half of it.
        self._reach = max(2, round(sample_rate * _REACH_SECONDS / _STEP) // 2 * 2)
        self._context = (2 * self._reach + 4) * _STEP
        self._held: list[Samples] = []
        self._count = 0
        self._before = 0
        """Of what is held, how many at the beginning were given back already."""

    def add(self, samples: "Samples") -> "Samples":
        """The next samples, which are kept; what is ready of those before."""
        import numpy

        self._held.append(samples)
        self._count += len(samples)
        if self._count - self._before < _CHUNK + self._context:
            return numpy.zeros(0, numpy.float32)
        # Whole steps: wherever a chunk ends, the gain has its values at the same samples.
        return self._limited((self._count - self._context) // _STEP * _STEP)

    def rest(self) -> "Samples":
        """What is still held, at the end."""
        return self._limited(self._count)

    def _limited(self, until: int) -> "Samples":
        import numpy

        held = numpy.concatenate(self._held) if self._held else numpy.zeros(0, numpy.float32)
        out = held[self._before : until]
        if len(held) and max(held.max(), -held.min()) > _NEAR * _MOST:
            gain = self._gain(held)
            if gain is not None:
                out = out * gain[self._before : until]
        kept = max(0, until - self._context)
        self._held, self._count, self._before = [held[kept:]], len(held) - kept, until - kept
        return out

    def _gain(self, samples: "Samples") -> "Samples | None":
        """For every sample, or None where nothing exceeds the most."""
        import numpy

        wanted = _wanted(samples)
        if wanted is None:
            return None
        # One step further than it is averaged over, so that a straight line between two values is not above it either.
        least = _sliding_minimum(wanted, self._reach + 1)
        half = self._reach // 2
        eased = _average(_average(numpy.pad(least, self._reach, mode="edge"), half), half)
        eased = numpy.where(eased > 1 - 1e-9, 1.0, eased)
        rise = numpy.diff(eased, append=eased[-1])
        gain = eased[:, None] + rise[:, None] * (numpy.arange(_STEP) / _STEP)
        return gain.astype(numpy.float32).reshape(-1)


def _wanted(samples: "Samples") -> "Numbers | None":
    """The most gain that each step allows, or None where that is 1 everywhere.

    Between samples the waveform is looked at where one beside them is near the most, at three points each.
    """
    import numpy

    magnitudes = numpy.abs(samples)
    is_near = magnitudes > _NEAR * _MOST
    near = numpy.flatnonzero(is_near)
    gaps = numpy.flatnonzero(is_near[:-1] | is_near[1:])
    around = numpy.concatenate((numpy.zeros(_TAPS // 2 - 1), samples, numpy.zeros(_TAPS // 2)))
    between = numpy.abs(around[gaps[:, None] + numpy.arange(_TAPS)] @ _between()).max(axis=1)
    peaks = numpy.concatenate((magnitudes[near], between, between))
    if not len(peaks) or peaks.max() <= _MOST:
        return None
    wanted = numpy.ones(-(-len(samples) // _STEP))
    places = numpy.concatenate((near, gaps, gaps + 1)) // _STEP
    numpy.minimum.at(wanted, places, numpy.minimum(1.0, _MOST / peaks))
    return wanted


@cache
def _between() -> "Numbers":
    """How the 16 samples around three points between two samples make up the waveform there: a windowed sinc."""
    import numpy

    at = numpy.arange(_TAPS)[:, None] - (_TAPS // 2 - 1) - numpy.array([0.25, 0.5, 0.75])
    window = numpy.i0(5.0 * numpy.sqrt(numpy.maximum(0.0, 1 - (at / (_TAPS // 2)) ** 2))) / numpy.i0(5.0)
    kernel: Numbers = numpy.sinc(at) * window
    return kernel


def _sliding_minimum(values: "Numbers", reach: int) -> "Numbers":
    """The least of the values up to `reach` away on either side, in linear time (van Herk, Gil and Werman)."""
    import numpy

    width = 2 * reach + 1
    whole = -(-(len(values) + 2 * reach) // width) * width
    padded = numpy.ones(whole)
    padded[reach : reach + len(values)] = values
    blocks = padded.reshape(-1, width)
    ahead = numpy.minimum.accumulate(blocks, axis=1).reshape(-1)
    back = numpy.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].reshape(-1)
    return numpy.minimum(back[: len(values)], ahead[2 * reach : 2 * reach + len(values)])


def _average(values: "Numbers", reach: int) -> "Numbers":
    """The mean of the values up to `reach` away on either side, where there are as many."""
    import numpy

    sums = numpy.concatenate(([0.0], numpy.cumsum(values)))
    return (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
