"""Vendors that work on a job of their own: polled, called back, lost and found."""

from typing import Any

import pytest

from speech import segments
from speech.errors import (
    StaleWrite,
    UnsupportedOperation,
    VendorAmbiguous,
    VendorJobExpired,
    VendorJobFailed,
    VendorThrottled,
    VendorUnavailable,
)
from speech.jobs import JobStatus
from speech.messages import CheckSegment
from speech.segments import Outcome, Segment, SegmentStatus
from speech.settings import BadSettings, Settings
from speech.vendors.base import AudioReady, StillWorking
from tests.fakes import a_problem
from tests.support.world import CallbackVendor, World, spoken

SENTENCE = "The sun is up and the birds are singing."
WORKING = StillWorking("vendor-job-1", check_after=5)


def a_world() -> World:
    world = World(vendor=CallbackVendor())
    world.vendor.starts = [WORKING]
    return world


def test_a_working_vendor_is_checked_until_its_audio_is_there() -> None:
    world = a_world()
    world.vendor.checks = [WORKING, WORKING]
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=120)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1
    assert world.vendor.checked == ["vendor-job-1"] * 3


def test_a_callback_makes_the_check_happen_now() -> None:
    world = a_world()
    job = world.a_synthesizing_job(SENTENCE)
    world.run()
    assert world.segment().status is SegmentStatus.WAITING

    world.check(CheckSegment(job.tenant, job.id, 0, attempt=1, hint="vendor-job-1"))
    world.run()

    assert world.job().status is JobStatus.COMPLETED


def test_d4_a_callback_that_never_comes_changes_nothing_but_the_time() -> None:
    world = a_world()
    world.vendor.checks = [WORKING] * 12
    world.a_synthesizing_job(SENTENCE)

    world.run_with_sweeps(seconds=1800)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


def test_polling_sends_at_most_four_delayed_checks() -> None:
    world = a_world()
    world.vendor.checks = [WORKING] * 100
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=3000)  # no sweep comes by

    assert len(world.vendor.checked) == 5


@pytest.mark.parametrize("hint", ["vendor-job-1", "somebody-elses-job"])
def test_d6_what_a_callback_claims_is_never_trusted(hint: str) -> None:
    world = a_world()
    job = world.a_synthesizing_job(SENTENCE)
    world.run()

    world.check(CheckSegment(job.tenant, job.id, 0, attempt=1, hint=hint))
    world.run()

    assert world.vendor.checked == ["vendor-job-1"]


def test_d2_d3_callbacks_repeated_and_after_the_end_have_one_effect() -> None:
    world = a_world()
    job = world.a_synthesizing_job(SENTENCE)
    world.run()
    message = CheckSegment(job.tenant, job.id, 0, attempt=1, hint="vendor-job-1")

    for _ in range(5):
        world.check(message)
        world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert world.store.progress(job.tenant, job.id).stored == 1


def test_d1_a_callback_before_the_create_answer_is_stored_does_no_harm() -> None:
    world = a_world()
    job = world.a_synthesizing_job(SENTENCE)

    def early(request: object, *, callback_url: str | None = None) -> StillWorking:
        world.check(CheckSegment(job.tenant, job.id, 0, attempt=1, hint="vendor-job-1"))
        return WORKING

    world.vendor.start = early  # type: ignore[method-assign]  # a hook, not another vendor
    world.vendor.checks = [AudioReady(spoken(len(SENTENCE)))]
    world.run(seconds=200)

    assert world.job().status is JobStatus.COMPLETED
    assert world.segment().calls == 1


def test_b9_a_create_whose_answer_was_lost_is_found_in_the_vendors_list() -> None:
    world = a_world()
    world.vendor.starts = [VendorAmbiguous("timeout", vendor="scripted")]
    world.vendor.reconciled = WORKING
    world.a_synthesizing_job(SENTENCE)
    world.vendor.checks = [AudioReady(spoken(len(SENTENCE)))]

    world.run(seconds=60)

    assert world.job().status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.SETTLED]
    assert world.vendor.asked_for == [[world.vendor.callback_urls[0]]]


def test_c18_a_create_that_made_no_job_is_made_again_and_nothing_was_paid_twice() -> None:
    world = a_world()
    world.vendor.starts = [VendorAmbiguous("timeout", vendor="scripted"), WORKING]
    world.vendor.reconciled = None
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=120)

    assert world.job().status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.RELEASED, Outcome.SETTLED]


def test_where_the_vendor_cannot_be_asked_the_lost_call_is_flagged() -> None:
    world = a_world()
    world.vendor.starts = [VendorAmbiguous("timeout", vendor="scripted"), WORKING]
    world.vendor.reconciled = UnsupportedOperation("no list")
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=120)

    assert world.job().status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.AMBIGUOUS, Outcome.SETTLED]


def test_b9_a_worker_killed_between_create_and_row_leaves_a_job_that_is_adopted() -> None:
    world = a_world()
    world.a_synthesizing_job(SENTENCE)
    world.vendor.starts = [KeyboardInterrupt()]  # dies as a killed process does
    world.vendor.reconciled = WORKING

    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.vendor.checks = [AudioReady(spoken(len(SENTENCE)))]
    world.run_with_sweeps(seconds=600)

    assert world.job().status is JobStatus.COMPLETED
    assert world.segment().calls == 1


def test_a_failed_vendor_job_fails_ours_with_the_vendors_reason() -> None:
    world = a_world()
    world.vendor.checks = [VendorJobFailed("The vendor says: bad accent", vendor="scripted")]
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=60)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "vendor-job-failed"


def test_a_vendor_that_forgets_its_job_fails_ours() -> None:
    world = a_world()
    world.vendor.checks = [VendorJobExpired("gone", vendor="scripted")]
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=60)

    assert world.job().status is JobStatus.FAILED


def test_a_check_that_cannot_get_through_is_repeated_and_buys_nothing() -> None:
    world = a_world()
    world.vendor.checks = [VendorUnavailable("503", vendor="scripted")] * 3
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


def test_bad_audio_from_a_finished_vendor_job_is_fetched_again_before_it_is_bought_again() -> None:
    world = a_world()
    world.vendor.checks = [AudioReady(b"<html>", "text/html")]
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


def test_bad_audio_that_stays_bad_ends_in_a_bounded_number_of_calls() -> None:
    world = a_world()
    world.vendor.starts = [WORKING] * 10
    world.vendor.checks = [AudioReady(b"<html>", "text/html")] * 100
    world.a_synthesizing_job(SENTENCE)

    world.run_with_sweeps(seconds=1800)

    assert world.job().status is JobStatus.FAILED
    assert len(world.vendor.requests) == world.settings.segment_attempts


def test_d10_a_vendor_that_never_ends_is_ended_by_the_deadline() -> None:
    world = a_world()
    world.vendor.checks = [WORKING] * 1000
    world.a_synthesizing_job(SENTENCE)

    world.run_with_sweeps(seconds=3700)
    job = world.job()
    world.check(CheckSegment(job.tenant, job.id, 0, attempt=1, hint="vendor-job-1"))

    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "deadline-exceeded"
    assert world.job().status is JobStatus.FAILED


def test_a18_a_lost_call_that_cannot_be_looked_up_does_not_keep_a_queue_going() -> None:
    world = a_world()
    world.vendor.starts = [VendorAmbiguous("timeout", vendor="scripted")]
    world.vendor.reconciled = VendorUnavailable("down", vendor="scripted")
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=3_000)  # no sweep comes by

    assert len(world.vendor.asked_for) <= 5
    assert world.segment().due_at is not None
    world.vendor.reconciled = WORKING
    world.run_with_sweeps(seconds=600)
    assert world.job().status is JobStatus.COMPLETED
    assert world.segment().calls == 1


def test_a18_checks_of_one_call_after_another_do_not_keep_a_queue_going() -> None:
    world = World(
        vendor=CallbackVendor(), settings=Settings(callback_base_url="https://s.example", segment_attempts=20)
    )
    world.vendor.starts = [WORKING] * 20
    world.vendor.checks = [WORKING, WORKING, AudioReady(b"{}"), AudioReady(b"{}")] * 20
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=3_000)  # no sweep comes by

    assert len(world.vendor.checked) < 16, "the platform cuts off a function after so many hops"


def test_c3_a_check_that_is_throttled_is_not_repeated_before_the_vendor_allows_it() -> None:
    world = a_world()
    world.vendor.starts = [WORKING]
    world.vendor.checks = [VendorThrottled("slow down", vendor="scripted", retry_after=600)]
    world.a_synthesizing_job(SENTENCE)
    world.run(seconds=10)
    assert len(world.vendor.checked) == 1

    world.run_with_sweeps(seconds=540)

    assert len(world.vendor.checked) == 1
    world.run_with_sweeps(seconds=240)
    assert world.job().status is JobStatus.COMPLETED


def test_nothing_is_bought_where_the_stack_has_no_address_to_be_called_back_at() -> None:
    world = World(vendor=CallbackVendor(), settings=Settings(callback_base_url="https://" + "x" * 200))
    world.a_synthesizing_job(SENTENCE)

    with pytest.raises(BadSettings):
        world.run()

    assert world.segment().status is SegmentStatus.PENDING
    assert not world.vendor.requests


def test_e7_a_call_that_was_made_before_the_signing_key_was_rotated_is_still_found() -> None:
    """The vendor's list has the address as it was signed then; not knowing it would buy a second time."""
    world = World(vendor=CallbackVendor())
    world.vendor.starts = [VendorAmbiguous("no answer", vendor="scripted")]
    world.vendor.reconciled = WORKING
    world.a_synthesizing_job(SENTENCE)
    world.run()
    (address,) = world.vendor.callback_urls

    world.keys.rotate(b"fedcba9876543210" * 2)
    world.run(seconds=60)

    assert address in world.vendor.asked_for[0]
    assert len(world.vendor.requests) == 1
    assert world.job().status is JobStatus.COMPLETED


@pytest.mark.parametrize("attempts", [1, 3])
def test_i20_a_call_by_a_worker_that_stood_still_until_it_was_taken_for_dead_is_put_down(attempts: int) -> None:
    """Nobody but that worker ever learns that its call was made after all, and may be billed."""
    world = World(vendor=CallbackVendor(), settings=Settings(segment_attempts=attempts))
    world.vendor.reconciled = None
    world.a_synthesizing_job(SENTENCE)
    speak = world.vendor.start
    standing_still = True

    def start(*about: Any, **facts: Any) -> Any:
        nonlocal standing_still
        if standing_still:
            standing_still = False
            world.run_with_sweeps(seconds=900)
        return speak(*about, **facts)

    world.vendor.start = start  # type: ignore[method-assign] # of this vendor alone
    world.vendor.starts = [WORKING, WORKING]
    world.run()

    outcomes = [attempt.outcome for attempt in world.segment().attempts]
    assert len(world.vendor.requests) == len(outcomes) == min(attempts, 2)
    assert outcomes == [Outcome.AMBIGUOUS, Outcome.SETTLED][:attempts]
    assert world.segment().attempts[0].problem_code == "vendor-ambiguous"
    assert world.job().status is (JobStatus.FAILED if attempts == 1 else JobStatus.COMPLETED)


def test_i20_a_late_call_that_was_turned_away_stays_one_that_was_never_billed() -> None:
    world = World(vendor=CallbackVendor())
    world.vendor.reconciled = None
    world.a_synthesizing_job(SENTENCE)
    speak = world.vendor.start
    answers = iter([VendorThrottled("slow down", vendor="scripted", retry_after=1)])

    def start(*about: Any, **facts: Any) -> Any:
        refusal = next(answers, None)
        if refusal is None:
            return speak(*about, **facts)
        world.run_with_sweeps(seconds=900)
        raise refusal

    world.vendor.start = start  # type: ignore[method-assign] # of this vendor alone
    world.vendor.starts = [WORKING]
    world.run()

    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.RELEASED, Outcome.SETTLED]
    assert world.job().status is JobStatus.COMPLETED


def test_i20_what_a_late_call_came_to_is_put_down_while_somebody_still_asks_about_it() -> None:
    """Who asked too soon heard that there is no such job, and would have it made a second time."""
    world = a_world()
    job = world.a_synthesizing_job(SENTENCE)
    speak = world.vendor.start
    asking: list[Segment] = []

    def start(*about: Any, **facts: Any) -> Any:
        world.clock.advance(world.settings.lease_seconds + 1)
        asking.append(segments.take_over(world.segment(), now=world.clock.now(), lease_ms=120_000))
        world.store.save_segment(asking[0])
        return speak(*about, **facts)

    world.vendor.start = start  # type: ignore[method-assign] # of this vendor alone
    world.run()
    with pytest.raises(StaleWrite):
        world.settle.released(job, asking[0], a_problem())
    world.run(seconds=60)

    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.SETTLED]
    assert len(world.vendor.requests) == 1
    assert world.job().status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    ("answer", "calls"),
    [(WORKING, 1), (AudioReady(spoken(len(SENTENCE))), 1), (VendorUnavailable("503", vendor="scripted"), 2)],
)
def test_i7_i20_a_call_that_came_late_is_put_down_beside_the_one_under_way_which_loses_nothing(
    answer: Any, calls: int
) -> None:
    world = a_world()
    job = world.a_synthesizing_job(SENTENCE)
    now = world.clock.now()
    late = segments.claim(world.segment(), now=now, lease_ms=1_000)
    problem = a_problem()
    world.store.put(
        segments.retry(late, now=now, not_before=now, due_at=now, outcome=Outcome.RELEASED, problem=problem)
    )
    speak = world.vendor.start

    def start(*about: Any, **facts: Any) -> Any:
        assert world.settle.came_late(job, late) is None
        return speak(*about, **facts)

    world.vendor.start = start  # type: ignore[method-assign] # of this vendor alone
    world.vendor.starts = [answer, WORKING]
    world.run_with_sweeps(seconds=300)

    outcomes = [attempt.outcome for attempt in world.segment().attempts]
    assert outcomes == [Outcome.AMBIGUOUS, *[Outcome.RELEASED] * (calls - 1), Outcome.SETTLED]
    assert len(world.vendor.requests) == calls
    assert world.job().status is JobStatus.COMPLETED
