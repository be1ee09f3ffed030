"""Messages: every one a job, also the bad ones, and each only once (A5, A11)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.aws.rows import encode
from speech.errors import StoreUnavailable
from speech.jobs import Job, JobStatus
from tests.support.edge import Edge, event

MESSAGE_ID = "059f36b4-87a3-44ab-83d2-661975830a7d"


def send(edge: Edge, message_id: str = MESSAGE_ID, **fields: Any) -> Job:
    edge.ingest_message(json.dumps({"text": "Hello there.", **fields}), message_id)
    return edge.store.jobs()[-1]


def code(job: Job) -> str:
    assert job.status is JobStatus.FAILED
    assert job.problem is not None
    return str(job.problem["code"])


def test_the_sample_message_is_a_job(edge: Edge) -> None:
    answer = edge.call("ingest_message", event("request_message"))

    job = edge.only_job()
    assert answer == {"batchItemFailures": []}
    assert (job.status, job.source.type, job.request_id) == (JobStatus.SYNTHESIZING, "message", "cms-4711-v3")
    assert job.metadata == {"article": "4711"}
    assert job.spec is not None
    assert job.spec.format == "wav"
    assert edge.texts.texts["default", job.text_id] == b"The harbour master counts the boats home."


def test_a_message_is_known_by_its_request_id_whatever_sqs_calls_it(edge: Edge) -> None:
    first = send(edge, "m1", request_id="order-1")

    again = send(edge, "m2", request_id="order-1")

    assert again == first
    assert edge.store.jobs() == [first]
    assert len(edge.dispatcher.sent) == 1


def test_a_message_without_a_request_id_is_known_by_what_sqs_calls_it(edge: Edge) -> None:
    job = send(edge, "m1")
    send(edge, "m1")
    send(edge, "m2")

    assert job.request_id == "m1"
    assert len(edge.store.jobs()) == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "not-json"),
        ("hello", "not-json"),
        ('{"text": "x", "text": "y"}', "not-json"),
        ("[" * 1_000, "not-json"),
        ("\ud800", "not-json"),
        ("null", "invalid-request"),
        ("[]", "invalid-request"),
        ("{}", "invalid-request"),
        ('{"text": 1}', "invalid-request"),
        ('{"text": "Hello.", "colour": "red"}', "invalid-request"),
        ('{"text": " "}', "empty-text"),
        ('{"text": "Hello.", "vendor": "nobody"}', "unknown-vendor"),
        ('{"text": "Hello.", "vendor": "convai", "speed": 2}', "unsupported-option"),
        ('{"text": "Hello.", "request_id": ""}', "invalid-request"),
        ('{"text": "Hello.", "request_id": 5}', "invalid-request"),
        (json.dumps({"text": "Hello.", "request_id": "x" * 129}), "invalid-request"),
    ],
)
def test_a_message_that_is_no_request_is_a_failed_job_at_first_sight(edge: Edge, body: str, expected: str) -> None:
    """A11"""
    edge.ingest_message(body, MESSAGE_ID)
    edge.ingest_message(body, MESSAGE_ID)

    job = edge.only_job()
    assert code(job) == expected
    assert (job.request_id, job.source.type) == (MESSAGE_ID, "message")
    assert len(edge.dispatcher.on("deliveries")) == 1


def test_a_bad_message_that_names_itself_is_found_under_that_name(edge: Edge) -> None:
    job = send(edge, request_id="order-1", format="aac")

    assert (code(job), job.request_id) == ("invalid-request", "order-1")
    assert edge.read_job.by_request_id("default", "order-1") == [job]


def test_what_can_be_understood_of_a_refused_message_is_kept(edge: Edge) -> None:
    job = send(edge, text="...", metadata={"a": "b"}, webhook_url="https://example.com/hook")

    assert code(job) == "empty-text"
    assert (job.metadata, job.webhook_url) == ({"a": "b"}, "https://example.com/hook")


@given(
    st.text(max_size=100) | st.dictionaries(st.sampled_from(["text", "voice", "request_id"]), st.text()).map(json.dumps)
)
def test_any_message_ends_as_one_job(body: str) -> None:
    """A11"""
    edge = Edge()

    edge.ingest_message(body, MESSAGE_ID)

    assert edge.only_job().request_id


def test_a_store_that_is_busy_sends_the_message_back(edge: Edge) -> None:
    """A15"""
    edge.texts.fail_next("put_text", StoreUnavailable("busy"))

    answer = edge.call("ingest_message", event("request_message"))

    assert answer == {"batchItemFailures": [{"itemIdentifier": MESSAGE_ID}]}
    assert edge.store.jobs() == []


def test_a_message_that_failed_every_time_ends_as_a_failed_job(edge: Edge) -> None:
    edge.ingest_message.give_up('{"text": "Hello.", "request_id": "order-1"}', MESSAGE_ID)
    edge.ingest_message.give_up("not json", "m2")

    named, nameless = edge.store.jobs()
    assert (code(named), named.request_id) == ("processing-failed", "order-1")
    assert (code(nameless), nameless.request_id) == ("processing-failed", "m2")


def test_a_message_that_is_a_job_already_is_left_alone_when_it_dies(edge: Edge) -> None:
    """A13"""
    job = send(edge, request_id="order-1")

    edge.ingest_message.give_up('{"text": "Hello.", "request_id": "order-1"}', "m9")

    assert edge.store.jobs() == [job]


@pytest.mark.parametrize(
    "options", [{}, {"vendor_options": {f"option-{number}" + "x" * 300: 1 for number in range(400)}}]
)
def test_a11_a_message_with_thousands_of_mistakes_is_a_failed_job_of_ordinary_size(
    edge: Edge, options: dict[str, Any]
) -> None:
    unknown: dict[str, Any] = {} if options else {f"field-{number}": 1 for number in range(5_000)}

    job = send(edge, **unknown, **options)

    assert code(job) in ("invalid-request", "unsupported-option")
    encode(job)  # raises for what does not fit into a row
    assert job.problem is not None
    assert len(job.problem["errors"]) == 50
