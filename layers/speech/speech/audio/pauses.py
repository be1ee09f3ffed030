"""Finds the pauses in speech while it streams by: where nothing is said for a moment."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech.audio.decode import Samples

Pause = tuple[float, float]
"""Start and end in seconds."""

WINDOW_SECONDS = 0.01
SHORTEST_SECONDS = 0.1
"""Shorter ones are mostly the silence before a p or a t."""

_QUIET = 0.06
"""24 dB below what is loud in this speech."""


class PauseFinder:
    """Takes mono samples between -1 and 1 in blocks of any length; tells the pauses at the end.

    Keeps one number for every `window` frames, which are 10 ms or nearly.
    """

    def __init__(self, sample_rate: int) -> None:
        self.window = max(1, round(sample_rate * WINDOW_SECONDS))
        self._seconds = self.window / sample_rate
        self._rest: Samples | None = None
        self._levels: list[Samples] = []

    def add(self, samples: "Samples") -> None:
        """The next samples; they may be overwritten afterwards."""
        import numpy

        if self._rest is not None:
            samples = numpy.concatenate((self._rest, samples))
        whole = len(samples) // self.window * self.window
        if whole:
            windows = samples[:whole].reshape(-1, self.window)
            # Without the constant part, which nobody hears: with it, the silence of some vendors would be a sound.
            powers = numpy.einsum("ij,ij->i", windows, windows) / self.window - numpy.square(windows.mean(axis=1))
            self._levels.append(numpy.maximum(powers, 0))
        self._rest = samples[whole:].copy()

    def levels(self) -> "Samples":
        """The RMS, its mean aside, of every stretch of `window` frames, and of what is left over at the end."""
        import numpy

        rest = self._rest if self._rest is not None and len(self._rest) else None
        return numpy.append(self._whole(), [] if rest is None else rest.std())

    def _whole(self) -> "Samples":
        import numpy

        return numpy.sqrt(numpy.concatenate(self._levels)) if self._levels else numpy.zeros(0, numpy.float32)

    def pauses(self) -> list[Pause]:
        """Those of at least SHORTEST_SECONDS, in order, also at the beginning and the end."""
        import numpy

        levels = self._whole()
        if not len(levels):
            return []
        # The ninth of ten: numpy.percentile would load what numpy has for masked arrays, a tenth of a cold start.
        quiet = levels < max(float(numpy.sort(levels)[len(levels) * 9 // 10]) * _QUIET, 1e-5)
        edges = numpy.flatnonzero(numpy.diff(numpy.concatenate(([False], quiet, [False])).astype(numpy.int8)))
        shortest = SHORTEST_SECONDS / self._seconds
        return [
            (int(start) * self._seconds, int(end) * self._seconds)
            for start, end in edges.reshape(-1, 2)
            if end - start >= shortest
        ]
