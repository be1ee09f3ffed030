"""What the tests of the edges share: how much is to be proven, and a limit on what any one input may cost."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest

from tests.support.cloud import Cloud, a_cloud
from tests.support.logs import logged
from tests.support.prove import promised, proven

A_WORLD = 50
"""After so many inputs a new cloud: an old one keeps all that was ever put into it."""
ONE_IN = promised(full=1, usual=20)
A_SHARE = 4
"""Of one job in so many the whole way is followed."""


def worlds(inputs: int) -> range:
    """The worlds that are looked at, of those that so many inputs make."""
    return range(0, inputs // A_WORLD, ONE_IN)


def all_ends_well(cloud: Cloud, log: StringIO, *, complaint: str) -> None:
    """Whatever was accepted ends, and nobody complained of what we did not foresee."""
    assert cloud.run(one_in=A_SHARE) == []
    assert cloud.states(one_in=A_SHARE) <= {"completed", "failed"}
    logged = log.getvalue()
    assert '"level"' in logged
    assert complaint not in logged
    assert "Traceback" not in logged


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """How each input of a file ended that was played without a complaint. The file's SEED names the proof."""
    ends: Counter[str] = Counter()
    yield ends
    proven(f"hostile-{request.module.SEED}", inputs=ends.total(), ends=dict(ends))


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
