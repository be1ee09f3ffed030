"""Whatever one row is like, the sweep gets past it: nothing that is overdue keeps the others waiting."""

from dataclasses import replace

import pytest

from speech import jobs
from speech.errors import StoreUnavailable
from speech.jobs import JobStatus
from speech.settings import TENANT, Settings
from speech.usecases import sweep
from tests.fakes import a_delivery, a_job, a_segment, a_spec
from tests.support.world import World

SENTENCE = "The sun is up and the birds are singing."


@pytest.fixture(autouse=True)
def few_rows_per_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the real limit and some hundred times as many rows."""
    monkeypatch.setattr(sweep, "LIMIT", 3)


def test_i14_a_job_ends_at_its_deadline_although_its_many_segments_came_due_before_it() -> None:
    world = World()
    job = world.a_synthesizing_job(*[SENTENCE] * 6)
    world.dispatcher.take()
    world.store.put(replace(job, due_at=job.deadline_at))
    world.clock.set(job.deadline_at)

    for _ in range(4):
        world.sweep()
        world.clock.advance(60)

    assert world.job().status is JobStatus.FAILED


def test_b2_an_accepted_job_is_taken_up_although_its_many_segments_came_due_before_it() -> None:
    world = World()
    now = world.clock.now()
    job = a_job(spec=a_spec(vendor="scripted"), segments_total=6, due_at=now - 1)
    world.store.put(job, *(a_segment(job_id=job.id, index=index, due_at=now - 2) for index in range(6)))

    for _ in range(4):
        world.sweep()
        world.clock.advance(60)

    assert world.resumed


def test_deliveries_that_nobody_takes_do_not_keep_jobs_waiting_nor_fill_the_queue() -> None:
    world = World()
    now = world.clock.now()
    for number in range(6):
        ended = a_job(id=f"job_0000000000000000000000000{number}", status=JobStatus.FAILED, due_at=None, problem={})
        world.store.put(ended, a_delivery(job_id=ended.id, due_at=now - 10))
    waiting = a_job(due_at=now - 1)
    world.store.put(waiting)
    for _ in range(60):
        world.sweep()
        world.clock.advance(60)

    assert world.resumed
    assert len(world.dispatcher.on("deliveries")) <= 6 * 6, "each is sent again ever more seldom"


def test_a_row_that_meets_a_bug_of_ours_does_not_keep_the_others_waiting() -> None:
    world = World()
    now = world.clock.now()
    for number in range(6):
        world.store.put(a_job(id=f"job_0000000000000000000000000{number}", due_at=now - 10 + number))
    world.store.fail_next("get", KeyError("a queue that this stack does not have"))

    world.sweep()

    assert len(world.resumed) == 2


def test_i14_a_job_comes_due_at_its_deadline_at_the_latest_however_often_it_was_sent() -> None:
    world = World()
    now = world.clock.now()
    job = a_job(
        spec=a_spec(vendor="scripted"), status=JobStatus.ASSEMBLING, due_at=now, deadline_at=now + 600_000, sends=6
    )
    world.store.put(job)

    world.sweep()

    assert world.job().due_at == job.deadline_at


def test_i14_a_deadline_shorter_than_the_lease_is_kept() -> None:
    world = World(settings=Settings(callback_base_url="https://speech.example", lease_seconds=120))
    now = world.clock.now()
    job = world.a_synthesizing_job(SENTENCE, deadline_at=now + 30_000)
    world.store.put(begun := jobs.begin_assembly(job, now=now, due_at=now + 120_000))

    leased = jobs.lease_assembly(begun, token="mine", now=now, lease_ms=120_000)

    assert begun.due_at == job.deadline_at
    assert leased.due_at == job.deadline_at
    assert leased.lease_until == now + 120_000


def test_a_queue_that_is_down_is_left_to_the_next_run() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()
    world.clock.advance(130)
    world.dispatcher.failing = StoreUnavailable("the queue is down")
    world.sweep()
    world.dispatcher.failing = None

    world.run_with_sweeps(seconds=600)

    assert world.job().status is JobStatus.COMPLETED
    assert world.store.delivery(TENANT, world.job().id) is not None
