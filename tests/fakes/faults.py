"""Faults on command, shared by every fake: the next call of a method fails before or after its effect."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock


@dataclass(frozen=True, slots=True)
class _Fault:
    method: str
    error: BaseException
    after: bool


class Faulty:
    """Base of the fakes. `calls` lists the methods called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._faults: list[_Fault] = []
        self._lock = RLock()

    def fail_next(self, method: str, error: BaseException, *, after: bool = False, times: int = 1) -> None:
        """Make the next `times` calls of `method` raise; with `after`, once the effect is there."""
        if not hasattr(self, method):
            raise AttributeError(f"{type(self).__name__} has no method {method}.")
        self._faults += [_Fault(method, error, after)] * times

    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        with self._lock:
            self.calls.append(method)
            fault = next((each for each in self._faults if each.method == method), None)
            if fault is not None:
                self._faults.remove(fault)
            if fault is not None and not fault.after:
                raise fault.error
            yield
            if fault is not None:
                raise fault.error
