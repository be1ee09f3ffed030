"""One death at a call site, one pause past the lease, before and after: the job completes, and is not paid for twice.

Here at every so manieth place; `make prove` goes through all of them.
"""

import pytest

from tests.simulation.exhaustive import Case, cases, places, run
from tests.support.sim.chance import DEATH, STALL
from tests.support.sim.laboratory import Laboratory

EVERY = 41


@pytest.mark.parametrize("kind", [DEATH, STALL])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name.replace(" ", "-"))
def test_a_fault_at_any_call_loses_nothing_and_buys_nothing_twice(lab: Laboratory, case: Case, kind: str) -> None:
    """B1 to B6, B8 to B14, I5, I7, I11."""
    calm, faults = places(lab, case, kind)
    first = sum(map(ord, case.name)) % EVERY  # elsewhere for each, so that all of them see more

    for at, fault in list(faults)[first::EVERY]:
        world = run(lab, case, at, fault)

        assert len(world.plan.fired) == 1
    assert calm.machine.calls > 25
