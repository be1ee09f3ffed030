"""Jobs on the deployed functions, in worlds where everything fails, dies, stands still and repeats.

`make simulate` runs as many as are wanted: five hundred in CI, beside these.
"""

import pytest

from tests.simulation.run import failing, report
from tests.support.sim.laboratory import Laboratory
from tests.support.sim.world import World

CHUNKS, WORLDS = 2, 5
"""10 worlds of 6 jobs each."""

CALM = 8


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_is_kept_in_troubled_worlds(lab: Laboratory, chunk: int) -> None:
    """I1 to I8, I10, I11, I14 to I21; E1, E2, E5; A1, A12, D1 to D5."""
    """I1 to I5, I7, I8, I10, I11, I14 to I21."""
    for seed in range(chunk * WORLDS, (chunk + 1) * WORLDS):
        world = failing(lab, seed)
        if world.violation is not None:
            pytest.fail(report(lab, seed, faulty=True), pytrace=False)


def test_i5_without_faults_every_segment_is_bought_exactly_once(lab: Laboratory) -> None:
    worlds = [failing(lab, seed, faulty=False) for seed in range(CALM)]

    assert [str(world.violation) for world in worlds if world.violation] == []
    assert sum(world.paid for world in worlds) == sum(world.needed for world in worlds) > CALM


def test_i22_the_same_seed_gives_the_same_trace(lab: Laboratory) -> None:
    first, second = (failing(lab, 6) for _ in range(2))

    differing = [pair for pair in zip(first.machine.trace, second.machine.trace, strict=False) if pair[0] != pair[1]]
    assert differing[:3] == []
    assert len(first.machine.trace) == len(second.machine.trace)
    assert len(first.machine.trace) > 100
    assert _end_of(first) == _end_of(second)


def test_another_seed_gives_another_trace(lab: Laboratory) -> None:
    assert failing(lab, 6).machine.trace != failing(lab, 7).machine.trace


def _end_of(world: World) -> list[tuple[str, str]]:
    return sorted((job.id, job.status.value) for job in world.watch.jobs())
