"""What the tests of the edges share: how much is to be proven, and a limit on what any one input may cost."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest

from tests.support.cloud import Cloud, a_cloud
from tests.support.logs import logged


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with a_cloud() as made:
        yield made


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Everything that is logged, as it would be written."""
    with logged() as written:
        yield written


class Costs:
    """What an input may cost: CPU always, memory where the system tells the most that there was."""

    @contextmanager
    def of(self, name: str, *, seconds: float, megabytes: float = 150) -> Iterator[None]:
        """An input, and what handling it may take at most."""
        before = _memory("VmRSS") if _forget_the_most() else None
        began = time.process_time()
        yield
        took = time.process_time() - began
        assert took <= seconds, f"{name} took {took:.2f} s of CPU"
        if before is not None:
            needed = _memory("VmHWM") - before
            assert needed <= megabytes, f"{name} took {needed:.0f} MB"


_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def _forget_the_most() -> bool:
    """Let the most memory be counted anew from here, if the system can."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _memory(name: str) -> float:
    """In megabytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


@pytest.fixture
def costs() -> Costs:
    return Costs()
