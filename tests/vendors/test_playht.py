"""PlayHT's quirks, asserted on the requests that went out and on the answers its documents describe."""

from collections.abc import Callable
from typing import Any

import pytest

from speech.errors import (
    InvalidRequest,
    VendorAmbiguous,
    VendorError,
    VendorJobExpired,
    VendorJobFailed,
    VendorMisbehaved,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import validate_options
from speech.vendors.base import AudioReady, StillWorking, SynthesisRequest
from speech.vendors.http import VendorClient
from speech.vendors.playht import PlayHt
from tests.vendors.scripted import Scripted, answer

Serve = Callable[..., Scripted]
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40)
VOICE = "s3://voice-cloning-zero-shot/x/manifest.json"
JOB = "LqAqLrNfRHK6QdQpxj"
REQUEST = SynthesisRequest(text="Hi.", voice=VOICE)


def playht(server: Scripted) -> PlayHt:
    client = VendorClient("playht", server.url, local=True, deadline_seconds=10)
    return PlayHt(client, {"PLAYHT_API_KEY": "key", "PLAYHT_USER_ID": "user"})


def test_a_job_is_created_with_both_keys_and_an_explicit_accept(serve: Serve) -> None:
    server = serve(answer(201, {"id": JOB, "output": None}))
    options = validate_options(PlayHt.capabilities, {"seed": None, "temperature": 0.5, "delivery": "json"})

    working = playht(server).start(SynthesisRequest(text="Hi.", voice=VOICE, speed=1.5, options=options))

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/api/v2/tts"), "without a slash at the end"
    assert (seen.headers["authorization"], seen.headers["x-user-id"]) == ("Bearer key", "user")
    assert seen.headers["accept"] == "application/json", "*/* is ambiguous in the documents"
    assert seen.json == {
        "text": "Hi.",
        "voice": VOICE,
        "output_format": "wav",
        "speed": 1.5,
        "seed": None,
        "temperature": 0.5,
    }
    assert isinstance(working, StillWorking)
    assert working.vendor_job_id == JOB


def test_the_id_may_come_in_the_location_alone(serve: Serve) -> None:
    server = serve(answer(201, b"", headers=[("Location", f"/api/v2/tts/{JOB}?format=event-stream")]))

    assert playht(server).start(REQUEST).vendor_job_id == JOB


@pytest.mark.parametrize("body", [b"", {}, {"id": "../x"}, {"id": 5}])
def test_c18_a_create_without_an_id_is_ambiguous(serve: Serve, body: Any) -> None:
    with pytest.raises(VendorAmbiguous):
        playht(serve(answer(201, body))).start(REQUEST)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error_message": "Unauthorized", "error_id": "UNAUTHORIZED"}, VendorUnauthorized),
        (403, {"error_message": "Forbidden", "error_id": "FORBIDDEN"}, VendorUnauthorized),
        (400, {"error_message": "Bad voice", "error_id": "BAD_VOICE"}, VendorRejected),
        (429, "Rate limit exceeded. Try again within a minute.", VendorThrottled),
        (500, {"message": "Oops", "error": "Internal"}, VendorUnavailable),
    ],
)
def test_c3_c4_c5_refusals_have_three_kinds_of_body(
    serve: Serve, status: int, body: Any, error: type[VendorError]
) -> None:
    with pytest.raises(VendorError) as caught:
        playht(serve(answer(status, body))).start(REQUEST)

    assert type(caught.value) is error


@pytest.mark.parametrize("job", [{}, {"output": None}, {"output": {}}, {"output": {"url": None}}, {"status": "queued"}])
def test_c17_a_job_without_an_address_is_still_working(serve: Serve, job: dict[str, Any]) -> None:
    server = serve(answer(200, {"id": JOB, **job}))

    assert isinstance(playht(server).check(JOB), StillWorking)
    assert (server.seen[0].path, server.seen[0].headers["accept"]) == (f"/api/v2/tts/{JOB}", "application/json")


def test_the_result_is_public_and_fetched_without_keys(serve: Serve) -> None:
    files = serve(answer(200, WAV))
    server = serve(answer(200, {"id": JOB, "output": {"url": f"{files.url}/pigeon/{JOB}_0.wav"}}))

    assert playht(server).check(JOB) == AudioReady(data=WAV)
    assert "authorization" not in files.seen[0].headers


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, {"error_message": "Not found"}, VendorJobExpired),
        (200, {"id": JOB, "status": "failed"}, VendorJobFailed),
        (200, {"id": JOB, "status": "error", "output": None}, VendorJobFailed),
        (200, {"id": JOB, "output": {"url": "https://10.0.0.1/a.wav"}}, VendorJobFailed),
        (200, b"<html>", VendorUnavailable),
        (400, b"", VendorUnavailable),
        (500, b"", VendorUnavailable),
        (429, "Rate limit exceeded", VendorThrottled),
    ],
)
def test_c17_c19_how_a_check_may_end_badly(serve: Serve, status: int, body: Any, error: type[VendorError]) -> None:
    with pytest.raises(VendorError) as caught:
        playht(serve(answer(status, body))).check(JOB)

    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "error"), [(404, VendorMisbehaved), (302, VendorMisbehaved), (503, VendorUnavailable)]
)
def test_c19_a_result_that_is_not_there(serve: Serve, status: int, error: type[VendorError]) -> None:
    files = serve(answer(status))
    server = serve(answer(200, {"id": JOB, "output": {"url": files.url}}))

    with pytest.raises(VendorError) as caught:
        playht(server).check(JOB)

    assert type(caught.value) is error


@pytest.mark.parametrize(
    "options",
    [{"speed": 0}, {"sample_rate": 7999}, {"seed": -1}, {"temperature": 2.1}, {"quality": None}, {"emotion": "glad"}],
)
def test_options_outside_the_documented_ranges_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        validate_options(PlayHt.capabilities, options)
