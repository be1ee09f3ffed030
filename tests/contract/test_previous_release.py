"""Deploys with work in flight: messages and rows as earlier releases wrote them are read; newer messages wait (E11).

`tests/recorded/<date>/` holds what the code of that day wrote. Those files never change; a release that
writes something new gets a folder of its own.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speech import jobs, segments
from speech.aws.clients import Clients
from speech.aws.dynamo import DynamoJobStore
from speech.errors import InvalidRequest
from speech.jobs import JobStatus, Preview, Progress
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, Message, StartSegment
from speech.segments import Outcome, SegmentStatus
from speech.settings import TENANT
from tests.fakes import JOB_ID, NOW, FakeClock, Sent
from tests.fakes.aws import TABLE, create_table, in_process_aws
from tests.support.edge import Context, event, function
from tests.support.world import CallbackVendor, World

RECORDED = sorted((Path(__file__).resolve().parents[1] / "recorded").iterdir())
KINDS: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (StartSegment, CheckSegment, AssembleAudio, DeliverEvent)
}
WORKERS = {
    "start_segment": StartSegment(TENANT, JOB_ID, 0),
    "check_segment": CheckSegment(TENANT, JOB_ID, 0, 1),
    "assemble_audio": AssembleAudio(TENANT, JOB_ID),
    "deliver_event": DeliverEvent(TENANT, JOB_ID),
}
SENTENCE = "The sun is up and the birds are singing."


def recorded_messages() -> list[Any]:
    return [
        pytest.param(each["kind"], each["body"], id=f"{folder.name}-{number}-{each['kind']}")
        for folder in RECORDED
        for number, each in enumerate(json.loads((folder / "messages.json").read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize(("kind", "body"), recorded_messages())
def test_e11_a_message_of_an_earlier_release_is_read_and_done(kind: str, body: str) -> None:
    """Whatever it asks for, the job that it is about goes on and ends, with one purchase."""
    world = World(vendor=CallbackVendor())
    world.a_synthesizing_job(SENTENCE)
    world.dispatcher.take()
    message = KINDS[kind].from_json(body)

    world.handle(Sent("any", message))
    world.run_with_sweeps(seconds=600)

    assert (message.tenant, message.job_id) == (TENANT, JOB_ID)
    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


@pytest.mark.parametrize(("kind", "body"), recorded_messages())
def test_e11_a_dead_letter_of_an_earlier_release_ends_in_a_decision(kind: str, body: str) -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)

    world.close(body, "sqs-id")

    # What the others asked for was overtaken: the call was never made, the job has no audio yet, or has not ended.
    assert world.job().is_terminal is (kind == "StartSegment")
    world.run_with_sweeps(seconds=600)
    assert world.job().is_terminal


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_kind_of_message_was_recorded(kind: type[Message]) -> None:
    names = {
        each["kind"]
        for folder in RECORDED
        for each in json.loads((folder / "messages.json").read_text(encoding="utf-8"))
    }

    assert kind.__name__ in names


@pytest.mark.parametrize("kind", KINDS.values())
def test_e11_a_message_of_a_later_release_is_not_taken_for_one_of_ours(kind: type[Message]) -> None:
    later = json.dumps({"v": 99, "tenant": TENANT, "job_id": JOB_ID, "segment": 0, "attempt": 1, "colour": "red"})

    with pytest.raises(InvalidRequest, match="version"):
        kind.from_json(later)


@pytest.mark.parametrize("folder", WORKERS)
@pytest.mark.filterwarnings("ignore:No application metrics:UserWarning")
def test_e11_after_a_rollback_a_message_of_the_later_release_goes_back_to_its_queue(folder: str) -> None:
    """It is not acknowledged: either the later release comes back, or the rows come due and are sent anew."""
    later = {**json.loads(WORKERS[folder].to_json()), "v": 99}
    sent = event(folder)
    sent["Records"][0]["body"] = json.dumps(later)

    answer = function(folder).handler(sent, Context())

    assert answer == {"batchItemFailures": [{"itemIdentifier": sent["Records"][0]["messageId"]}]}


# --- Rows ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        create_table(clients.dynamodb)
        yield clients


@pytest.fixture(params=RECORDED, ids=lambda folder: folder.name)
def rows(request: pytest.FixtureRequest) -> dict[str, list[dict[str, Any]]]:
    loaded: dict[str, list[dict[str, Any]]] = json.loads((request.param / "rows.json").read_text(encoding="utf-8"))
    return loaded


def a_table_with(aws: Clients, rows: list[dict[str, Any]]) -> DynamoJobStore:
    for row in aws.dynamodb.scan(TableName=TABLE)["Items"]:
        aws.dynamodb.delete_item(TableName=TABLE, Key={"pk": row["pk"], "sk": row["sk"]})
    for row in rows:
        aws.dynamodb.put_item(TableName=TABLE, Item=row)
    return DynamoJobStore(aws.dynamodb, TABLE, clock=FakeClock())


def test_e11_a_job_under_way_is_read_as_it_was_written_and_goes_on(
    aws: Clients, rows: dict[str, list[dict[str, Any]]]
) -> None:
    store = a_table_with(aws, rows["synthesizing"])

    job, waiting = store.job_and_segment(TENANT, JOB_ID, 0)
    retried = store.segment(TENANT, JOB_ID, 1)

    assert job is not None
    assert waiting is not None
    assert retried is not None
    assert job.spec is not None
    assert (job.status, job.spec.vendor, job.metadata) == (JobStatus.SYNTHESIZING, "playht", {"title": "Grüße"})
    assert (job.source.key, job.request_digest, job.segments_total) == ("a/b ü.txt", "00ff", 2)
    assert (waiting.status, waiting.vendor_job_id, waiting.sounds) == (SegmentStatus.WAITING, "vendor-job-1", 10)
    assert [(each.number, each.outcome, each.credits) for each in retried.attempts] == [(1, Outcome.AMBIGUOUS, 0.1)]
    assert (retried.problem or {})["code"] == "vendor-unavailable"
    store.save(jobs.postpone(job, due_at=NOW + 60_000))


def test_e11_a_job_that_is_assembled_while_the_release_changes_is_taken_over(
    aws: Clients, rows: dict[str, list[dict[str, Any]]]
) -> None:
    store = a_table_with(aws, rows["assembling"])

    job = store.get(TENANT, JOB_ID)
    stored = list(store.segments(TENANT, JOB_ID))

    assert job is not None
    assert store.progress(TENANT, JOB_ID) == Progress(stored=2, calls=3)
    assert [(row.status, row.audio.container if row.audio else None) for row in stored] == [
        (SegmentStatus.STORED, "wav")
    ] * 2
    assert jobs.cost_of(stored).vendor_calls == 3
    later = NOW + 1_000_000
    store.save(jobs.lease_assembly(job, token="another", now=later, lease_ms=1_000))


def test_e11_an_ended_job_shows_its_result_and_is_still_told(
    aws: Clients, rows: dict[str, list[dict[str, Any]]]
) -> None:
    store = a_table_with(aws, rows["completed"])

    job, delivery = store.job_and_delivery(TENANT, JOB_ID)

    assert job is not None
    assert job.result is not None
    assert delivery is not None
    assert (job.status, job.result.versions) == (JobStatus.COMPLETED, {"mp3": "v1", "vtt": "v2", "srt": "v3"})
    assert (delivery.webhook, delivery.published) == ("https://customer.example/hook", False)
    assert store.latest_upload(TENANT, "voicedrop-texts", "a/b ü.txt") == JOB_ID
    key = store.api_key(TENANT, "k1")
    assert key is not None
    assert key.scopes == ("jobs:write", "jobs:read")


MEANT = {
    "2026-11-20": ({}, None, False, None, None),
    "2026-11-20-takes": ({}, None, False, None, None),
    "2026-11-20-finished": ({"Grüße": "Gruesse"}, -16.0, True, 1, NOW + 5_000),
}
"""Lexicon, loudness, trimming, what was rendered, and when the last segment was stored."""


@pytest.mark.parametrize("rows", [folder for folder in RECORDED if folder.name in MEANT], indirect=True)
def test_e11_a_job_is_finished_as_the_release_that_took_it_meant_it(
    aws: Clients, rows: dict[str, list[dict[str, Any]]], request: pytest.FixtureRequest
) -> None:
    """A release that knew no lexicon, no loudness and no trimming promised none; what one has promised is kept."""
    store = a_table_with(aws, rows["completed"])

    job = store.get(TENANT, JOB_ID)

    assert job is not None
    assert job.spec is not None
    last_at = store.progress(TENANT, JOB_ID).last_at
    kept = (job.spec.lexicon, job.spec.loudness, job.spec.trim_silence, job.rendered, last_at)
    assert kept == MEANT[request.node.callspec.params["rows"].name]


def test_e11_a_refused_job_keeps_its_problem(aws: Clients, rows: dict[str, list[dict[str, Any]]]) -> None:
    store = a_table_with(aws, rows["refused"])

    job = store.get(TENANT, JOB_ID)

    assert job is not None
    assert (job.status, job.spec, (job.problem or {})["code"]) == (JobStatus.FAILED, None, "not-text")


def test_e11_a_claim_holds_and_a_job_of_before_there_were_claims_makes_one(
    aws: Clients, rows: dict[str, list[dict[str, Any]]]
) -> None:
    store = a_table_with(aws, rows["synthesizing"])
    job, retried = store.job_and_segment(TENANT, JOB_ID, 1)
    assert job is not None
    assert retried is not None
    other = replace(retried, index=2, audio_key="0" * 64, rev=1)
    store.add_segments([other])
    is_claimed = any(row["sk"]["S"] == "claim" for row in rows["synthesizing"])

    rival = store.claim_audio(segments.claim(other, now=NOW, lease_ms=1_000), until=job.deadline_at)

    assert (rival is not None) is is_claimed
    assert rival is None or (rival.job_id, rival.segment) == (JOB_ID, 0)
    assert store.claim_audio(segments.claim(retried, now=NOW, lease_ms=1_000), until=job.deadline_at) is None


def test_e11_a_job_of_before_there_were_previews_speaks_the_whole(
    aws: Clients, rows: dict[str, list[dict[str, Any]]]
) -> None:
    store = a_table_with(aws, rows["synthesizing"])

    job = store.get(TENANT, JOB_ID)

    assert job is not None
    assert job.preview in (None, Preview(30, segments=412, characters=198_204))
    assert (job.preview is None) is not any("preview" in row for row in rows["synthesizing"])


def test_e11_what_is_overdue_of_an_earlier_release_comes_due(
    aws: Clients, rows: dict[str, list[dict[str, Any]]]
) -> None:
    store = a_table_with(aws, rows["synthesizing"])

    kinds = {(due.kind, due.segment) for due in store.due(NOW + 10**6, 100)}

    assert kinds == {("job", None), ("segment", 0), ("segment", 1)}
