"""Many jobs that want the same audio buy it once; whoever is lost while buying it is replaced, once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from speech import jobs, segments
from speech.errors import CorruptRow, StoreUnavailable, VendorRejected, VendorThrottled, VendorUnavailable
from speech.jobs import Cost, Job, JobStatus
from speech.messages import StartSegment
from speech.segments import Claim, Segment, SegmentStatus
from speech.settings import TENANT
from speech.vendors.base import StillWorking
from tests.fakes import a_problem
from tests.support.world import CallbackVendor, World

SENTENCE = "The sun is up and the birds are singing."


def jobs_that_want_the_same(world: World, many: int, **facts: Any) -> list[Job]:
    """They have the same text, vendor and options, and so the same audio key."""
    return [
        world.a_synthesizing_job(SENTENCE, id=f"job_{number:026d}", text_id=f"t{number}", **facts)
        for number in range(many)
    ]


def start(world: World, job: Job, index: int = 0) -> None:
    world.start(StartSegment(TENANT, job.id, index, vendor="scripted"))


def row(world: World, job: Job, index: int = 0) -> Segment:
    segment = world.store.segment(TENANT, job.id, index)
    assert segment is not None
    return segment


def change(world: World, job: Job, **facts: Any) -> None:
    world.store.put(replace(row(world, job), **facts))


def while_calling(world: World, then: Callable[[], None]) -> None:
    """What happens while the vendor is being asked for the first time."""
    speak = world.vendor.start

    def start(*about: Any, **facts: Any) -> Any:
        world.vendor.start = speak  # type: ignore[method-assign] # as it was
        then()
        return speak(*about, **facts)

    world.vendor.start = start  # type: ignore[method-assign] # of this vendor alone


def test_whoever_comes_while_another_job_buys_the_same_audio_waits_and_takes_it() -> None:
    world = World()
    first, second = jobs_that_want_the_same(world, 2)
    world.dispatcher.take()
    seen: list[Segment] = []

    def second_comes() -> None:
        start(world, second)
        seen.append(row(world, second))

    while_calling(world, second_comes)
    start(world, first)
    world.run(seconds=4)

    assert [(each.status, each.calls, each.hops) for each in seen] == [(SegmentStatus.PENDING, 0, 1)]
    assert len(world.vendor.requests) == 1
    assert world.job(first.id).status is world.job(second.id).status is JobStatus.COMPLETED
    assert world.job(second.id).cost == Cost(vendor_calls=0, amount=None)


def test_a_sentence_that_a_job_says_twice_is_bought_once() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, SENTENCE)
    change(world, job, audio_key="same")
    world.store.put(replace(row(world, job, 1), audio_key="same"))
    world.dispatcher.take()
    while_calling(world, lambda: start(world, job, 1))

    start(world, job, 0)
    world.run(seconds=4)

    assert len(world.vendor.requests) == 1
    assert world.job().status is JobStatus.COMPLETED


def test_a_vendor_that_takes_minutes_is_asked_by_one_and_the_others_look_now_and_then() -> None:
    """Four messages in a row, then the sweep: a queue is not a clock."""
    world = World(vendor=CallbackVendor())
    world.vendor.starts = [StillWorking("v1", check_after=600)]
    orders = jobs_that_want_the_same(world, 5)

    world.run(seconds=300)
    looked = [row(world, job).hops for job in orders[1:]]
    world.run_with_sweeps(seconds=1_200)

    assert looked == [5] * 4
    assert len(world.vendor.requests) == 1
    assert {world.job(job.id).status for job in orders} == {JobStatus.COMPLETED}


def test_an_owner_that_tries_again_later_keeps_its_claim() -> None:
    world = World()
    world.vendor.starts = [VendorUnavailable("down", vendor="scripted")]
    first, second = jobs_that_want_the_same(world, 2)
    world.dispatcher.take()

    start(world, first)
    start(world, second)

    assert row(world, first).status is SegmentStatus.PENDING
    assert (row(world, second).status, row(world, second).calls) == (SegmentStatus.PENDING, 0)
    world.run_with_sweeps(seconds=300)
    assert len(world.vendor.requests) == 2  # the one that failed, and one
    assert world.job(second.id).status is JobStatus.COMPLETED


def failed(world: World, job: Job) -> None:
    world.store.put(jobs.fail(world.job(job.id), a_problem(), cost=Cost(), now=world.clock.now()))


def cancelled(world: World, job: Job) -> None:
    world.cancel(world.job(job.id))


def erased(world: World, job: Job) -> None:
    world.erase(TENANT, job.id)


def gone(world: World, job: Job) -> None:
    world.store.drop_segments(TENANT, job.id, [0])


def its_segment_failed(world: World, job: Job) -> None:
    change(world, job, status=SegmentStatus.FAILED, due_at=None)


def cut_anew(world: World, job: Job) -> None:
    change(world, job, audio_key="of less text")


def held(world: World, job: Job) -> None:
    world.store.put(replace(world.job(job.id), held=a_problem()))


def another_narrator(world: World, job: Job) -> None:
    world.store.put(replace(world.job(job.id), take=1))


def its_audio_was_lost(world: World, job: Job) -> None:
    change(world, job, status=SegmentStatus.STORED, due_at=None)


ENDS = (failed, cancelled, erased, gone, its_segment_failed, cut_anew, held, another_narrator, its_audio_was_lost)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_an_owner_that_will_never_bring_it_is_replaced_exactly_once(end: Callable[[World, Job], None]) -> None:
    """B4, I5: two who see it at the same moment; the claim is fenced by the owner that was seen."""
    world = World()
    world.vendor.starts = [VendorUnavailable("down", vendor="scripted")]
    lost, *others = jobs_that_want_the_same(world, 4)
    world.dispatcher.take()
    start(world, lost)
    end(world, lost)
    world.dispatcher.take()

    def the_others_come() -> None:
        for job in others[1:]:
            start(world, job)

    while_calling(world, the_others_come)
    start(world, others[0])
    world.run_with_sweeps(seconds=180)

    assert sum(row(world, job).calls for job in others) == 1
    assert {world.job(job.id).status for job in others} == {JobStatus.COMPLETED}


def test_a_call_of_a_job_that_was_cancelled_still_brings_the_audio_to_the_others() -> None:
    world = World()
    first, second = jobs_that_want_the_same(world, 2)
    world.dispatcher.take()

    def cancelled_while_another_asks() -> None:
        world.cancel(first)
        start(world, second)

    while_calling(world, cancelled_while_another_asks)
    start(world, first)
    world.run(seconds=10)

    assert len(world.vendor.requests) == 1
    assert world.job(second.id).status is JobStatus.COMPLETED


def test_a_call_of_a_cancelled_job_whose_worker_died_is_waited_for_until_its_lease_has_ended() -> None:
    world = World()
    first, second = jobs_that_want_the_same(world, 2)
    world.dispatcher.take()
    calling = segments.claim(row(world, first), now=world.clock.now(), lease_ms=120_000, vendor="scripted")
    assert world.store.claim_audio(calling, until=first.deadline_at) is None
    world.cancel(first)
    start(world, second)

    world.run_with_sweeps(seconds=60)
    assert world.vendor.requests == []
    world.run_with_sweeps(seconds=240)

    assert len(world.vendor.requests) == 1
    assert [each.outcome for each in row(world, first).attempts] == ["ambiguous"]
    assert world.job(second.id).status is JobStatus.COMPLETED


def test_whoever_follows_keeps_its_reservation_until_it_has_the_audio() -> None:
    """I12: it may have to buy it yet; once it has it, nothing is reserved."""
    world = World()
    first, second = jobs_that_want_the_same(world, 2, max_cost=1.0)
    for job in (first, second):
        change(world, job, reserved=0.4)
        world.store._commit(TENANT, job.id, 400_000, None)
    world.dispatcher.take()
    committed: list[int] = []

    def second_comes() -> None:
        start(world, second)
        committed.append(world.store.progress(TENANT, second.id).committed)

    while_calling(world, second_comes)
    start(world, first)
    world.run(seconds=4)

    assert committed == [400_000]
    assert world.store.progress(TENANT, second.id).committed == 0
    assert (world.job(second.id).cost or Cost()).amount == 0.0


def test_an_owner_that_fails_for_good_is_followed_by_somebody_who_asks_anew() -> None:
    world = World()
    world.vendor.starts = [VendorRejected("not this voice", vendor="scripted")]
    first, second = jobs_that_want_the_same(world, 2)

    world.run_with_sweeps(seconds=120)

    assert world.job(first.id).status is JobStatus.FAILED
    assert world.job(second.id).status is JobStatus.COMPLETED


def test_c3_a_job_that_follows_until_its_deadline_says_what_the_one_before_it_was_waiting_for() -> None:
    world = World()
    world.vendor.starts = [VendorThrottled("slow down", vendor="scripted") for _ in range(99)]
    asked = jobs_that_want_the_same(world, 2)

    world.run_with_sweeps(seconds=4_200)

    for each in (world.job(job.id) for job in asked):
        assert each.status is JobStatus.FAILED
        assert each.problem is not None
        assert (each.problem["code"], each.problem["job_id"]) == ("vendor-throttled", each.id)


def test_where_too_many_ask_at_once_to_tell_who_buys_one_waits_a_moment() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()
    claim = world.store.claim_audio
    busy = iter([Claim(job_id="", segment=0, token="")])

    def claim_audio(*about: Any, **facts: Any) -> Claim | None:
        return next(busy, None) or claim(*about, **facts)

    world.store.claim_audio = claim_audio  # type: ignore[method-assign] # of this store alone

    start(world, job)

    assert (world.segment().status, world.segment().calls) == (SegmentStatus.PENDING, 0)
    world.run(seconds=5)
    assert world.job().status is JobStatus.COMPLETED


def test_an_owner_whose_row_is_damaged_is_no_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.vendor.starts = [VendorUnavailable("down", vendor="scripted")]
    first, second = jobs_that_want_the_same(world, 2)
    world.dispatcher.take()
    start(world, first)
    both = world.store.job_and_segment

    def read(tenant: str, job_id: str, index: int) -> Any:
        if job_id == first.id:
            raise CorruptRow("A segment row cannot be understood.")
        return both(tenant, job_id, index)

    monkeypatch.setattr(world.store, "job_and_segment", read)

    start(world, second)

    assert row(world, second).status is SegmentStatus.STORED


def test_of_a_job_that_is_erased_nothing_says_any_more_what_it_bought() -> None:
    """F7, T20: a claim's key is a hash of the text."""
    world = World()
    (job,) = jobs_that_want_the_same(world, 1)
    world.run()
    assert world.store._claims

    world.erase(TENANT, job.id)
    world.run_with_sweeps(seconds=300)

    assert not world.store._claims


def test_a_store_that_is_busy_leaves_the_segment_as_it_was() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()
    world.store.fail_next("claim_audio", StoreUnavailable("busy"))

    with pytest.raises(StoreUnavailable):
        start(world, job)

    assert (world.segment().status, world.segment().rev, world.vendor.requests) == (SegmentStatus.PENDING, 1, [])
