"""Creatify's quirks, asserted on the requests that went out and on the answers its documents describe."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from local.emulators.creatify import CreatifyEmulator
from speech.errors import (
    InvalidRequest,
    PayloadTooLarge,
    UnsupportedOperation,
    UnsupportedOption,
    VendorAmbiguous,
    VendorError,
    VendorJobExpired,
    VendorJobFailed,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorTextTooLong,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import check_request
from speech.vendors.base import AudioReady, Callback, StillWorking, SynthesisRequest
from speech.vendors.creatify import MAX_WEBHOOK_URL, Creatify
from speech.vendors.http import VendorClient
from tests.vendors.scripted import Scripted, answer, vendor_at

Serve = Callable[..., Scripted]
JOB = "0b7f9c3e-1d2a-4c5b-8e6f-a1b2c3d4e5f6"
OTHER = "99999999-1d2a-4c5b-8e6f-a1b2c3d4e5f6"
ACCENT = "11111111-2222-4333-8444-555555555555"
CALLBACK = "https://api.example.com/callbacks/creatify/token-1"
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x64"
REQUEST = SynthesisRequest(text="Good morning.", voice=ACCENT)


def job(status: Any = "running", **fields: Any) -> dict[str, Any]:
    return {
        "id": JOB,
        "script": "Good morning.",
        "accent": ACCENT,
        "webhook_url": CALLBACK,
        "output": "",
        "media_job": None,
        "credits_used": 0,
        "duration": 0,
        "is_hidden": False,
        "status": status,
        "failed_reason": "",
        **fields,
    }


def creatify(server: Scripted, *, seconds: float = 10) -> Creatify:
    vendor = vendor_at("creatify", server, seconds=seconds)
    assert isinstance(vendor, Creatify)
    return vendor


def refused(server: Scripted) -> VendorError:
    with pytest.raises(VendorError) as caught:
        creatify(server).start(REQUEST, callback_url=CALLBACK)
    return caught.value


# --- Create -----------------------------------------------------------------------------------


@pytest.mark.proves(
    "creatify: delivery job",
    "creatify: body application/json",
    "creatify: status 201",
    "creatify: header X-API-ID",
    "creatify: header X-API-KEY",
    "creatify: field script",
    "creatify: field accent",
    "creatify: field webhook_url",
    "creatify: answer field id",
)
@pytest.mark.parametrize("status", [201, 200])
def test_a_job_is_created_with_the_documented_fields_and_both_keys(serve: Serve, status: int) -> None:
    server = serve(answer(status, job("pending")))

    working = creatify(server).start(REQUEST, callback_url=CALLBACK)

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/api/text_to_speech/"), "with the slash, or the body is lost"
    assert (seen.headers["x-api-id"], seen.headers["x-api-key"]) == ("creatify_api_id", "creatify_api_key")
    assert seen.json == {"script": "Good morning.", "accent": ACCENT, "webhook_url": CALLBACK}
    assert working == StillWorking(vendor_job_id=JOB, check_after=Creatify.CHECK_AFTER_SECONDS)


@pytest.mark.proves("creatify: default accent", "creatify: default webhook_url")
def test_what_is_not_asked_for_is_not_sent(serve: Serve) -> None:
    server = serve(answer(201, job()))

    creatify(server).start(SynthesisRequest(text="Hi.", language="en-GB", speed=2))

    assert server.seen[0].json == {"script": "Hi."}


@pytest.mark.proves("creatify: limit webhook_url")
def test_a_callback_address_of_200_characters_is_sent_and_one_more_is_refused_before_any_call(serve: Serve) -> None:
    server = serve(answer(201, job()))
    longest = CALLBACK + "x" * (200 - len(CALLBACK))

    creatify(server).start(REQUEST, callback_url=longest)
    with pytest.raises(UnsupportedOption):
        creatify(server).start(REQUEST, callback_url=longest + "x")

    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "body", [{}, {"id": None}, {"id": 5}, {"id": "../x"}, {"id": ""}, [], b"", b"<html>", b"[" * 9999]
)
@pytest.mark.parametrize("status", [200, 201])
def test_c18_a_success_without_the_id_of_a_job_is_ambiguous(serve: Serve, status: int, body: Any) -> None:
    assert type(refused(serve(answer(status, body)))) is VendorAmbiguous


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_c18_a_server_fault_on_create_may_hide_a_job_that_was_made(serve: Serve, status: int) -> None:
    assert type(refused(serve(answer(status, b"<html>")))) is VendorAmbiguous


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"detail": "Invalid token."}, VendorUnauthorized),
        (403, {"detail": "Authentication credentials were not provided."}, VendorUnauthorized),
        (402, {"detail": "Payment required"}, VendorQuotaExhausted),
        (400, {"detail": "Insufficient credits"}, VendorQuotaExhausted),
        (403, {"detail": "Insufficient credits."}, VendorQuotaExhausted),
        (400, ["Insufficient credits"], VendorQuotaExhausted),
        (400, {"non_field_errors": ["You have insufficient credits."]}, VendorQuotaExhausted),
        (429, {"detail": "Request was throttled. Expected available in 30 seconds."}, VendorThrottled),
        (400, {"accent": ["Must be a valid UUID."]}, VendorRejected),
        (400, {"script": ["Ensure this field has no more than 8000 characters."]}, VendorTextTooLong),
        (404, {"detail": "Not found."}, VendorRejected),
        (301, b"", VendorMisbehaved),
    ],
)
def test_c3_c5_c7_a_refused_create_is_classified_by_message_and_then_by_status(
    serve: Serve, status: int, body: Any, error: type[VendorError]
) -> None:
    caught = refused(serve(answer(status, body)))

    assert type(caught) is error
    assert (caught.vendor, caught.vendor_status) == ("creatify", status)


def test_a_refused_field_is_named(serve: Serve) -> None:
    assert "`accent`" in refused(serve(answer(400, {"accent": ["Must be a valid UUID."]}))).detail


def test_c2_a_lost_answer_to_a_create_is_ambiguous(serve: Serve) -> None:
    assert type(refused(serve(lambda _: None))) is VendorAmbiguous


@pytest.mark.proves("creatify: field accent", "creatify: default accent")
def test_a_voice_is_a_uuid_and_may_be_left_out() -> None:
    assert check_request("creatify") == {}
    assert check_request("creatify", voice=ACCENT) == {}
    with pytest.raises(InvalidRequest) as caught:
        check_request("creatify", voice="alice", options={"webhook_url": "https://evil.test"})
    assert [each.field for each in caught.value.errors] == ["vendor_options.webhook_url", "voice"]


# --- Check ------------------------------------------------------------------------------------


@pytest.mark.proves(
    "creatify: job status pending",
    "creatify: job status in_queue",
    "creatify: job status running",
    "creatify: answer field status",
)
@pytest.mark.parametrize("status", ["pending", "in_queue", "running", "rejuvenating", "", None, 7])
def test_c17_a_status_that_is_not_final_or_not_known_means_still_working(serve: Serve, status: Any) -> None:
    server = serve(answer(200, job(status, output="https://127.0.0.1/never-fetched.mp3")))

    working = creatify(server).check(JOB)

    assert isinstance(working, StillWorking)
    assert working.vendor_job_id == JOB
    assert [(seen.method, seen.path) for seen in server.seen] == [("GET", f"/api/text_to_speech/{JOB}/")]
    assert server.seen[0].headers["x-api-id"] == "creatify_api_id"


@pytest.mark.parametrize("address", ["", None, 5, []])
def test_c17_done_without_an_address_means_still_working(serve: Serve, address: Any) -> None:
    server = serve(answer(200, job("done", output=address)))

    assert isinstance(creatify(server).check(JOB), StillWorking)


@pytest.mark.proves("creatify: job status done", "creatify: answer field output", "creatify: answer field credits_used")
@pytest.mark.parametrize("field", ["output", "video_output"])
def test_c17_the_result_is_read_from_either_field_and_fetched_without_keys(serve: Serve, field: str) -> None:
    files = serve(answer(200, MP3))
    server = serve(answer(200, job("done", **{field: f"{files.url}/out.mp3?sig=1"}, credits_used=1.5)))

    ready = creatify(server).check(JOB)

    assert ready == AudioReady(data=MP3, credits=1.5)
    assert files.seen[0].path == "/out.mp3?sig=1"
    assert not any(name.startswith("x-api") for name in files.seen[0].headers)


@pytest.mark.proves(
    "creatify: answer field accent",
    "creatify: answer field webhook_url",
    "creatify: answer field media_job",
    "creatify: answer field duration",
    "creatify: answer field is_hidden",
    "creatify: answer field created_at",
    "creatify: answer field updated_at",
)
@pytest.mark.parametrize(
    "field",
    ["accent", "webhook_url", "media_job", "duration", "is_hidden", "created_at", "updated_at", "failed_reason"],
)
@pytest.mark.parametrize("value", [None, "", "text", 7, 7.5, True, [], {}])
def test_what_a_job_tells_beyond_its_end_may_be_anything(serve: Serve, field: str, value: Any) -> None:
    files = serve(answer(200, MP3))
    done = job("done", output=files.url, credits_used=1, created_at="2026-01-31T08:00:00Z", updated_at="2026-01-31")
    without = {name: known for name, known in done.items() if name != field}

    for told in ({**done, field: value}, without):
        assert creatify(serve(answer(200, told))).check(JOB) == AudioReady(data=MP3, credits=1.0)


@pytest.mark.proves("creatify: limit script", "creatify: limit webhook_url")
def test_the_limits_are_the_documented_ones() -> None:
    assert (Creatify.capabilities.character_limit, MAX_WEBHOOK_URL) == (8000, 200)


@pytest.mark.proves("creatify: answer field credits_used")
@pytest.mark.parametrize(
    ("used", "credits"), [(2, 2.0), ("1.50", 1.5), (None, None), ("?", None), (True, None), (-1, None), ("nan", None)]
)
def test_credits_that_are_not_known_are_not_shown_as_zero(serve: Serve, used: Any, credits: float | None) -> None:
    files = serve(answer(200, MP3))
    server = serve(answer(200, job("done", output=files.url, credits_used=used)))

    ready = creatify(server).check(JOB)

    assert isinstance(ready, AudioReady)
    assert ready.credits == credits


@pytest.mark.parametrize(
    "first", [answer(403, b"<Error>"), answer(404), answer(302), answer(200, b"<html>"), answer(200)]
)
def test_c19_an_expired_result_is_asked_for_once_more_under_a_fresh_address(serve: Serve, first: bytes) -> None:
    files = serve(first, answer(200, MP3))
    server = serve(
        answer(200, job("done", output=f"{files.url}/old.mp3")),
        answer(200, job("done", output=f"{files.url}/new.mp3", credits_used=1)),
    )

    ready = creatify(server).check(JOB)

    assert ready == AudioReady(data=MP3, credits=1.0)
    assert [seen.path for seen in files.seen] == ["/old.mp3", "/new.mp3"]


def test_c19_a_result_that_stays_away_is_an_error_after_one_fresh_address(serve: Serve) -> None:
    files = serve(answer(403))
    server = serve(answer(200, job("done", output=files.url)))

    with pytest.raises(VendorMisbehaved):
        creatify(server).check(JOB)

    assert (len(server.seen), len(files.seen)) == (2, 2)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_c19_a_file_store_that_fails_is_asked_again_later(serve: Serve, status: int) -> None:
    files = serve(answer(status))
    server = serve(answer(200, job("done", output=files.url)))

    with pytest.raises(VendorUnavailable) as caught:
        creatify(server).check(JOB)

    assert not isinstance(caught.value, VendorAmbiguous)


@pytest.mark.parametrize(
    "address", ["https://10.0.0.1/a.mp3", "ftp://example.com/a", "https://u@example.com/a", "a.mp3"]
)
def test_c19_s1_a_result_address_that_leads_inside_is_refused(serve: Serve, address: str) -> None:
    server = serve(answer(200, job("done", output=address)))

    with pytest.raises(VendorJobFailed, match="do not open") as caught:
        creatify(server).check(JOB)

    assert not caught.value.retryable
    assert len(server.seen) == 2, "the job was asked once for a fresh address"


@pytest.mark.proves(
    "creatify: answer field script", "creatify: job status failed", "creatify: answer field failed_reason"
)
def test_a_failed_job_tells_why_when_that_is_safe(serve: Serve) -> None:
    plain = job("failed", failed_reason="The voice is not available")
    quoting = job("failed", failed_reason="Could not read: Good morning.")
    details = []

    for each in (plain, quoting, job("failed", failed_reason=None), job("failed", failed_reason="x" * 500)):
        with pytest.raises(VendorJobFailed) as caught:
            creatify(serve(answer(200, each))).check(JOB)
        details.append(caught.value.detail)

    assert details == [
        "Creatify's job failed: The voice is not available.",
        "Creatify's job failed.",
        "Creatify's job failed.",
        "Creatify's job failed.",
    ]


def test_c7_a_job_that_failed_for_lack_of_credits_is_about_credits(serve: Serve) -> None:
    server = serve(answer(200, job("failed", failed_reason="Insufficient credits")))

    with pytest.raises(VendorQuotaExhausted):
        creatify(server).check(JOB)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, VendorJobExpired),
        (410, VendorJobExpired),
        (401, VendorUnauthorized),
        (403, VendorUnauthorized),
        (429, VendorThrottled),
        (500, VendorUnavailable),
        (400, VendorUnavailable),
        (302, VendorUnavailable),
        (200, VendorUnavailable),
    ],
)
def test_a_check_that_cannot_be_read_gives_up_a_paid_job_only_when_it_is_gone(
    serve: Serve, status: int, error: type[VendorError]
) -> None:
    with pytest.raises(VendorError) as caught:
        creatify(serve(answer(status, b"<html>"))).check(JOB)

    assert type(caught.value) is error


@pytest.mark.parametrize("name", ["", "../voices", f"{JOB}/../x", "x" * 36])
def test_a_job_name_that_is_no_uuid_never_becomes_part_of_an_address(serve: Serve, name: str) -> None:
    server = serve(answer(200, job()))

    with pytest.raises(VendorJobExpired):
        creatify(server).check(name)
    assert not server.seen


# --- Callback ---------------------------------------------------------------------------------


@pytest.mark.proves(
    "creatify: webhook field id",
    "creatify: webhook field status",
    "creatify: webhook field failed_reason",
    "creatify: webhook field video_output",
)
@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"id": JOB, "status": "done", "video_output": "https://evil.test/a"}).encode(),
        json.dumps({"id": JOB.upper()}).encode(),
        f"id={JOB}&status=running&failed_reason=".encode(),
        f"status=done&video_output=https%3A%2F%2Fa%2Fb&id={JOB}".encode(),
    ],
)
def test_d6_d8_a_callback_says_which_job_to_look_at_and_nothing_else(serve: Serve, body: bytes) -> None:
    assert creatify(serve(answer())).read_callback(Callback(headers={}, body=body)) == JOB


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"5",
        b'{"id": 5}',
        b'{"id": "../x"}',
        b"id=1",
        b"\xff\xfe",
        b"[" * 60_000,
        b"a=1&" * 9_000,
    ],
)
def test_d8_a_callback_that_names_no_job_is_refused_whatever_it_holds(serve: Serve, body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        creatify(serve(answer())).read_callback(Callback(headers={}, body=body))


def test_d8_a_huge_callback_is_not_even_read(serve: Serve) -> None:
    body = json.dumps({"id": JOB, "x": "y" * 70_000}).encode()

    with pytest.raises(PayloadTooLarge):
        creatify(serve(answer())).read_callback(Callback(headers={}, body=body))


@pytest.mark.proves("creatify: delivery webhook of a failure", "creatify: answer field failed_reason")
def test_a_job_that_fails_calls_back_too_and_says_why_when_it_is_looked_at(serve: Serve) -> None:
    receiver = serve(answer(204))
    with CreatifyEmulator(pace=0.02) as emulator:
        emulator.faults.play("job-failed", reason="The voice is not available")
        client = VendorClient("creatify", emulator.url, local=True)
        vendor = Creatify(client, {"CREATIFY_API_ID": "id", "CREATIFY_API_KEY": "key"})
        working = vendor.start(SynthesisRequest(text="Good morning."), callback_url=f"{receiver.url}/callbacks/t")
        until = time.monotonic() + 10
        while not receiver.seen and time.monotonic() < until:
            time.sleep(0.01)  # between two looks, so that the emulator can speak

        [told] = receiver.seen
        assert told.json["status"] == "failed"
        assert vendor.read_callback(Callback(headers=told.headers, body=told.body)) == working.vendor_job_id
        with pytest.raises(VendorJobFailed, match="The voice is not available"):
            vendor.check(working.vendor_job_id)


# --- Reconcile --------------------------------------------------------------------------------


@pytest.mark.proves("creatify: answer field webhook_url")
@pytest.mark.parametrize("paged", [False, True])
def test_b9_c18_a_lost_create_is_found_by_its_callback_address(serve: Serve, paged: bool) -> None:
    jobs = [job("running", id=OTHER, webhook_url="https://api.example.com/other"), job("in_queue")]
    server = serve(answer(200, {"count": 2, "results": jobs} if paged else jobs))

    found = creatify(server).reconcile(["https://api.example.com/callbacks/creatify/token-0", CALLBACK])

    assert found == StillWorking(vendor_job_id=JOB, check_after=5.0, status="in_queue")
    assert server.seen[0].path == "/api/text_to_speech/?ordering=-created_at"


@pytest.mark.parametrize("jobs", [[], [job(webhook_url="https://api.example.com/other")], [job(webhook_url=None)]])
def test_c18_no_job_of_ours_in_the_list_means_that_there_is_none(serve: Serve, jobs: Any) -> None:
    assert creatify(serve(answer(200, jobs))).reconcile([CALLBACK]) is None


@pytest.mark.parametrize("status", [404, 405])
def test_c18_where_no_list_is_offered_nobody_can_know(serve: Serve, status: int) -> None:
    with pytest.raises(UnsupportedOperation):
        creatify(serve(answer(status))).reconcile([CALLBACK])


def test_c18_a_list_that_does_not_show_callback_addresses_proves_nothing(serve: Serve) -> None:
    silent = {name: value for name, value in job().items() if name != "webhook_url"}

    with pytest.raises(UnsupportedOperation):
        creatify(serve(answer(200, [silent]))).reconcile([CALLBACK])


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", VendorUnavailable),
        (200, b"<html>", VendorUnavailable),
        (200, {"detail": "?"}, VendorUnavailable),
        (401, b"", VendorUnauthorized),
        (429, b"", VendorThrottled),
    ],
)
def test_c18_a_list_that_cannot_be_read_now_is_read_later(
    serve: Serve, status: int, body: Any, error: type[VendorError]
) -> None:
    with pytest.raises(VendorError) as caught:
        creatify(serve(answer(status, body))).reconcile([CALLBACK])

    assert type(caught.value) is error


def test_b9_without_a_callback_address_there_is_nothing_to_look_for(serve: Serve) -> None:
    with pytest.raises(UnsupportedOperation):
        creatify(serve(answer(200, []))).reconcile([])
