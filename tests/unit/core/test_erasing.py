"""A job that is erased: nothing of it stays but that it was there, and nobody else loses anything (F7, A14, T20)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from speech import jobs, segments
from speech.errors import JobNotFound, StoreUnavailable
from speech.jobs import Job, JobStatus, Source
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, StartSegment
from speech.segments import SegmentStatus
from speech.settings import TENANT
from speech.usecases import erase_job, sweep
from speech.usecases.cancel_job import CancelJob
from speech.vendors.base import AudioReady, StillWorking, SynthesisRequest
from tests.fakes import Sent, a_segment, some_audio
from tests.support.world import ScriptedVendor, World, spoken

TEXTS = ("The first part ends here. ", "A second one follows it. ", "And the third is the last.")
OTHER = "job_0000000000000000000000000A"
CANARY = "canary"


def a_completed_job(world: World, *texts: str, **changes: Any) -> Job:
    job = world.a_synthesizing_job(*(texts or TEXTS), **changes)
    world.run()
    done = world.job(job.id)
    assert done.status is JobStatus.COMPLETED
    return done


def after_the_sweep(world: World) -> None:
    world.run_with_sweeps(seconds=300)
    assert world.store.due(world.clock.now() + 10**12, 100) == []


def everything_kept(world: World) -> str:
    """All that rows, buckets and queues hold, as one text."""
    rows = [world.store._jobs, world.store._segments, world.store._deliveries, world.store._cleanups]
    return repr([rows, world.texts.texts, world.audio.objects, world.results.versions, world.dispatcher.sent])


def test_f7_text_audio_and_results_are_gone_when_the_answer_is_given() -> None:
    world = World()
    job = a_completed_job(world)
    assert world.results.objects
    assert world.audio.objects

    world.erase(job.tenant, job.id)

    assert not world.texts.texts
    assert not world.audio.objects
    assert not world.results.objects
    assert not any(world.results.versions.values())


def test_f7_nothing_of_what_it_was_about_is_kept_anywhere() -> None:
    world = World()
    job = a_completed_job(
        world,
        f"The {CANARY} sings. ",
        metadata={CANARY: CANARY},
        webhook_url=f"https://{CANARY}.example/hook",
        request_id=CANARY,
        request_digest=CANARY,
        source=Source("upload", "texts", f"{CANARY}.txt", "v1"),
    )
    assert CANARY in everything_kept(world)

    world.erase(job.tenant, job.id)
    after_the_sweep(world)

    tombstone = world.job(job.id)
    assert CANARY not in everything_kept(world)
    assert (tombstone.status, tombstone.erased_at is not None) == (JobStatus.COMPLETED, True)
    assert tombstone.cost == job.cost
    assert list(world.store.segments(job.tenant, job.id)) == []


def test_f7_every_version_of_its_results_goes_and_none_of_another_jobs() -> None:
    """T20: an assembly that was done twice, and an earlier version of the same file."""
    world = World()
    source = Source("upload", "texts", "a.txt", "v1")
    world.results.put_bytes("a.txt.mp3", b"earlier", content_type="audio/mpeg", metadata={"job-id": OTHER})
    job = world.a_synthesizing_job(*TEXTS, source=source)
    world.store.fail_next("finish", StoreUnavailable("died"))
    with pytest.raises(StoreUnavailable):
        world.run()
    world.run_with_sweeps(seconds=300)
    assert len(world.results.versions["a.txt.mp3"]) == 3

    world.erase(job.tenant, job.id)

    assert [each.data for each in world.results.versions["a.txt.mp3"]] == [b"earlier"]
    assert world.results.objects.keys() == {"a.txt.mp3"}


def test_f7_the_error_page_of_a_failed_drop_goes() -> None:
    world = World()
    world.vendor.starts = [AudioReady(b"null", "audio/mpeg")] * 10
    job = world.a_synthesizing_job(*TEXTS, source=Source("upload", "texts", "a.txt", "v1"))
    world.run(seconds=600)
    assert set(world.results.objects) == {"a.txt.error.md"}

    world.erase(job.tenant, job.id)

    assert not world.results.objects


def test_f7_audio_that_another_job_shares_stays_and_goes_with_the_last() -> None:
    world = World()
    first = a_completed_job(world, *TEXTS)
    second = a_completed_job(world, TEXTS[0], id=OTHER, text_id=OTHER)
    assert len(world.vendor.requests) == 3

    world.erase(first.tenant, first.id)
    after_the_sweep(world)
    shared = set(world.audio.objects)
    world.erase(second.tenant, second.id)

    assert shared == {f"key-0-{TEXTS[0]}"}
    assert not world.audio.objects


def test_f7_of_two_that_are_erased_at_once_neither_keeps_what_only_they_share() -> None:
    for _ in range(20):
        world = World()
        both = [a_completed_job(world, *TEXTS), a_completed_job(world, *TEXTS, id=OTHER, text_id=OTHER)]

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda job, world=world: world.erase(job.tenant, job.id), both * 2))
        after_the_sweep(world)

        assert not world.audio.objects


def test_f7_a_second_erasure_changes_nothing() -> None:
    world = World()
    job = a_completed_job(world)
    world.erase(job.tenant, job.id)
    tombstone = world.job(job.id)

    world.erase(job.tenant, job.id)
    after_the_sweep(world)
    world.erase(job.tenant, job.id)

    assert world.job(job.id) == tombstone


def test_a_job_that_nobody_knows_cannot_be_erased() -> None:
    with pytest.raises(JobNotFound):
        World().erase(TENANT, OTHER)


def test_f7_a_job_that_goes_on_is_cancelled_first_and_buys_nothing_more() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)

    world.erase(job.tenant, job.id)
    after_the_sweep(world)

    assert world.job().status is JobStatus.CANCELLED
    assert world.vendor.requests == []
    assert not world.texts.texts


class ErasedMeanwhile(ScriptedVendor):
    """While it speaks, somebody erases the job."""

    world: World

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        self.world.erase(TENANT, self.world.job().id)
        return super().start(request, callback_url=callback_url)


def test_f7_what_a_worker_puts_back_that_was_at_work_is_taken_away_later() -> None:
    world = World(vendor=ErasedMeanwhile())
    world.vendor.world = world  # type: ignore[attr-defined]  # this vendor's own
    world.a_synthesizing_job(TEXTS[0])
    world.run()
    put_back = set(world.audio.objects)

    after_the_sweep(world)

    assert put_back
    assert not world.audio.objects
    assert list(world.store.segments(TENANT, world.job().id)) == []


def test_f7_a_long_job_is_erased_a_bounded_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erase_job, "SEGMENTS_AT_ONCE", 10)
    monkeypatch.setattr(sweep, "SEGMENTS_PER_CLEANUP", 30)
    world = World()
    job = world.a_synthesizing_job(*(f"Sentence {number}. " for number in range(100)), status=JobStatus.CANCELLED)
    world.dispatcher.take()
    for row in list(world.store.segments(job.tenant, job.id)):
        facts = world.audio.put_audio(row.audio_key, spoken(10), some_audio())
        world.store.put(segments.store(row, facts, now=world.clock.now()))

    world.erase(job.tenant, job.id)
    left = [len(world.audio.objects)]
    world.clock.advance(200)
    for _ in range(5):
        world.sweep()
        left.append(len(list(world.store.segments(job.tenant, job.id))))

    assert left == [90, 70, 40, 10, 0, 0]
    assert not world.audio.objects
    assert world.store.cleanup(job.tenant, job.id) is None


CUTS = (
    ("results", "erase"),
    ("texts", "erase_texts"),
    ("audio", "erase_audio"),
    ("store", "erase"),
    ("store", "audio_of"),
    ("store", "users_of"),
    ("store", "save_cleanup"),
    ("store", "drop_segments"),
    ("store", "drop_cleanup"),
)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("store", "method"), CUTS)
def test_b14_an_erasure_that_is_cut_off_anywhere_is_finished_all_the_same(store: str, method: str, after: bool) -> None:
    """F7: by the client that asks again, or by the sweep once the tombstone is there."""
    world = World()
    job = a_completed_job(world)
    getattr(world, store).fail_next(method, StoreUnavailable("busy"), after=after)

    try:
        world.erase(job.tenant, job.id)
    except StoreUnavailable:
        if world.job(job.id).erased_at is None:
            world.erase(job.tenant, job.id)
    after_the_sweep(world)

    assert world.job(job.id).erased_at is not None
    assert not world.texts.texts
    assert not world.audio.objects
    assert not any(world.results.versions.values())
    assert list(world.store.segments(job.tenant, job.id)) == []


def test_b14_two_sweeps_at_once_finish_an_erasure_together() -> None:
    for _ in range(10):
        world = World()
        job = a_completed_job(world)
        world.erase(job.tenant, job.id)
        world.clock.advance(200)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _, world=world: world.sweep(), range(4)))
        after_the_sweep(world)

        assert world.store.cleanup(job.tenant, job.id) is None
        assert list(world.store.segments(job.tenant, job.id)) == []


@pytest.mark.parametrize(
    "message",
    [
        StartSegment(TENANT, OTHER, 0),
        CheckSegment(TENANT, OTHER, 0, 1),
        CheckSegment(TENANT, OTHER, 0, 1, hint="vendor-job-1"),
        AssembleAudio(TENANT, OTHER),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a14_a_message_for_an_erased_job_is_taken_and_brings_nothing_back(message: Any) -> None:
    world = World()
    job = a_completed_job(world, id=OTHER, text_id=OTHER)
    world.erase(job.tenant, job.id)
    tombstone, calls = world.job(job.id), len(world.vendor.requests)

    world.handle(Sent("any", message))
    world.close(message.to_json(), "sqs-id")
    after_the_sweep(world)
    world.handle(Sent("any", message))
    world.close(message.to_json(), "sqs-id")

    assert world.job(job.id) == tombstone
    assert len(world.vendor.requests) == calls
    assert not world.results.objects


def test_f7_the_end_of_a_job_that_was_erased_is_told_without_a_word_of_it() -> None:
    world = World()
    job = world.a_synthesizing_job(
        TEXTS[0], metadata={"title": CANARY}, webhook_url="https://customer.example/hook", request_id=CANARY
    )
    world.erase(job.tenant, job.id)

    world.run_with_sweeps(seconds=600)

    ((title, detail),) = world.bus.published
    assert (title, detail["id"], detail["status"]) == ("Job Cancelled", job.id, "cancelled")
    assert CANARY not in repr(world.bus.published)
    assert world.webhooks.sent == []


def test_f7_a_webhook_that_was_still_to_be_called_is_forgotten_and_the_event_is_not_told_twice() -> None:
    world = World()
    world.webhooks.answers = [500] * 20
    job = a_completed_job(world, webhook_url="https://customer.example/hook")
    tried = len(world.webhooks.sent)
    assert tried

    world.erase(job.tenant, job.id)
    world.deliver(DeliverEvent(job.tenant, job.id))
    after_the_sweep(world)

    assert len(world.webhooks.sent) == tried
    assert len(world.bus.published) == 1


def test_f7_a_job_that_counted_on_shared_audio_which_is_gone_has_it_spoken_anew() -> None:
    """It was found in the store by the one, and erased with the other before the parts were joined."""
    world = World()
    first = a_completed_job(world, *TEXTS)
    second = world.a_synthesizing_job(*TEXTS, "A new end. ", id=OTHER, text_id=OTHER)
    starts = [sent for sent in world.dispatcher.take() if isinstance(sent.message, StartSegment)]
    for sent in starts:
        world.handle(sent)
    assert len(world.vendor.requests) == 4

    # The index is read late: it shows the second job's rows only once they are gone with the audio.
    world.store.users_of = lambda audio_key: iter([])  # type: ignore[method-assign]  # an index that lags behind
    world.erase(first.tenant, first.id)
    world.run_with_sweeps(seconds=600)

    done = world.job(second.id)
    assert done.status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 7
    assert done.cost is not None
    assert done.cost.vendor_calls == 4
    assert {row.status for row in world.store.segments(TENANT, second.id)} == {SegmentStatus.STORED}


def test_audio_that_is_gone_again_and_again_ends_the_job_with_a_reason() -> None:
    world = World()
    job = world.a_synthesizing_job(TEXTS[0])
    put = world.audio.put_audio

    def put_and_lose(audio_key: str, data: bytes, audio: segments.SegmentAudio) -> segments.SegmentAudio:
        kept = put(audio_key, data, audio)
        world.audio.erase_audio([audio_key])
        return kept

    world.audio.put_audio = put_and_lose  # type: ignore[method-assign]  # a store that keeps nothing

    world.run_with_sweeps(seconds=3_000)

    assert world.job(job.id).status is JobStatus.FAILED
    assert len(world.vendor.requests) == world.settings.segment_attempts


def test_b14_a_return_to_synthesis_that_is_cut_off_is_done_again() -> None:
    world = World()
    world.a_synthesizing_job(*TEXTS)
    for sent in [sent for sent in world.dispatcher.take() if isinstance(sent.message, StartSegment)]:
        world.handle(sent)
    world.audio.erase_audio([world.segment(1).audio_key])
    world.store.fail_next("save_segment", StoreUnavailable("busy"))

    with pytest.raises(StoreUnavailable):
        world.run()
    world.run_with_sweeps(seconds=900)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 4


@pytest.mark.parametrize("is_taken", [False, True])
def test_b14_an_assembly_that_began_before_the_loss_was_written_down_goes_back_again(is_taken: bool) -> None:
    """The sweep counted the rows between the two steps of a return to synthesis."""
    world = World()
    job = a_completed_job(world)
    rows = list(world.store.segments(TENANT, job.id))
    lost = segments.lose(rows[1], now=world.clock.now())
    if is_taken:  # by a worker that died
        lost = segments.claim(lost, now=world.clock.now(), lease_ms=1)
    world.audio.erase_audio([lost.audio_key])
    world.store._deliveries.clear()
    world.store.put(replace(job, status=JobStatus.ASSEMBLING, result=None, due_at=world.clock.now()), lost)

    world.run_with_sweeps(seconds=900)

    assert world.job(job.id).status is JobStatus.COMPLETED
    assert {row.status for row in world.store.segments(TENANT, job.id)} == {SegmentStatus.STORED}


def test_f7_of_two_who_erase_at_once_both_are_told_that_it_is_gone() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)
    erase, cancel = world.erase, world.cancel

    class SlowCancel(CancelJob):
        def __call__(self, job: Job) -> Job:
            erase(TENANT, job.id)
            return cancel(job)

    replace(erase, cancel=SlowCancel(world.store, world.finish))(TENANT, job.id)

    assert world.job(job.id).erased_at is not None


def test_only_stored_audio_can_be_lost() -> None:
    from speech.errors import IllegalTransition

    with pytest.raises(IllegalTransition):
        segments.lose(a_segment(), now=0)


def test_only_a_job_that_has_ended_can_be_erased() -> None:
    from speech.errors import IllegalTransition

    world = World()
    job = world.a_synthesizing_job(TEXTS[0])
    with pytest.raises(IllegalTransition):
        jobs.erase(job, now=0)
    with pytest.raises(IllegalTransition):
        jobs.resume_synthesis(replace(job, status=JobStatus.COMPLETED), now=0)
