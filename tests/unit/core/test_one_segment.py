"""From a pending segment to stored audio, and every way a vendor can spoil it."""

import json

import pytest

from speech.errors import (
    InputGone,
    StaleWrite,
    StoreUnavailable,
    VendorAmbiguous,
    VendorJobFailed,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorTextTooLong,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.jobs import JobStatus, Progress, begin_assembly
from speech.messages import AssembleAudio, StartSegment
from speech.segments import Outcome, SegmentStatus, store
from speech.settings import Settings
from speech.vendors.base import AudioReady
from tests.fakes import some_audio
from tests.support.world import World, is_settled, spoken

SENTENCE = "The sun is up and the birds are singing."


def test_a_vendor_that_answers_at_once_completes_the_job_with_one_call() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)

    world.run()

    done = world.job()
    assert done.status is JobStatus.COMPLETED
    assert done.cost is not None
    assert done.cost.vendor_calls == 1
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.SETTLED]
    assert {f"jobs/{job.id}.{suffix}" for suffix in ("mp3", "vtt", "srt", "manifest.json")} <= set(
        world.results.objects
    )


def test_a1_a_repeated_message_makes_no_second_call() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.dispatcher.start("scripted", [StartSegment(job.tenant, job.id, 0)] * 4)

    world.run()

    assert len(world.vendor.requests) == 1
    assert world.job().status is JobStatus.COMPLETED


def test_audio_that_is_already_there_costs_nothing() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.run()

    second = world.a_synthesizing_job(SENTENCE, id="job_0000000000000000000000000A")
    world.run()

    assert len(world.vendor.requests) == 1
    again = world.job(second.id)
    assert again.status is JobStatus.COMPLETED
    assert again.cost is not None
    assert again.cost.vendor_calls == 0


@pytest.mark.parametrize(
    "data",
    [b"", b'{"error": "no"}', b"<html>busy</html>", spoken(len(SENTENCE))[:-4000], spoken(len(SENTENCE), level=0.0)],
    ids=["empty", "json", "html", "truncated", "silent"],
)
def test_c8_a_200_that_is_not_good_audio_never_completes(data: bytes) -> None:
    world = World()
    world.vendor.starts = [AudioReady(data, "audio/wav")] * 10
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=600)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "vendor-misbehaved"
    assert len(world.vendor.requests) == world.settings.segment_attempts
    assert not world.results.objects.keys() & {f"jobs/{job.id}.mp3"}


def test_bad_audio_once_is_tried_again_and_completes() -> None:
    world = World()
    world.vendor.starts = [AudioReady(b"null", "audio/mpeg")]
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=60)

    assert world.job().status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.SETTLED, Outcome.SETTLED]


def test_c3_a_throttled_segment_returns_after_the_delay_the_vendor_asked_for() -> None:
    world = World()
    world.vendor.starts = [VendorThrottled("slow down", vendor="scripted", retry_after=42)] * 9
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=41)
    early = len(world.vendor.requests)
    world.run_with_sweeps(seconds=900)

    assert early == 1
    assert world.job().status is JobStatus.COMPLETED
    assert world.segment().calls == 1  # being turned away is not a purchase


def test_c4_an_unreachable_vendor_is_tried_a_few_times_and_then_the_job_fails() -> None:
    world = World()
    world.vendor.starts = [VendorUnavailable("503", vendor="scripted", vendor_status=503)] * 20
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=600)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "vendor-unavailable"
    assert len(world.vendor.requests) == 4
    assert {attempt.outcome for attempt in world.segment().attempts} == {Outcome.RELEASED}


def test_c2_an_answer_that_was_lost_is_asked_for_once_more_at_most_and_flagged() -> None:
    world = World()
    world.vendor.starts = [VendorAmbiguous("timeout", vendor="scripted")] * 20
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=600)

    assert world.job().status is JobStatus.FAILED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.AMBIGUOUS, Outcome.AMBIGUOUS]


def test_c5_a_refused_key_is_read_anew_once_and_then_the_job_waits() -> None:
    world = World()
    world.vendor.starts = [VendorUnauthorized("401", vendor="scripted")] * 2
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=1)
    waiting, reads = world.job().status, world.fresh_keys
    world.run(seconds=120)

    assert reads == 1
    assert waiting is JobStatus.SYNTHESIZING
    assert world.job().status is JobStatus.COMPLETED


def test_c7_a_job_without_credit_waits_and_ends_at_its_deadline_saying_so() -> None:
    world = World()
    world.vendor.starts = [VendorQuotaExhausted("no credit", vendor="scripted")] * 200
    world.a_synthesizing_job(SENTENCE)

    world.run_with_sweeps(seconds=3700)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "vendor-quota-exhausted"
    assert job.cost is not None
    assert job.cost.vendor_calls == 0


@pytest.mark.parametrize("error", [VendorRejected, VendorJobFailed])
def test_what_the_vendor_refuses_for_good_fails_the_job_at_once(error: type[VendorRejected]) -> None:
    world = World()
    world.vendor.starts = [error("no such voice", vendor="scripted", vendor_status=404)]
    world.a_synthesizing_job(SENTENCE)

    world.run()

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == error.code
    assert job.problem["vendor"] == "scripted"
    assert job.problem["job_id"] == job.id


def test_f1_when_one_segment_fails_no_other_is_started() -> None:
    world = World()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    world.a_synthesizing_job("One sentence for a start. ", "And another one after it. ", "And a third.")

    world.run(seconds=10)
    world.run_with_sweeps(seconds=600)

    assert world.job().status is JobStatus.FAILED
    assert len(world.vendor.requests) == 1
    assert is_settled(world)


def test_i20_a_call_that_was_refused_stays_so_where_others_move_its_job_at_the_same_moment() -> None:
    """It is not the segment's row that has moved: nobody was late, and nothing can have been billed."""
    world = World()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    world.a_synthesizing_job(SENTENCE)
    world.store.fail_next("finish", StaleWrite("The job has moved."), times=2)

    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.FAILED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.RELEASED]
    assert len(world.vendor.requests) == 1


def test_a14_a_message_for_a_job_that_is_gone_is_dropped() -> None:
    world = World()

    world.start(StartSegment("default", "job_00000000000000000000000000", 0))

    assert not world.vendor.requests


def test_i11_nothing_is_bought_for_a_job_that_has_ended() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.finish.fail_with(job, VendorMisbehaved("x", vendor="scripted"))

    world.run()

    assert not world.vendor.requests


def test_b4_b6_a_worker_that_dies_after_claiming_is_followed_by_another() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.vendor.starts = [KeyboardInterrupt()]  # dies as a killed process does

    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert world.segment().status is SegmentStatus.CALLING
    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.AMBIGUOUS, Outcome.SETTLED]


def test_b8_audio_that_was_stored_before_the_row_is_found_and_not_bought_again() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.audio.fail_next("put_audio", StoreUnavailable("after the effect"), after=True)

    with pytest.raises(StoreUnavailable):
        world.run()
    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


def test_i7_a_worker_that_was_paused_past_its_lease_changes_nothing() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    message = StartSegment(job.tenant, job.id, 0)
    world.dispatcher.take()
    original = world.vendor.start

    def paused(request: object, *, callback_url: str | None = None) -> AudioReady:
        world.vendor.start = original  # type: ignore[method-assign]  # only the first call is slow
        world.clock.advance(world.settings.lease_seconds + 1)
        world.sweep()
        world.run(seconds=30)  # another worker takes over and finishes
        return AudioReady(spoken(len(SENTENCE), level=0.1), "audio/wav")

    world.vendor.start = paused  # type: ignore[method-assign]  # a hook, not another vendor
    world.start(message)
    world.run(seconds=30)

    assert world.job().status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.AMBIGUOUS, Outcome.SETTLED]


def test_b2_a_lost_message_is_sent_again_by_the_sweep() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()  # lost

    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


def test_b11_a_counter_that_was_lost_does_not_keep_the_job_from_its_end() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE, "And the night was long.")
    world.store.fail_next("count", StoreUnavailable("lost"))

    with pytest.raises(StoreUnavailable):
        world.run()
    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 2


def test_the_only_segment_takes_its_job_along_in_one_write() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.store.fail_next("save", StoreUnavailable("not asked"))

    world.handle(world.dispatcher.take()[0])

    assert world.job().status is JobStatus.ASSEMBLING
    assert world.segment().status is SegmentStatus.STORED
    assert world.store.progress(job.tenant, job.id) == Progress(stored=1, calls=1)


def test_a_job_that_moved_while_its_only_segment_was_spoken_goes_on_all_the_same() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.store.fail_next("store_only", StaleWrite("the sweep postponed the job"))

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert world.store.progress(job.tenant, job.id) == Progress(stored=1, calls=1)


def test_a_long_queue_is_not_filled_with_copies_of_itself() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE, deadline_at=world.clock.now() + 40_000_000)
    world.dispatcher.take()

    sent = 0
    for _ in range(180):  # three hours in which nobody takes anything from the queue
        world.clock.advance(60)
        world.sweep()
        sent += len(world.dispatcher.take())

    assert sent <= 8


LONG = "One sentence stands here. Another one stands there. A third one follows. And a fourth one ends it."


def test_c21_a_text_that_is_longer_than_the_vendor_really_takes_is_cut_anew_once() -> None:
    world = World()
    world.vendor.starts = [VendorTextTooLong("too long", vendor="scripted")]
    job = world.a_synthesizing_job("Before it comes a first one. ", LONG, "After it comes a last one.")
    world.dispatcher.sent = world.dispatcher.sent[1:2] + world.dispatcher.sent[:1] + world.dispatcher.sent[2:]

    world.run(seconds=30)

    done = world.job()
    assert done.status is JobStatus.COMPLETED
    total = done.segments_total or 0
    assert total > 3
    manifest = json.loads(world.results.objects[f"jobs/{job.id}.manifest.json"].data)
    assert [each["index"] for each in manifest["segments"]] == list(range(total))
    said = world.results.objects[f"jobs/{job.id}.srt"].data.decode()
    assert said.index("Before") < said.index("One sentence") < said.index("fourth") < said.index("After")
    assert done.cost is not None
    assert done.cost.vendor_calls == total


def test_c21_two_segments_that_are_split_at_the_same_time_both_are() -> None:
    world = World()
    world.vendor.starts = [VendorTextTooLong("too long", vendor="scripted", limit=30)] * 2
    world.a_synthesizing_job(LONG + " ", LONG)

    world.run(seconds=30)

    assert world.job().status is JobStatus.COMPLETED
    assert (world.job().segments_total or 0) > 4


def test_c21_a_text_that_is_still_too_long_after_that_fails_with_the_reason() -> None:
    world = World()
    world.vendor.starts = [VendorTextTooLong("too long", vendor="scripted")] * 10
    world.a_synthesizing_job(LONG)

    world.run(seconds=30)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "vendor-text-too-long"


def test_a18_a_function_does_not_keep_sending_to_its_own_queue() -> None:
    world = World()
    world.vendor.starts = [VendorThrottled("slow down", vendor="scripted", retry_after=1)] * 100
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=3000)  # no sweep comes by

    assert len(world.vendor.requests) == 5
    assert world.segment().due_at is not None


@pytest.mark.parametrize("pieces", [97, 10_000])
def test_c21_a_vendor_that_claims_to_take_hardly_anything_fails_the_job(pieces: int) -> None:
    world = World()
    words = "word. " * pieces
    world.vendor.starts = [VendorTextTooLong("too long", vendor="scripted", limit=5)]
    world.a_synthesizing_job(words)

    world.run(seconds=30)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "vendor-text-too-long"


def test_b8_audio_that_was_stored_before_the_row_is_found_although_no_attempt_is_left() -> None:
    world = World(settings=Settings(callback_base_url="https://speech.example", segment_attempts=1))
    world.a_synthesizing_job(SENTENCE)
    world.audio.fail_next("put_audio", KeyboardInterrupt(), after=True)  # dies as a killed process does

    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1
    assert [attempt.outcome for attempt in world.segment().attempts] == [Outcome.AMBIGUOUS]


def test_f7_a_job_whose_text_was_erased_fails_at_once_and_buys_nothing() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.texts.texts.clear()

    world.run()

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    assert job.problem["code"] == "input-gone"
    assert not world.vendor.requests


def test_f7_a_job_whose_text_is_erased_before_its_assembly_fails_at_once() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.results.fail_next("put_file", StoreUnavailable("busy"))
    world.texts.fail_next("read_text", InputGone("erased"))
    job = world.job()
    world.store.put(begin_assembly(job, now=world.clock.now(), due_at=world.clock.now()))
    [sent] = world.dispatcher.take()
    segment = store(world.segment(), some_audio(), now=world.clock.now())
    world.store.put(segment)
    world.audio.objects[segment.audio_key] = (spoken(len(SENTENCE)), some_audio())

    world.assemble(AssembleAudio(job.tenant, job.id))

    ended = world.job()
    assert sent.queue == "scripted"
    assert ended.status is JobStatus.FAILED
    assert ended.problem is not None
    assert ended.problem["code"] == "input-gone"
