"""A clock that stands still until a test moves it."""

from threading import Lock

NOW = 1_795_165_200_123
"""2026-11-20T09:00:00.123Z, in epoch milliseconds."""


class FakeClock:
    def __init__(self, now: int = NOW) -> None:
        self._now = now
        self._lock = Lock()

    def now(self) -> int:
        with self._lock:
            return self._now

    def set(self, now: int) -> None:
        """Jump to a time in epoch milliseconds, also backwards."""
        with self._lock:
            self._now = now

    def advance(self, seconds: float) -> int:
        """Let `seconds` pass; returns the new time in epoch milliseconds."""
        with self._lock:
            self._now += round(seconds * 1000)
            return self._now
