"""The time of the machine."""

import time


class SystemClock:
    def now(self) -> int:
        """The time in epoch milliseconds."""
        return time.time_ns() // 1_000_000
