"""Integrated loudness as ITU-R BS.1770-4 defines it, from the energy of blocks of 100 ms."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Energies = NDArray[numpy.float64]
    Weights = NDArray[numpy.float32]

BLOCKS_A_SECOND = 10
_WINDOW = 4
"""Blocks in a gating window: 400 ms, three quarters of which the next one shares."""

_SILENT = -70.0
"""LUFS below which nothing counts."""

_RELATIVE = -10.0
"""LU below what is left, under which a window is a pause."""

# The two stages of the K curve as the standard gives them, for 48 kHz: a shelf for the head, and a high-pass.
_STAGES = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
_STANDARD_RATE = 48_000


class LoudnessMeter:
    """Takes mono samples in blocks of any length.

    Energy is weighted in the spectrum of each block, by the curve of the standard at each frequency: the same at every
    sample rate, where the standard's filter is for 48 kHz alone. Keeps one number for every 100 ms.
    """

    def __init__(self, sample_rate: int) -> None:
        self._size = sample_rate // BLOCKS_A_SECOND
        self._weights = _weights(sample_rate, self._size)
        self._rest: NDArray[numpy.float32] | None = None
        self._energies: list[Energies] = []

    def add(self, samples: "NDArray[numpy.float32]") -> None:
        """The next samples; they may be overwritten afterwards."""
        import numpy

        if self._rest is not None and len(self._rest):
            samples = numpy.concatenate((self._rest, samples))
        whole = len(samples) // self._size * self._size
        # A second at a time: what is worked on stays in the processor's cache.
        for start in range(0, whole, BLOCKS_A_SECOND * self._size):
            blocks = samples[start : min(whole, start + BLOCKS_A_SECOND * self._size)].reshape(-1, self._size)
            spectrum = numpy.fft.rfft(blocks, axis=1)
            power = numpy.square(spectrum.real) + numpy.square(spectrum.imag)
            self._energies.append((power @ self._weights).astype(numpy.float64))
        self._rest = samples[whole:].copy()

    def energies(self) -> "Energies":
        """Of each whole block."""
        import numpy

        return numpy.concatenate(self._energies) if self._energies else numpy.zeros(0)


def integrated(energies: "Energies") -> tuple[float | None, float]:
    """Loudness in LUFS, and of how many seconds that are no pause; None for silence, or where there is no block.

    What is shorter than a window counts as one.
    """
    import numpy

    if not len(energies):
        return None, 0.0
    size = min(_WINDOW, len(energies))
    sums = numpy.concatenate(([0.0], numpy.cumsum(energies)))
    windows = (sums[size:] - sums[:-size]) / size
    windows = windows[windows > _energy(_SILENT)]
    if not len(windows):
        return None, 0.0
    windows = windows[windows > windows.mean() * 10 ** (_RELATIVE / 10)]
    return float(-0.691 + 10 * numpy.log10(windows.mean())), len(windows) / BLOCKS_A_SECOND


def _energy(loudness: float) -> float:
    return float(10 ** ((loudness + 0.691) / 10))


@cache
def _weights(sample_rate: int, size: int) -> "Weights":
    """What each bin of a block's spectrum adds to its mean square."""
    import numpy

    frequencies = numpy.minimum(numpy.fft.rfftfreq(size, 1 / sample_rate), _STANDARD_RATE / 2)
    delay = numpy.exp(-2j * numpy.pi * frequencies / _STANDARD_RATE)
    gain = numpy.ones(len(frequencies))
    for above, below in _STAGES:
        gain *= numpy.abs(numpy.polyval(above[::-1], delay) / numpy.polyval(below[::-1], delay)) ** 2
    gain *= 2.0 / size**2
    gain[0] /= 2
    if size % 2 == 0:
        gain[-1] /= 2
    return gain.astype(numpy.float32)
