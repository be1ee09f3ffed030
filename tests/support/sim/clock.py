"""A clock that goes only when it is told to, in the place of the machine's own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

START = 1_795_165_200.0
"""2026-11-20, 09:00 UTC: where every world begins, so that the same seed meets the same midnight."""


class VirtualClock:
    """Seconds since the epoch. `monotonic` counts from the world's beginning."""

    def __init__(self) -> None:
        self.now = START

    def reset(self) -> None:
        self.now = START

    @property
    def monotonic(self) -> float:
        return self.now - START + 1_000.0

    @property
    def elapsed(self) -> float:
        return self.now - START

    @contextmanager
    def told_by_all(self) -> Iterator[None]:
        """Whoever asks `time` for the time gets this clock's, until the end of the block."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: self.now)
            patch.setattr(time, "time_ns", lambda: round(self.now * 1_000_000_000))
            patch.setattr(time, "monotonic", lambda: self.monotonic)
            patch.setattr(time, "monotonic_ns", lambda: round(self.monotonic * 1_000_000_000))
            yield
