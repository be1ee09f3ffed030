"""A job that is cancelled: nothing more is bought or fetched, and what was under way is written down (F6, I11)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from speech import jobs, segments
from speech.errors import IllegalTransition, StoreUnavailable, VendorRejected, VendorTextTooLong, VendorUnavailable
from speech.health import Health
from speech.jobs import JobStatus
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, StartSegment
from speech.segments import Outcome, Segment, SegmentStatus
from speech.usecases.read_job import ReadJob
from speech.vendors.base import AudioReady, StillWorking, SynthesisRequest
from tests.fakes import Sent, a_problem, a_result
from tests.support.world import CallbackVendor, ScriptedVendor, World, is_settled, spoken

SENTENCE = "The sun is up and the birds are singing."
SENTENCES = ("The first part ends here. ", "A second one follows it. ", "And the third is the last.")


def test_f6_after_a_cancel_no_call_is_made_and_everything_comes_to_rest() -> None:
    world = World()
    job = world.a_synthesizing_job(*SENTENCES)

    cancelled = world.cancel(job)
    world.run_with_sweeps(seconds=1_200)

    assert cancelled.status is JobStatus.CANCELLED
    assert world.job() == cancelled
    assert world.vendor.requests == []
    assert is_settled(world)
    assert not world.results.objects


def test_f6_the_end_is_told_like_every_other() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, webhook_url="https://customer.example/hook")

    world.cancel(job)
    world.run()

    assert [title for title, _ in world.bus.published] == ["Job Cancelled"]
    assert world.bus.published[0][1]["status"] == "cancelled"
    (sent,) = world.webhooks.sent
    assert sent.headers["webhook-id"] == f"{job.id}.cancelled"


def test_f6_a_second_cancel_changes_nothing_and_gets_the_same_job() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)

    first = world.cancel(job)
    again = world.cancel(job)
    third = world.cancel(first)

    assert first == again == third == world.job()
    assert world.dispatcher.on("deliveries") == [DeliverEvent(job.tenant, job.id)]


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
def test_a_job_that_has_ended_otherwise_cannot_be_cancelled(status: JobStatus) -> None:
    world = World()
    ended = world.a_synthesizing_job(SENTENCE, status=status, due_at=None, result=a_result(), problem=a_problem())

    with pytest.raises(IllegalTransition, match=status.value):
        world.cancel(ended)

    assert world.job() == ended


class CancelledMeanwhile(ScriptedVendor):
    """While it speaks, somebody cancels the job."""

    world: World

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        self.world.cancel(self.world.job())
        return super().start(request, callback_url=callback_url)


def test_f6_the_audio_of_a_call_that_was_under_way_is_written_down_and_leads_to_nothing() -> None:
    world = World(vendor=CancelledMeanwhile())
    world.vendor.world = world  # type: ignore[attr-defined]  # this vendor's own
    world.a_synthesizing_job(*SENTENCES)

    world.run_with_sweeps(seconds=600)

    first, *others = (world.segment(index) for index in range(3))
    assert world.job().status is JobStatus.CANCELLED
    assert (first.status, first.attempts[0].outcome) == (SegmentStatus.STORED, Outcome.SETTLED)
    assert [row.status for row in others] == [SegmentStatus.PENDING] * 2
    assert len(world.vendor.requests) == 1
    assert is_settled(world)


def test_f6_a_call_that_failed_after_the_cancel_is_not_made_again() -> None:
    world = World(vendor=CancelledMeanwhile())
    world.vendor.world = world  # type: ignore[attr-defined]  # this vendor's own
    world.vendor.starts = [VendorUnavailable("503", vendor="scripted")]
    world.a_synthesizing_job(SENTENCE)

    world.run_with_sweeps(seconds=600)

    assert len(world.vendor.requests) == 1
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.RELEASED]
    assert is_settled(world)


def test_f6_a_text_that_was_refused_for_its_length_after_the_cancel_was_not_bought() -> None:
    world = World(vendor=CancelledMeanwhile())
    world.vendor.world = world  # type: ignore[attr-defined]  # this vendor's own
    world.vendor.starts = [VendorTextTooLong("too long", vendor="scripted", limit=10)]
    world.a_synthesizing_job(SENTENCE)

    world.run_with_sweeps(seconds=600)

    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.RELEASED]
    assert world.job().status is JobStatus.CANCELLED
    assert is_settled(world)


def test_f6_a_call_whose_worker_died_is_closed_as_ambiguous_when_its_lease_ends() -> None:
    """I20: an open attempt of a cancelled job does not stay open for ever."""
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    now = world.clock.now()
    calling = segments.claim(world.segment(), now=now, lease_ms=120_000)
    world.store.save_segment(calling)

    world.cancel(job)
    world.run_with_sweeps(seconds=60)
    early = world.segment()
    world.run_with_sweeps(seconds=120)

    late = world.segment()
    assert early == calling
    assert late.status is SegmentStatus.FAILED
    assert [(each.outcome, each.problem_code) for each in late.attempts] == [(Outcome.AMBIGUOUS, "job-ended")]
    assert world.job().cost == jobs.Cost(vendor_calls=1)
    assert world.vendor.requests == []
    assert is_settled(world)


def test_f6_nothing_more_is_fetched_for_a_vendor_job_that_is_under_way() -> None:
    world = World(vendor=CallbackVendor())
    world.vendor.starts = [StillWorking("vendor-job-1", check_after=5)]
    job = world.a_synthesizing_job(SENTENCE)
    world.run()

    world.cancel(job)
    world.check(CheckSegment(job.tenant, job.id, 0, 1, hint="vendor-job-1"))
    world.run_with_sweeps(seconds=600)

    assert world.vendor.checked == []
    assert world.segment().status is SegmentStatus.FAILED
    assert world.segment().attempts[0].outcome is Outcome.AMBIGUOUS
    assert is_settled(world)


def test_d10_a_vendor_that_is_done_after_the_deadline_changes_nothing() -> None:
    """The job stays failed, and its open call is closed as one whose end nobody knows."""
    world = World(vendor=CallbackVendor())
    world.vendor.starts = [StillWorking("vendor-job-1", check_after=5)]
    world.vendor.checks = [StillWorking("vendor-job-1", check_after=5)] * 100
    job = world.a_synthesizing_job(SENTENCE, deadline_at=World().clock.now() + 100_000)
    world.run_with_sweeps(seconds=180)
    failed, asked = world.job(), len(world.vendor.checked)

    world.check(CheckSegment(job.tenant, job.id, 0, 1, hint="vendor-job-1"))
    world.run_with_sweeps(seconds=300)

    assert failed.status is JobStatus.FAILED
    assert world.job() == failed
    assert len(world.vendor.checked) == asked
    assert [each.outcome for each in world.segment().attempts] == [Outcome.AMBIGUOUS]
    assert is_settled(world)


def test_i11_a_worker_that_read_the_job_before_it_was_cancelled_claims_nothing_after_it() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    read = world.store.job_segment_and_health
    cancels = [world.cancel]

    def cancelled_after_it_was_read(*which: Any, **named: Any) -> tuple[jobs.Job | None, Segment | None, Health]:
        rows = read(*which, **named)
        if cancels:
            cancels.pop()(job)
        return rows

    world.store.job_segment_and_health = cancelled_after_it_was_read  # type: ignore[method-assign]  # between read and claim

    world.start(StartSegment(job.tenant, job.id, 0))

    assert world.vendor.requests == []
    assert world.segment().attempts == ()


def test_f6_a_call_that_began_while_the_job_was_being_cancelled_is_shown_in_its_cost() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    finish, read = world.store.finish, ReadJob(world.store, world.results, world.clock)

    # A claim between the two writes; its worker dies, so that only the sweep ever writes down what became of it.
    def claimed_just_before(*rows: Any, **named: Any) -> None:
        world.store.save_segment(segments.claim(world.segment(), now=world.clock.now(), lease_ms=1_000))
        finish(*rows, **named)

    world.store.finish = claimed_just_before  # type: ignore[method-assign]  # after the cost was read, before the end

    cancelled = world.cancel(job)
    world.run_with_sweeps(seconds=600)

    assert world.job() == cancelled
    assert world.segment().calls == 1
    assert read.resource(world.job())["cost"]["vendor_calls"] == 1


def test_what_a_job_cost_is_known_for_longer_than_its_segments_are() -> None:
    world = World()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    world.a_synthesizing_job(SENTENCE)
    world.run()
    world.store.segments = lambda *_: iter(())  # type: ignore[method-assign]  # they have expired

    shown = ReadJob(world.store, world.results, world.clock).resource(world.job())

    assert shown["status"] == "failed"
    assert shown["cost"]["vendor_calls"] == 1


def test_e2_a_cancel_that_was_cut_off_goes_on_when_it_is_asked_for_again() -> None:
    world = World()
    job = world.a_synthesizing_job(*SENTENCES)
    world.store.fail_next("save_segments", StoreUnavailable("busy"))

    with pytest.raises(StoreUnavailable):
        world.cancel(job)
    cut_off = world.job()
    world.cancel(cut_off)

    assert cut_off.status is JobStatus.CANCELLED
    assert is_settled(world)
    assert len(world.dispatcher.on("deliveries")) == 1


def test_b14_what_a_cancel_left_undone_the_sweep_does() -> None:
    world = World()
    job = world.a_synthesizing_job(*SENTENCES)
    world.store.fail_next("save_segments", StoreUnavailable("busy"))
    with pytest.raises(StoreUnavailable):
        world.cancel(job)

    world.run_with_sweeps(seconds=300)

    assert world.vendor.requests == []
    assert is_settled(world)


def test_a_job_that_moves_meanwhile_is_cancelled_all_the_same() -> None:
    world = World()
    read = world.a_synthesizing_job(SENTENCE)
    world.store.save(jobs.postpone(read, due_at=read.due_at or 0))

    assert world.cancel(read).status is JobStatus.CANCELLED


def test_cancels_and_workers_at_once_leave_one_end() -> None:
    """I2, I6."""
    for _ in range(20):
        world = World()
        job = world.a_synthesizing_job(*SENTENCES)

        def work(worker: int, world: World = world, job: jobs.Job = job) -> None:
            if worker % 2:
                world.cancel(job)
            else:
                world.start(StartSegment(job.tenant, job.id, worker // 2))

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(work, range(6)))
        called = len(world.vendor.requests)
        world.run_with_sweeps(seconds=600)

        assert world.job().status is JobStatus.CANCELLED
        assert len(world.vendor.requests) == called
        assert len(world.bus.published) == 1
        assert is_settled(world)


def test_a_job_in_assembly_can_be_cancelled_and_its_assembler_gives_up() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    assembling = jobs.begin_assembly(job, now=world.clock.now(), due_at=world.clock.now())
    world.store.save(assembling)
    stored = segments.store(world.segment(), _kept(world), now=world.clock.now())
    world.store.save_segment(replace(stored))

    world.cancel(assembling)
    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.CANCELLED
    assert not world.results.objects


@pytest.mark.parametrize("days", [0, 13])
def test_a13_a_dead_letter_that_is_sent_again_days_later_leaves_a_cancelled_job_alone(days: int) -> None:
    """I15: its message changes nothing, nor does what closes dead letters."""
    world = World()
    job = world.a_synthesizing_job(*SENTENCES)
    cancelled = world.cancel(job)
    world.run()
    world.clock.advance(days * 86_400)

    for message in (
        StartSegment(job.tenant, job.id, 0),
        CheckSegment(job.tenant, job.id, 1, 1),
        AssembleAudio(job.tenant, job.id),
        DeliverEvent(job.tenant, job.id),
    ):
        world.handle(Sent("any", message))
        world.close(message.to_json(), "sqs-id")
    world.run_with_sweeps(seconds=120)

    assert world.job() == cancelled
    assert world.vendor.requests == []
    assert len(world.bus.published) == 1


def test_a13_a_dead_letter_that_is_sent_again_while_its_job_goes_on_is_done() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()
    world.clock.advance(1_800)

    world.handle(Sent("any", StartSegment(job.tenant, job.id, 0)))
    world.run_with_sweeps(seconds=120)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


def _kept(world: World) -> segments.SegmentAudio:
    from tests.fakes import some_audio

    return world.audio.put_audio(world.segment().audio_key, spoken(40), some_audio())
