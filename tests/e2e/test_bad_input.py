"""Bad input by every way in: answered with what is wrong and what to do, never with a 5xx and never with silence."""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.support.results import check_resource
from tests.support.stack import Stack, unique

JSON = "application/json"
PROBLEM_KEYS = {"type", "title", "status", "detail", "instance", "code"}

REQUESTS: Mapping[str, tuple[Any, str | None, str]] = {
    "unknown field": ({"text": "Hello.", "colour": "red"}, "colour", "invalid-request"),
    "text of another type": ({"text": 7}, "text", "invalid-request"),
    "no text": ({}, "text", "invalid-request"),
    "empty text": ({"text": ""}, "text", "empty-text"),
    "blank text": ({"text": " \n\t "}, "text", "empty-text"),
    "a text of a million and one characters": ({"text": "a " * 500_000 + "b"}, "text", "text-too-long"),
    "unknown vendor": ({"text": "Hello.", "vendor": "polly"}, "vendor", "unknown-vendor"),
    "voice of another kind": ({"text": "Hello.", "vendor": "creatify", "voice": "Ava"}, "voice", "invalid-request"),
    "unknown format": ({"text": "Hello.", "format": "aac"}, "format", "invalid-request"),
    "sample rate too low": ({"text": "Hello.", "sample_rate": 4000}, "sample_rate", "invalid-request"),
    "sample rate as a string": ({"text": "Hello.", "sample_rate": "24000"}, "sample_rate", "invalid-request"),
    "speed where there is none": ({"text": "Hello.", "vendor": "convai", "speed": 2}, "speed", "unsupported-option"),
    "a language that is none": ({"text": "Hello.", "language": "english, please"}, "language", "invalid-request"),
    "a language it cannot speak": ({"text": "Hello.", "language": "ja"}, "language", "unsupported-option"),
    "metadata of another type": ({"text": "Hello.", "metadata": {"a": 1}}, "metadata.a", "invalid-request"),
    "a webhook that is no address": ({"text": "Hello.", "webhook_url": "ftp://x"}, "webhook_url", "invalid-request"),
    "an option it does not have": (
        {"text": "Hello.", "vendor_options": {"pitch": 2}},
        "vendor_options.pitch",
        "unsupported-option",
    ),
    "an option out of range": (
        {"text": "Hello.", "vendor_options": {"temperature": 7}},
        "vendor_options.temperature",
        "invalid-request",
    ),
    "the text as an option": (
        {"text": "Hello.", "vendor_options": {"text": "Goodbye."}},
        "vendor_options.text",
        "unsupported-option",
    ),
    "several at once": ({"text": 7, "format": "tape", "size": 1}, "format", "invalid-request"),
    "a list": (["Hello."], None, "invalid-request"),
    "a string": ("Hello.", None, "invalid-request"),
}
"""What is wrong with a request: what was sent, the field that must be named, and the code."""

NOT_JSON = {
    "a sentence": b"Please read this to me.",
    "half an object": b'{"text": "Hello.',
    "nothing": b"",
    "another encoding": '{"text": "Grüße"}'.encode("utf-16"),
    "the same name twice": b'{"text": "a", "text": "b"}',
    "not a number": b'{"text": "a", "speed": NaN}',
    "too deep": b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "half a character": b'{"text": "\\ud800"}',
}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem in an answer, which must be whole."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= PROBLEM_KEYS
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"]
    assert len(body["detail"]) > 10
    return body


def names(found: Mapping[str, Any], field: str | None) -> bool:
    """Whether a problem names the field, and says what is the matter with it."""
    if field is None:
        return bool(found["detail"])
    told = {each["field"]: each["message"] for each in found["errors"] or ()}
    return bool(told.get(field)) and field in found["detail"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_wrong_request_is_answered_with_what_is_wrong(stack: Stack, name: str) -> None:
    """A10."""
    body, field, code = REQUESTS[name]

    answer = stack.api.post("/v1/jobs", json=body)

    found = problem(answer, 422, code)
    if code not in ("empty-text", "text-too-long"):
        assert names(found, field), found
    else:
        assert found["errors"][0]["field"] == field


@pytest.mark.parametrize("name", NOT_JSON)
def test_a_body_that_is_not_json_is_answered_400(stack: Stack, name: str) -> None:
    """A10."""
    answer = stack.api.post("/v1/jobs", content=NOT_JSON[name], headers={"Content-Type": JSON})

    problem(answer, 400, "not-json")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_of_another_type_is_answered_415(stack: Stack, kind: str) -> None:
    body = json.dumps({"text": "Hello."}).encode()

    answer = stack.api.post("/v1/jobs", content=body, headers={"Content-Type": kind})

    assert JSON in problem(answer, 415, "unsupported-media-type")["detail"]


def test_a_body_beyond_four_megabytes_is_answered_413(stack: Stack) -> None:
    body = json.dumps({"text": "a" * 4_100_000}).encode()

    answer = stack.api.post("/v1/jobs", content=body, headers={"Content-Type": JSON})

    problem(answer, 413, "payload-too-large")


def test_a_body_beyond_what_the_gateway_takes_is_answered_413(stack: Stack) -> None:
    answer = stack.api.post("/v1/jobs", content=b"a" * 10_600_000, headers={"Content-Type": JSON})

    assert answer.status_code == 413


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer nonsense",
        "Bearer tts_laptop_0123456789abcdef_" + "0" * 64,
        "Basic dGVzdDp0ZXN0",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/jobs"), ("GET", "/v1/jobs/job_x"), ("GET", "/v1/vendors")])
def test_without_a_genuine_key_there_is_only_401(
    stack: Stack, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = httpx.request(
        method, stack.facts["api_url"] + path, json={"text": "Hello."} if method == "POST" else None, headers=headers,
        timeout=40, trust_env=False,
    )  # fmt: skip

    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_with_one_letter_changed_is_no_key(stack: Stack) -> None:
    key = stack.facts["api_key"]
    changed = key[:-1] + ("0" if key[-1] != "0" else "1")

    answer = stack.api.get("/v1/vendors", headers={"Authorization": f"Bearer {changed}"})

    problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v2/jobs", 404, "not-found"),
        ("GET", "/v1/jobs/job_00000000000000000000000000", 404, "job-not-found"),
        ("GET", "/v1/jobs/..%2f..%2fetc", 404, "not-found"),
        ("GET", "/v1/jobs/job_%00", 404, None),
        ("DELETE", "/v1/jobs", 405, "method-not-allowed"),
        ("PUT", "/v1/jobs/job_00000000000000000000000000", 405, "method-not-allowed"),
        ("GET", "/callbacks/creatify/x", None, None),
    ],
)
def test_an_address_that_does_not_exist_is_a_problem_too(
    stack: Stack, method: str, path: str, status: int | None, code: str | None
) -> None:
    answer = stack.api.request(method, path)

    assert answer.status_code == status or (status is None and answer.status_code in (404, 405))
    assert answer.headers["content-type"] == "application/problem+json"
    assert code is None or answer.json()["code"] == code


def test_convai_without_a_voice_anywhere_is_told_what_it_needs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The stack that the others share has a default voice for it."""
    from tests.support.stack import running

    with running(tmp_path_factory.mktemp("voiceless"), DEFAULT_VOICES="") as voiceless:
        answer = voiceless.api.post("/v1/jobs", json={"text": "Hello.", "vendor": "convai"})
        key = "voiceless.txt"
        voiceless.drop(key, "Hello.", vendor="convai")
        page = voiceless.page(key)

    assert names(problem(answer, 422, "invalid-request"), "voice")
    assert "voice" in page


# --- messages ---


@pytest.mark.parametrize("name", [each for each in REQUESTS if each != "a text of a million and one characters"])
def test_a_wrong_message_is_a_failed_job_with_its_problem(stack: Stack, name: str) -> None:
    """A11."""
    body, field, code = REQUESTS[name]
    request_id = f"wrong {uuid.uuid4().hex}"
    sent = {**body, "request_id": request_id} if isinstance(body, dict) else json.dumps(body)

    job = stack.requested(stack.send(sent))

    check_resource(job)
    assert job["status"] == "failed"
    assert job["problem"]["code"] == code
    assert code == "empty-text" or names(job["problem"], field)
    assert job["source"]["type"] == "message"
    assert job["cost"]["vendor_calls"] == 0


@pytest.mark.parametrize(
    "body", ["Please read this to me.", '{"text": ', "[1, 2]", "null", '"x"', '{"text": NaN}', "é"]
)
def test_junk_on_the_requests_queue_is_a_failed_job_under_the_name_that_sqs_gave_it(stack: Stack, body: str) -> None:
    """A11."""
    job = stack.requested(stack.send(body))

    assert job["status"] == "failed"
    assert job["problem"]["code"] in ("not-json", "invalid-request")
    assert job["problem"]["detail"]


def test_a_wrong_message_beside_a_right_one_does_not_hold_it_up(stack: Stack) -> None:
    """A15."""
    entries = [
        {"Id": str(number), "MessageBody": body}
        for number, body in enumerate(["junk", json.dumps({"text": unique(), "request_id": uuid.uuid4().hex}), "junk"])
    ]
    answer = stack.sqs.send_message_batch(QueueUrl=stack.facts["requests_queue_url"], Entries=entries)
    right = json.loads(entries[1]["MessageBody"])["request_id"]

    job = stack.ended(stack.requested(right)["id"])

    assert job["status"] == "completed"
    wrong = [each["MessageId"] for each in answer["Successful"] if each["Id"] != "1"]
    assert [stack.requested(each)["status"] for each in wrong] == ["failed"] * 2


def test_junk_on_an_inner_queue_harms_nobody(stack: Stack) -> None:
    for name in ("VoiceaiQueue", "ChecksQueue", "AssemblyQueue", "DeliveriesQueue"):
        for body in ("junk", "{}", '{"v": 1, "tenant": "default", "job_id": "job_00000000000000000000000000"}'):
            stack.sqs.send_message(QueueUrl=stack.queue(name), MessageBody=body)

    job = stack.ended(stack.post(text=unique())["id"])

    assert job["status"] == "completed"


# --- drops ---

FILES: Mapping[str, tuple[bytes, Mapping[str, str], str, str]] = {
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, {}, "not-text", "plain text"),
    "zeros": (bytes(2000), {}, "not-text", "plain text"),
    "an archive": (b"PK\x03\x04" + bytes(range(256)) * 20, {}, "not-text", "plain text"),
    "nothing": (b"", {}, "empty-text", "text"),
    "a blank page": (b"\xef\xbb\xbf \n\n\t", {}, "empty-text", "text"),
    "a file that is too large": (b"word " * 1_100_000, {}, "text-too-long", "Split"),
    "a text that is too long": (b"word " * 200_001, {}, "text-too-long", "Split"),
    "unknown option": (b"Hello.", {"colour": "red"}, "invalid-request", "x-amz-meta-voicedrop-colour"),
    "unknown vendor": (b"Hello.", {"vendor": "polly"}, "unknown-vendor", "vendor"),
    "a format that is none": (b"Hello.", {"format": "tape"}, "invalid-request", "x-amz-meta-voicedrop-format"),
    "a rate that is no number": (
        b"Hello.",
        {"sample_rate": "many"},
        "invalid-request",
        "x-amz-meta-voicedrop-sample-rate",
    ),
    "an unknown option in front": (
        b"---\nvoicedrop:\n  colour: red\n---\nHello.",
        {},
        "invalid-request",
        "voicedrop.colour",
    ),
    "options in front that are a list": (b"---\nvoicedrop: [wav]\n---\nHello.", {}, "invalid-request", "voicedrop"),
}


@pytest.fixture(scope="module")
def wrong_files(stack: Stack) -> dict[str, str]:
    """Every wrong file dropped: its key by its name."""
    keys = {name: f"wrong files/{name}.txt" for name in FILES}
    for name, (body, options, _, _) in FILES.items():
        stack.drop(keys[name], body, **options)
    return keys


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file_gets_a_page_that_says_what_to_do(stack: Stack, wrong_files: dict[str, str], name: str) -> None:
    """A6."""
    body, _, code, words = FILES[name]
    key = wrong_files[name]

    page = stack.page(key)

    (job_id,) = re.findall(r"job_\w+", page)
    job = stack.job(job_id)
    assert (job["status"], job["problem"]["code"]) == ("failed", code)
    assert words in page
    for heading in ("**What happened.**", "**Why.**", "**What it cost.** Nothing", "**What to do.**"):
        assert heading in page
    assert f"`{code}`" in page
    assert {found for found in stack.objects() if found.startswith(f"{key}.")} == {f"{key}.error.md"}
    assert stack.s3.get_object(Bucket=stack.facts["texts_bucket"], Key=key)["Body"].read() == body


def test_an_options_file_that_cannot_be_read_is_named_on_the_page(stack: Stack) -> None:
    top = f"wrong options/{uuid.uuid4().hex}"
    stack.s3.put_object(Bucket=stack.facts["texts_bucket"], Key=f"{top}/voicedrop.json", Body=b"{format: wav}")

    stack.drop(f"{top}/a.txt", "Hello.")

    page = stack.page(f"{top}/a.txt")
    assert f"{top}/voicedrop.json" in page
    assert "JSON" in page


def test_a_file_that_is_gone_before_it_is_read_is_a_failed_job(stack: Stack) -> None:
    """A3."""
    from tests.support.stack import wait_for

    key = f"gone/{uuid.uuid4().hex}.txt"
    texts = stack.facts["texts_bucket"]
    event = {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-east-1",
                "eventTime": "2026-11-20T09:00:00.123Z",
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": texts},
                    "object": {"key": key, "size": 6, "versionId": "gone", "sequencer": "0055AED6DCD90281E5"},
                },
            }
        ]
    }

    stack.sqs.send_message(QueueUrl=stack.queue("UploadsQueue"), MessageBody=json.dumps(event))

    (job_id,) = wait_for(lambda: stack.jobs_in_table(key), seconds=30, what="a job for a file that is gone")
    assert stack.job(job_id)["problem"]["code"] == "input-gone"


def test_no_function_broke_on_any_of_this(stack: Stack) -> None:
    """Also what other tests put in: a 5xx or a repeated message would have left its trace."""
    logs = stack.logs()

    broken = {
        name: re.findall(r"Traceback|Runtime exited", log)
        for name, log in logs.items()
        if name in ("jobs_api", "ingest_message", "ingest_upload", "vendor_callback")
    }

    assert broken == {name: [] for name in broken}
