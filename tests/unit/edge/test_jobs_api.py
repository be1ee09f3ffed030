"""The HTTP API as a client meets it: what it answers, and that bad input is never our fault (A8 to A10, T1)."""

import base64
import json
import re
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speech.apikeys import READ, WRITE
from speech.errors import StoreUnavailable
from speech.jobs import JobStatus, Progress
from tests.fakes import JOB_ID, a_job, a_problem, a_result
from tests.support.edge import BUCKET, Edge, a_notification, event, function

RESOURCE_KEYS = {
    "id",
    "status",
    "vendor",
    "voice",
    "language",
    "format",
    "characters",
    "segments",
    "estimate",
    "rendered",
    "preview",
    "source",
    "audio",
    "subtitles",
    "problem",
    "cost",
    "request_id",
    "retry_of",
    "chapters",
    "metadata",
    "created_at",
    "updated_at",
}
PROBLEM_KEYS = {"type", "title", "status", "detail", "instance", "code", "retryable", "vendor", "job_id", "errors"}


def request(name: str, token: str | None, *, method: str | None = None, path: str | None = None, **changes: Any) -> Any:
    """A sample request, with a genuine key, and changed where a test says so."""
    sample = event(name)
    headers = {**sample["headers"], **changes.pop("headers", {})}
    headers["authorization"] = f"Bearer {token}"
    sample["headers"] = {
        key: value for key, value in headers.items() if value is not None and (token or key[:2] != "au")
    }
    http = sample["requestContext"]["http"]
    http["method"] = method or http["method"]
    sample["rawPath"] = http["path"] = path or sample["rawPath"]
    return sample | changes


def post(edge: Edge, body: Any = None, *, token: str | None = None, **changes: Any) -> dict[str, Any]:
    if body is not None:
        changes["body"] = body if isinstance(body, str) else json.dumps(body)
    return edge.call("jobs_api", request("api_post_job", token or edge.an_api_key(), **changes))


def get(edge: Edge, path: str = f"/v1/jobs/{JOB_ID}", **changes: Any) -> dict[str, Any]:
    return edge.call("jobs_api", request("api_get_job", edge.an_api_key(), path=path, **changes))


def problem(answer: dict[str, Any], status: int, code: str) -> dict[str, Any]:
    """The problem in an answer, which must be whole and of this status and code."""
    body: dict[str, Any] = json.loads(answer["body"])
    assert (answer["statusCode"], body["status"], body["code"]) == (status, status, code)
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert set(body) == PROBLEM_KEYS
    assert body["detail"]
    return body


# --- POST /v1/jobs ---------------------------------------------------------------------------


def test_a_posted_text_is_accepted_and_its_address_is_told(edge: Edge) -> None:
    answer = post(edge)

    job = edge.only_job()
    body = json.loads(answer["body"])
    assert answer["statusCode"] == 202
    assert answer["headers"]["Location"] == f"/v1/jobs/{job.id}"
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["headers"]["Cache-Control"] == "no-store"
    assert set(body) == RESOURCE_KEYS
    assert (body["id"], body["vendor"], body["format"], body["request_id"]) == (job.id, "voiceai", "wav", "order-4711")
    assert (body["status"], body["segments"]) == ("synthesizing", {"total": 1, "stored": 0, "failed": 0})
    assert body["source"] == {"type": "api", "bucket": None, "key": None, "version_id": None}
    assert (body["audio"], body["subtitles"], body["problem"]) == (None, None, None)


def test_a_body_in_base_64_is_the_same_body(edge: Edge) -> None:
    text = json.dumps({"text": "Grüße."}, ensure_ascii=False).encode()

    answer = post(edge, base64.b64encode(text).decode(), isBase64Encoded=True)

    assert answer["statusCode"] == 202
    assert list(edge.texts.texts.values()) == ["Grüße.".encode()]


def test_the_same_key_and_body_again_gets_the_same_job(edge: Edge) -> None:
    """A8, A9"""
    first = post(edge)
    again = post(edge)

    assert again["statusCode"] == 202
    assert json.loads(again["body"]) == json.loads(first["body"])
    assert again["headers"]["Location"] == first["headers"]["Location"]
    assert len(edge.dispatcher.sent) == 1


def test_a_body_that_only_looks_different_is_the_same_body(edge: Edge) -> None:
    """A8"""
    post(edge, '{"text": "Hello.", "format": "wav"}')
    again = post(edge, '{ "format":"wav","text":"Hell\\u006f." }')

    assert again["statusCode"] == 202
    assert edge.only_job()


def test_the_same_key_with_another_body_is_refused(edge: Edge) -> None:
    """A8"""
    post(edge, {"text": "Hello."})

    problem(post(edge, {"text": "Goodbye."}), 422, "idempotency-key-reused")
    assert edge.only_job()


def test_without_a_key_every_post_is_a_job(edge: Edge) -> None:
    for _ in range(2):
        post(edge, headers={"idempotency-key": None})

    assert len(edge.store.jobs()) == 2
    assert {job.request_id for job in edge.store.jobs()} == {None}


@pytest.mark.parametrize("key", ["", " ", "x" * 129, "é", "a\tb"])
def test_an_idempotency_key_that_cannot_be_kept_is_refused(edge: Edge, key: str) -> None:
    body = problem(post(edge, headers={"idempotency-key": key}), 422, "invalid-request")

    assert [each["field"] for each in body["errors"]] == ["Idempotency-Key"]


@pytest.mark.parametrize(
    "body", ["", "{", "text=Hello", "[" * 1_000, '{"a":1,"a":1}', "NaN", "1e999", '"\\ud800"', "\ud800"]
)
def test_what_is_not_json_is_400(edge: Edge, body: str) -> None:
    """A10"""
    problem(post(edge, body), 400, "not-json")
    assert edge.store.jobs() == []


@pytest.mark.parametrize("body", ["%%%", "abc", "é", "/w=="])
def test_bad_base_64_and_what_is_no_utf_8_is_400(edge: Edge, body: str) -> None:
    """A10"""
    problem(post(edge, body, isBase64Encoded=True), 400, "not-json")


def test_no_body_at_all_is_400(edge: Edge) -> None:
    sample = request("api_post_job", edge.an_api_key())
    del sample["body"]

    problem(edge.call("jobs_api", sample), 400, "not-json")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid-request", "text"),
        ({"text": 5}, "invalid-request", "text"),
        ({"text": ""}, "empty-text", "text"),
        ({"text": "x " * 500_001}, "text-too-long", "text"),
        ({"text": "Hello.", "colour": "red"}, "invalid-request", "colour"),
        ({"text": "Hello.", "vendor": "nobody"}, "unknown-vendor", "vendor"),
        ({"text": "Hello.", "vendor": "convai"}, "invalid-request", "voice"),
        ({"text": "Hello.", "format": "m4b"}, "invalid-request", "format"),
        ({"text": "Hello.", "sample_rate": 96_000}, "invalid-request", "sample_rate"),
        ({"text": "Hello.", "vendor": "convai", "voice": "WUMale 1", "speed": 2}, "unsupported-option", "speed"),
        ({"text": "Hello.", "vendor_options": {"colour": 1}}, "unsupported-option", "vendor_options.colour"),
        ({"text": "Hello.", "webhook_url": "http://example.com"}, "invalid-request", "webhook_url"),
        ({"text": "Hello.", "request_id": "x"}, "invalid-request", "request_id"),
    ],
    ids=range(13),
)
def test_what_cannot_be_carried_out_is_422_and_names_the_field(
    edge: Edge, body: dict[str, Any], code: str, field: str
) -> None:
    """A10"""
    edge = Edge(settings=replace(edge.settings, default_voices={}))

    refused = problem(post(edge, body), 422, code)

    assert [each["field"] for each in refused["errors"]] == [field]
    assert edge.store.jobs() == []


@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
def test_what_does_not_say_that_it_is_json_is_415(edge: Edge, media_type: str | None) -> None:
    """A10"""
    problem(post(edge, headers={"content-type": media_type}), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "headers", [{"content-type": "application/json; charset=utf-16"}, {"content-encoding": "gzip"}]
)
def test_json_in_another_encoding_is_415(edge: Edge, headers: dict[str, str]) -> None:
    """A10"""
    problem(post(edge, headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
def test_json_may_say_that_it_is_utf_8(edge: Edge, media_type: str) -> None:
    assert post(edge, headers={"content-type": media_type})["statusCode"] == 202


def test_more_than_four_megabytes_are_413(edge: Edge) -> None:
    """A10"""
    problem(post(edge, "x" * 4_000_001), 413, "payload-too-large")


@given(
    body=st.binary(max_size=100)
    | st.dictionaries(st.text(max_size=5), st.text(max_size=5)).map(json.dumps).map(str.encode)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_no_body_is_ever_our_fault(body: bytes) -> None:
    """A10"""
    answer = post(Edge(), base64.b64encode(body).decode(), isBase64Encoded=True)

    assert 400 <= answer["statusCode"] < 500


# --- Keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["api_post_job", "api_get_job", "api_cancel_job", "api_delete_job", "api_list_jobs", "api_list_vendors"]
)
def test_nothing_is_done_without_a_key(edge: Edge, name: str) -> None:
    """T1"""
    without = request(name, None)
    wrong = request(name, "tts_dev_0123456789abcdef_" + "0" * 64)

    for answer in (edge.call("jobs_api", without), edge.call("jobs_api", wrong)):
        problem(answer, 401, "unauthenticated")
        assert answer["headers"]["WWW-Authenticate"].startswith("Bearer")
    assert set(edge.store.calls) <= {"api_key"}


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("api_post_job", READ),
        ("api_cancel_job", READ),
        ("api_get_job", WRITE),
        ("api_list_jobs", WRITE),
        ("api_list_vendors", WRITE),
    ],
)
def test_a_key_without_the_scope_is_403(edge: Edge, name: str, scope: str) -> None:
    """T1"""
    answer = edge.call("jobs_api", request(name, edge.an_api_key(scope)))

    problem(answer, 403, "forbidden")


# --- Cancel ----------------------------------------------------------------------------------


def cancel(edge: Edge, job_id: str = JOB_ID, **changes: Any) -> dict[str, Any]:
    path = f"/v1/jobs/{job_id}/cancel"
    return edge.call("jobs_api", request("api_cancel_job", edge.an_api_key(), path=path, **changes))


def test_f6_a_cancelled_job_is_answered_and_the_same_again(edge: Edge) -> None:
    job_id = json.loads(post(edge)["body"])["id"]

    answers = [cancel(edge, job_id), cancel(edge, job_id)]

    assert [answer["statusCode"] for answer in answers] == [200, 200]
    assert answers[0]["body"] == answers[1]["body"]
    assert set(json.loads(answers[0]["body"])) == RESOURCE_KEYS
    assert json.loads(answers[0]["body"])["status"] == "cancelled"
    assert "Retry-After" not in answers[0]["headers"]
    assert json.loads(get(edge, f"/v1/jobs/{job_id}")["body"])["status"] == "cancelled"


def test_f6_the_key_of_a_cancelled_request_finds_the_cancelled_job(edge: Edge) -> None:
    """A8: trying again needs a new key."""
    cancel(edge, json.loads(post(edge)["body"])["id"])

    again = post(edge)

    assert (again["statusCode"], json.loads(again["body"])["status"]) == (202, "cancelled")


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
def test_a_job_that_has_ended_otherwise_answers_a_cancel_with_409(edge: Edge, status: JobStatus) -> None:
    edge.store.put(a_job(status=status, due_at=None))

    body = problem(cancel(edge), 409, "illegal-transition")

    assert status.value in body["detail"]


@pytest.mark.parametrize("job_id", [JOB_ID, "x", "job_" + "Z" * 26])
def test_a_cancel_of_what_is_not_there_is_404(edge: Edge, job_id: str) -> None:
    problem(cancel(edge, job_id), 404, "job-not-found")


def test_a_cancel_of_another_tenants_job_is_404_and_changes_nothing(edge: Edge) -> None:
    """T2, I13"""
    theirs = a_job(tenant="acme")
    edge.store.put(theirs)

    problem(cancel(edge), 404, "job-not-found")

    assert edge.only_job() == theirs


# --- DELETE ----------------------------------------------------------------------------------


def delete(edge: Edge, job_id: str = JOB_ID, **changes: Any) -> dict[str, Any]:
    return edge.call("jobs_api", request("api_delete_job", edge.an_api_key(), path=f"/v1/jobs/{job_id}", **changes))


def test_f7_an_erased_job_is_not_there_any_more(edge: Edge) -> None:
    job_id = json.loads(post(edge, {"text": "A canary."})["body"])["id"]

    answers = [delete(edge, job_id), delete(edge, job_id)]

    assert [(answer["statusCode"], answer.get("body") or "") for answer in answers] == [(204, "")] * 2
    assert answers[0]["headers"]["Cache-Control"] == "no-store"
    problem(get(edge, f"/v1/jobs/{job_id}"), 404, "job-not-found")
    problem(cancel(edge, job_id), 404, "job-not-found")
    listed = edge.call("jobs_api", request("api_list_jobs", edge.an_api_key()))
    assert json.loads(listed["body"])["jobs"] == []
    assert edge.texts.texts == {}
    assert "canary" not in repr(edge.store.jobs())


def test_f7_the_key_of_an_erased_job_does_not_make_it_again(edge: Edge) -> None:
    """A14"""
    delete(edge, json.loads(post(edge)["body"])["id"])
    tombstone = edge.only_job()

    for body in (None, {"text": "Another text."}):
        problem(post(edge, body), 409, "job-erased")

    assert edge.only_job() == tombstone
    assert edge.texts.texts == {}


def test_f7_a_message_or_a_notice_that_comes_again_does_not_make_an_erased_job_again(edge: Edge) -> None:
    """A14, T20: nor is the dropped file touched."""
    body = json.dumps({"text": "Hello.", "request_id": "order-4711"})
    edge.ingest_message(body, "m1")
    dropped = edge.drop("a.txt", "Hello there.")
    jobs = {job.id for job in edge.store.jobs()}
    for job_id in jobs:
        assert delete(edge, job_id)["statusCode"] == 204
    sent = len(edge.dispatcher.sent)

    edge.ingest_message(body, "m2")
    edge.ingest_message.give_up(body, "m2")
    notice = a_notification("a.txt", versionId=dropped.source.version_id)
    edge.ingest_upload(notice)
    edge.ingest_upload.give_up(notice)

    assert {job.id for job in edge.store.jobs()} == jobs
    assert all(job.erased_at for job in edge.store.jobs())
    assert edge.texts.texts == {}
    assert len(edge.dispatcher.sent) == sent
    assert edge.inputs.read(BUCKET, "a.txt", None, 100) == b"Hello there."


@pytest.mark.parametrize("job_id", [JOB_ID, "x", "job_" + "Z" * 26])
def test_an_erasure_of_what_is_not_there_is_404(edge: Edge, job_id: str) -> None:
    problem(delete(edge, job_id), 404, "job-not-found")


def test_e2_an_erasure_that_meets_a_busy_store_is_503_and_can_be_asked_for_again(edge: Edge) -> None:
    job_id = json.loads(post(edge)["body"])["id"]
    edge.store.fail_next("erase", StoreUnavailable("busy"))

    problem(delete(edge, job_id), 503, "temporarily-unavailable")

    assert delete(edge, job_id)["statusCode"] == 204


# --- GET -------------------------------------------------------------------------------------


def test_a_job_that_is_under_way_says_when_to_come_back(edge: Edge) -> None:
    edge.store.put(a_job(status=JobStatus.SYNTHESIZING, segments_total=3))
    edge.store.count("default", JOB_ID, stored=2, calls=4)

    answer = get(edge)

    body = json.loads(answer["body"])
    assert answer["statusCode"] == 200
    assert int(answer["headers"]["Retry-After"]) > 0
    assert body["segments"] == {"total": 3, "stored": 2, "failed": 0}
    assert body["cost"] == {"currency": "USD", "amount": None, "credits": None, "vendor_calls": 4}
    assert body["created_at"] == "2026-11-20T09:00:00.123Z"


def test_a_completed_job_has_links_made_for_this_answer(edge: Edge) -> None:
    """F9"""
    result = a_result(key="a/b.txt", versions={"mp3": "v7"})
    edge.store.put(a_job(status=JobStatus.COMPLETED, result=result, segments_total=3))

    answer = get(edge)

    body = json.loads(answer["body"])
    assert "Retry-After" not in answer["headers"]
    assert body["segments"] == {"total": 3, "stored": 3, "failed": 0}
    assert "a/b.txt.mp3" in body["audio"]["url"]
    assert "versionId=v7" in body["audio"]["url"]
    assert set(body["audio"]) == {"url", "format", "bytes", "duration_seconds", "sha256"}
    assert "a/b.txt.vtt" in body["subtitles"]["vtt"]
    assert "a/b.txt.srt" in body["subtitles"]["srt"]
    assert edge.results.calls == ["link"] * 3


def test_a_failed_job_shows_its_problem_and_no_audio(edge: Edge) -> None:
    """I3"""
    edge.store.put(a_job(status=JobStatus.FAILED, problem=a_problem(), spec=None, characters=None, segments_total=None))

    body = json.loads(get(edge)["body"])

    assert body["problem"] == a_problem()
    assert (body["audio"], body["vendor"], body["characters"]) == (None, None, None)
    assert body["segments"] == {"total": None, "stored": 0, "failed": 0}
    assert set(body) == RESOURCE_KEYS


@pytest.mark.parametrize("job_id", [JOB_ID, "x", "job_", "..", "%2e%2e", "job_" + "Z" * 26, "💥", "a b", "null"])
def test_a_job_that_is_not_there_is_404(edge: Edge, job_id: str) -> None:
    body = json.loads((answer := get(edge, f"/v1/jobs/{job_id}"))["body"])

    assert (answer["statusCode"], body["status"]) == (404, 404)
    assert body["code"] in ("job-not-found", "not-found")


def test_a_job_of_another_tenant_is_not_there(edge: Edge) -> None:
    """T2, I13"""
    edge.store.put(a_job(tenant="acme"))

    problem(get(edge), 404, "job-not-found")


def test_the_jobs_of_a_request_are_found_by_its_identity(edge: Edge) -> None:
    post(edge)
    edge.ingest_message('{"text": "Hello.", "request_id": "order-4711"}', "m1")
    listed = edge.call("jobs_api", request("api_list_jobs", edge.an_api_key()))
    none = edge.call(
        "jobs_api", request("api_list_jobs", edge.an_api_key(), queryStringParameters={"request_id": "other"})
    )

    body = json.loads(listed["body"])
    assert [job["source"]["type"] for job in body["jobs"]] == ["api", "message"]
    assert {job["request_id"] for job in body["jobs"]} == {"order-4711"}
    assert body["next"] is None
    assert json.loads(none["body"]) == {"jobs": [], "next": None}


def test_a_list_of_everything_is_refused_with_what_to_ask_for(edge: Edge) -> None:
    sample = request("api_list_jobs", edge.an_api_key())
    del sample["queryStringParameters"]

    body = problem(edge.call("jobs_api", sample), 422, "invalid-request")

    assert [each["field"] for each in body["errors"]] == ["request_id"]


def test_the_vendors_are_listed_with_what_they_can_do(edge: Edge) -> None:
    body = json.loads(edge.call("jobs_api", request("api_list_vendors", edge.an_api_key()))["body"])

    by_name = {vendor["name"]: vendor for vendor in body["vendors"]}
    assert {"convai", "voiceai", "creatify"} <= set(by_name)
    assert body["default"] == "voiceai"
    assert [name for name, vendor in by_name.items() if vendor["default"]] == ["voiceai"]
    assert by_name["convai"]["character_limit"] == 2_000
    assert by_name["creatify"]["delivery"] == ["callback", "polled"]
    assert by_name["convai"]["default_voice"] == "WUMale 1"
    assert {"mp3", "wav", "ogg", "flac"} == set(by_name["voiceai"]["formats"])
    assert all(option["description"] for vendor in by_name.values() for option in vendor["options"])


# --- Everything else -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/v2/nothing", "/v1", "/v1/jobs/x/y", "/callbacks/creatify/x", "/v1/jobs/", "/%00"]
)
def test_an_unknown_address_is_404_with_or_without_a_key(edge: Edge, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS", "BREW"):
        answer = edge.call("jobs_api", request("api_unknown_address", None, method=method, path=path))
        problem(answer, 404, "not-found")


def test_the_404_of_an_address_is_that_of_a_callback_that_is_not_genuine(edge: Edge) -> None:
    """D5"""
    nowhere = edge.call("jobs_api", request("api_unknown_address", None))
    forged = edge.call("vendor_callback", event("creatify_callback"))

    assert nowhere["body"] == forged["body"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "POST"),
        ("PATCH", f"/v1/jobs/{JOB_ID}", "GET"),
        ("GET", f"/v1/jobs/{JOB_ID}/cancel", "POST"),
        ("POST", "/v1/vendors", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_the_right_ones_are_told(edge: Edge, method: str, path: str, allowed: str) -> None:
    answer = edge.call("jobs_api", request("api_unknown_address", edge.an_api_key(), method=method, path=path))

    problem(answer, 405, "method-not-allowed")
    assert allowed in answer["headers"]["Allow"].split(", ")


def test_what_is_said_to_be_allowed_is() -> None:
    """The table of methods against the routes themselves."""
    module = function("jobs_api")
    routes = [*module.app._static_routes, *module.app._dynamic_routes]

    said = {(pattern.pattern, method) for pattern, methods in module.METHODS for method in methods.split(", ")}

    real = {(re.sub(r"<\w+>", r"\\w+", route.path), route.method) for route in routes}
    assert {each for each in said if each[1] not in ("HEAD", "OPTIONS")} == real


def test_options_tells_the_methods_and_head_is_get_without_the_body(edge: Edge) -> None:
    edge.store.put(a_job())

    options = edge.call("jobs_api", request("api_unknown_address", None, method="OPTIONS", path="/v1/jobs"))
    head = get(edge, method="HEAD")

    assert (options["statusCode"], options["headers"]["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert (head["statusCode"], head["body"]) == (200, "")
    assert head["headers"]["Content-Type"] == "application/json"


def test_a_busy_store_is_503_and_says_when_to_come_back(edge: Edge) -> None:
    """E2, E13"""
    edge.store.fail_next("create", StoreUnavailable("busy"))

    answer = post(edge)

    problem(answer, 503, "temporarily-unavailable")
    assert int(answer["headers"]["Retry-After"]) > 0


def test_a_bug_is_500_without_a_word_of_what_was_sent_in_answer_or_log(
    edge: Edge, log: StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """I17"""
    canary = "CANARY-4711"
    edge.store.fail_next("create", RuntimeError(f"cannot write {canary}"))

    answer = post(edge, {"text": canary})

    body = problem(answer, 500, "internal-error")
    printed = capsys.readouterr()
    assert canary not in json.dumps(body) + log.getvalue() + printed.out + printed.err
    assert "RuntimeError" in log.getvalue()


def test_neither_text_nor_key_nor_link_is_logged(edge: Edge, log: StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """I17, T8"""
    token = edge.an_api_key()
    post(edge, {"text": "CANARY-4711"}, token=token)
    edge.store.put(a_job(status=JobStatus.COMPLETED, result=a_result()))
    get(edge)

    printed = capsys.readouterr()
    assert "job accepted" in log.getvalue()
    for secret in ("CANARY-4711", token, token[-64:], "https://"):
        assert secret not in log.getvalue() + printed.out + printed.err


def test_the_manifest_and_the_api_show_the_same_resource_but_for_the_links(edge: Edge) -> None:
    from speech.resource import job_resource

    job = a_job(status=JobStatus.COMPLETED, result=a_result())
    shown = edge.read_job.resource(job)
    kept = job_resource(job, Progress(stored=1))

    assert (kept["audio"]["url"], kept["subtitles"]) == (None, None)
    assert shown | {"audio": None, "subtitles": None} == kept | {"audio": None}
