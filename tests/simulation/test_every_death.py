"""One fault at every point of a run, before and after what happens there; the run ends as it should all the same.

A point is a call of a port or of the vendor. B1 to B14, E2, I1 to I5, I7, I11, I14, I21.
"""

from collections.abc import Callable, Sequence

import pytest

from speech.errors import StoreUnavailable
from speech.jobs import JobStatus
from speech.policy import Policy
from speech.prices import Price
from speech.segments import Outcome
from speech.settings import TENANT, Settings
from speech.usecases import accept_job
from tests.support.prove import promised
from tests.support.simulation import Killed, OneFault, Simulation, Stalled

ONE = "The sun is up and birds are singing."
TWO = "A cold wind blows over the quiet bay."
THREE = "Nobody knows when they will be back."

OTHER = promised(full=1, usual=2)
"""A fault before a call is much the same as one after the call before it, so every other point is enough where both are
tried."""


def busy() -> BaseException:
    return StoreUnavailable("busy")


def a_run(plan: OneFault, *, calls_back: bool, is_long: bool, **changes: object) -> Simulation:
    """One short job, or one that is too long to be created in one piece."""
    simulation = Simulation(plan, calls_back=calls_back, **changes)  # type: ignore[arg-type] # passed through
    if is_long:
        simulation.submit("long", ONE, TWO, THREE)
    else:
        simulation.submit("short", ONE, webhook=True)
    try:
        simulation.calm(seconds=20_000)
    finally:
        simulation.stop()
    return simulation


def how_many_points(**of: object) -> int:
    a_run(whole := OneFault(), **of)  # type: ignore[arg-type] # passed through
    return whole.points


@pytest.fixture(autouse=True)
def small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of three segments are already too long to be created in one piece."""
    monkeypatch.setattr(accept_job, "SEGMENTS_AT_CREATION", 2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", [Killed, busy], ids=["killed", "busy"])
@pytest.mark.parametrize("is_long", [False, True], ids=["short", "long"])
@pytest.mark.parametrize("calls_back", [False, True], ids=["at-once", "calls-back"])
def test_a_fault_at_any_point_loses_nothing_and_buys_nothing_twice(
    calls_back: bool, is_long: bool, fault: Callable[[], BaseException], after: bool
) -> None:
    points = how_many_points(calls_back=calls_back, is_long=is_long)

    for at in range(0, points, OTHER):
        plan = OneFault(at, fault, after=after)
        simulation = a_run(plan, calls_back=calls_back, is_long=is_long)

        try:
            simulation.check()
            [job] = simulation.world.store.jobs()
            assert job.status is JobStatus.COMPLETED
            extra = sum(simulation.vendor.billed.values()) - (3 if is_long else 1)
            assert extra <= (0 if calls_back else 1)
        except AssertionError as error:
            raise AssertionError(f"with a fault at point {at}, {plan.met}") from error


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("calls_back", [False, True], ids=["at-once", "calls-back"])
def test_i7_a_worker_that_stands_still_past_its_lease_at_any_point_changes_nothing(
    calls_back: bool, after: bool
) -> None:
    points = how_many_points(calls_back=calls_back, is_long=True)

    for at in range(0, points, OTHER):
        plan = OneFault(at, Stalled, after=after)
        simulation = a_run(plan, calls_back=calls_back, is_long=True, longest_life=10_000.0)

        if calls_back and plan.met == "vendor.start":
            continue  # only a function's timeout, which is shorter than its lease, keeps it from calling that late
        try:
            simulation.check()
            [job] = simulation.world.store.jobs()
            assert job.status is JobStatus.COMPLETED
        except AssertionError as error:
            raise AssertionError(f"standing still at point {at}, {plan.met}") from error


def test_b8_with_a_single_attempt_allowed_no_death_loses_audio_that_was_stored() -> None:
    settings = Settings(
        callback_base_url="https://speech.example",
        default_vendor="scripted",
        job_deadline_seconds=7_200,
        segment_attempts=1,
    )
    points = how_many_points(calls_back=False, is_long=False, settings=settings)

    for at in range(points):
        plan = OneFault(at, Killed, after=True)
        simulation = a_run(plan, calls_back=False, is_long=False, settings=settings)

        simulation.check()
        [job] = simulation.world.store.jobs()
        assert job.status is (JobStatus.COMPLETED if simulation.world.audio.objects else JobStatus.FAILED), plan.met


class FirstRefused(OneFault):
    """As `OneFault`, with a vendor that refuses the first thing it is asked."""

    refused = False

    def vendor(self, kinds: Sequence[str]) -> str:
        if self.refused or "refused" not in kinds:
            return kinds[0]
        self.refused = True
        return "refused"


def a_change(plan: OneFault, **changes: object) -> Simulation:
    """A job of three segments within a budget whose first narrator gives up."""
    simulation = Simulation(plan, others=("second",), **changes)  # type: ignore[arg-type] # passed through
    price = Price(per_character=0.001)
    simulation.world.policies.put(Policy(prices={"scripted": price, "second": price}))
    simulation.submit("book", ONE, TWO, THREE, fallback=["second:v2"], max_cost=1)
    try:
        simulation.calm(seconds=20_000)
    finally:
        simulation.stop()
    return simulation


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("fault", "life"), [(Killed, 90.0), (busy, 90.0), (Stalled, 10_000.0)], ids=["killed", "busy", "overtaken"]
)
def test_i12_a_fault_at_any_point_of_a_change_of_narrators_loses_nothing_and_exceeds_nothing(
    fault: Callable[[], BaseException], life: float, after: bool
) -> None:
    """I1 to I5, I7, I12, I14."""
    whole = FirstRefused()
    assert a_change(whole).world.store.jobs()[0].take == 1

    for at in range(0, whole.points, OTHER):
        plan = FirstRefused(at, fault, after=after)
        simulation = a_change(plan, longest_life=life)

        try:
            simulation.check()
            [job] = simulation.world.store.jobs()
            assert job.status is JobStatus.COMPLETED
            # At most what the change itself buys anew, and one call whose answer died.
            assert simulation.bills().total() <= 2 * 3 + 1
        except AssertionError as error:
            raise AssertionError(f"with a fault at point {at}, {plan.met}") from error


class InTurns(OneFault):
    """One fault, while whoever is at work takes turns at every call."""

    _turn = 0

    def choose(self, among: int) -> int:
        self._turn += 1
        return self._turn % among


def two_that_want_the_same(plan: OneFault, *, calls_back: bool, longest_life: float = 90.0) -> Simulation:
    simulation = Simulation(plan, calls_back=calls_back, longest_life=longest_life)
    simulation.submit("one", ONE)
    simulation.submit("other", ONE)
    try:
        simulation.calm(seconds=20_000)
    finally:
        simulation.stop()
    return simulation


@pytest.mark.parametrize(
    ("calls_back", "fault"),
    [(False, Killed), (False, Stalled), (True, Killed)],
    ids=["at-once-killed", "at-once-standing-still", "calls-back-killed"],
)
def test_i5_whoever_is_lost_at_any_point_while_another_wants_the_same_audio_it_is_bought_once_or_flagged(
    calls_back: bool, fault: Callable[[], BaseException]
) -> None:
    """After each call; before it is after the one before."""
    two_that_want_the_same(whole := InTurns(), calls_back=calls_back)

    for at in range(whole.points):
        plan = InTurns(at, fault, after=True)
        life = 10_000.0 if fault is Stalled else 90.0
        simulation = two_that_want_the_same(plan, calls_back=calls_back, longest_life=life)

        try:
            simulation.check()
            store = simulation.world.store
            assert {job.status for job in store.jobs()} == {JobStatus.COMPLETED}
            attempts = [each for job in store.jobs() for row in store.segments(TENANT, job.id) for each in row.attempts]
            unsure = sum(attempt.outcome is Outcome.AMBIGUOUS for attempt in attempts)
            assert sum(simulation.vendor.billed.values()) <= 1 + unsure <= (1 if calls_back else 2)
        except AssertionError as error:
            raise AssertionError(f"with a fault at point {at}, {plan.met}") from error


def test_two_that_want_the_same_meet() -> None:
    """So that the test above shows something: one of them is turned away while the other calls."""
    simulation = two_that_want_the_same(plan := InTurns(), calls_back=False)

    assert plan.points > 40
    assert simulation.world.store.calls.count("claim_audio") > 1
    assert sum(simulation.vendor.billed.values()) == 1
