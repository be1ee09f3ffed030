"""Dead letters end in a decision; the sweep goes on whatever one row does."""

import json

import pytest

from speech.errors import CorruptRow, StoreUnavailable
from speech.jobs import JobStatus
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, StartSegment
from speech.vendors.base import StillWorking
from tests.fakes import a_job
from tests.support.world import CallbackVendor, World

SENTENCE = "The sun is up and the birds are singing."


def test_i15_a_dead_message_closes_its_job() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()

    world.close(StartSegment(job.tenant, job.id, 0).to_json(), "sqs-id")

    ended = world.job()
    assert ended.status is JobStatus.FAILED
    assert ended.problem is not None
    assert ended.problem["code"] == "processing-failed"


def test_a13_a_dead_message_of_an_ended_job_changes_nothing() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.run()

    world.close(DeliverEvent(job.tenant, job.id).to_json(), "sqs-id")

    assert world.job().status is JobStatus.COMPLETED


@pytest.mark.parametrize("body", ["", "null", "[]", "{", "[" * 100_000, '{"text": "hello"}'])
def test_a_dead_request_becomes_a_refused_job(body: str) -> None:
    world = World()

    world.close(body, "sqs-id")

    assert world.refused == [body]


def test_a_dead_upload_notice_becomes_a_refused_job() -> None:
    world = World()
    body = json.dumps({"Records": [{"eventSource": "aws:s3"}]})

    world.close(body, "sqs-id")

    assert world.refused == [body]


def test_an_envelope_of_another_release_is_counted_and_dropped() -> None:
    world = World()

    world.close('{"v": 99, "tenant": "default", "job_id": "job_x", "segment": 0}', "sqs-id")

    assert not world.refused


def test_an_accepted_job_whose_worker_died_is_taken_up_again() -> None:
    world = World()
    world.store.put(a_job(due_at=world.clock.now() - 1))

    world.sweep()

    assert [job.id for job in world.resumed] == [world.job().id]


def test_e12_a_row_that_nobody_can_read_is_quarantined_and_the_others_go_on() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()
    world.clock.advance(200)
    world.store.fail_next("job_and_segment", CorruptRow("unreadable"))

    world.sweep()
    world.run_with_sweeps(seconds=600)

    assert world.sweep() >= 0
    assert "quarantine" in world.store.calls


def test_b14_a_sweep_that_dies_leaves_the_rest_to_the_next() -> None:
    world = World()
    world.a_synthesizing_job("First one here. ", "Second one here. ", "Third one here.")
    world.dispatcher.take()
    world.clock.advance(200)
    world.store.fail_next("save_segment", StoreUnavailable("busy"))

    world.sweep()
    world.run_with_sweeps(seconds=900)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 3


def test_i14_a_job_that_waits_for_nothing_ends_at_its_deadline() -> None:
    world = World()
    world.store.put(a_job(status=JobStatus.SYNTHESIZING, deadline_at=world.clock.now() + 1000))

    world.clock.advance(2)
    world.sweep()

    ended = world.job()
    assert ended.status is JobStatus.FAILED
    assert ended.problem is not None
    assert ended.problem["code"] == "deadline-exceeded"


def test_e12_a_job_with_a_segment_nobody_can_read_still_ends() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()
    world.store.fail_next("segments", CorruptRow("A row of this job cannot be read."), times=2)
    world.clock.advance(61)

    world.sweep()

    ended = world.job()
    assert ended.status is JobStatus.FAILED
    assert ended.problem is not None
    assert ended.problem["code"] == "corrupt-row"


def test_i15_a_dead_message_about_what_was_done_after_all_closes_nothing() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, SENTENCE + " And so on.")
    world.dispatcher.sent = world.dispatcher.sent[:1]
    world.run()

    world.close(StartSegment(job.tenant, job.id, 0).to_json(), "sqs-id")

    assert world.job().status is JobStatus.SYNTHESIZING


@pytest.mark.parametrize(("attempt", "hint"), [(1, "anything a callback said"), (7, None)])
def test_d6_a_dead_check_that_a_callback_asked_for_or_of_an_old_attempt_closes_nothing(
    attempt: int, hint: str | None
) -> None:
    world = World(vendor=CallbackVendor())
    world.vendor.starts = [StillWorking("vendor-job-1", check_after=5)]
    job = world.a_synthesizing_job(SENTENCE)
    world.run()

    world.close(CheckSegment(job.tenant, job.id, 0, attempt=attempt, hint=hint).to_json(), "sqs-id")

    assert world.job().status is JobStatus.SYNTHESIZING
    world.close(CheckSegment(job.tenant, job.id, 0, attempt=1).to_json(), "sqs-id")
    assert world.job().status is JobStatus.FAILED


def test_i15_a_dead_assembly_leaves_one_that_is_under_way_alone() -> None:
    world = World()
    now = world.clock.now()
    job = a_job(status=JobStatus.ASSEMBLING, lease_token="somebody", lease_until=now + 1_000, due_at=now + 1_000)
    world.store.put(job)
    letter = AssembleAudio(job.tenant, job.id).to_json()

    world.close(letter, "sqs-id")
    assert world.job().status is JobStatus.ASSEMBLING

    world.clock.advance(2)
    world.close(letter, "sqs-id")
    assert world.job().status is JobStatus.FAILED


@pytest.mark.parametrize("index", ["0", -1, 5, None, 1e999, {}])
def test_i15_a_dead_message_with_nonsense_in_it_closes_its_job(index: object) -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)

    world.close(json.dumps({"v": 1, "tenant": job.tenant, "job_id": job.id, "segment": index}), "sqs-id")

    assert world.job().status is JobStatus.FAILED


def test_i15_a_dead_assembly_leaves_a_job_alone_that_went_back_to_synthesis() -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE)

    world.close(AssembleAudio(job.tenant, job.id).to_json(), "sqs-id")
    world.run()

    assert world.job().status is JobStatus.COMPLETED
