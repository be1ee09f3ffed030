"""Dify's quirks, asserted on the request that went out and on the answers its documents describe."""

from collections.abc import Callable
from typing import Any

import pytest

from speech.errors import (
    VendorError,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import validate_options
from speech.vendors.base import AudioReady, SynthesisRequest
from speech.vendors.dify import Dify
from speech.vendors.http import VendorClient
from tests.vendors.scripted import Scripted, answer

Serve = Callable[..., Scripted]
MP3 = b"\xff\xfb\x90\x64" + bytes(100)


def dify(server: Scripted) -> Dify:
    return Dify(VendorClient("dify", f"{server.url}/v1", local=True, deadline_seconds=10), {"DIFY_API_KEY": "app-1"})


def test_the_request_goes_to_the_operators_base_and_always_names_a_user(serve: Serve) -> None:
    server = serve(answer(200, MP3, headers=[("Content-Type", "audio/mpeg")]))

    ready = dify(server).start(SynthesisRequest(text="Hi.", voice="alloy", language="de"))

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/v1/text-to-audio")
    assert seen.headers["authorization"] == "Bearer app-1"
    assert seen.json == {"text": "Hi.", "user": "voicedrop", "voice": "alloy"}
    assert ready == AudioReady(data=MP3, media_type="audio/mpeg")


def test_options_are_sent_by_their_own_names(serve: Serve) -> None:
    server = serve(answer(200, MP3))
    options = validate_options(Dify.capabilities, {"user": "abc-123", "streaming": True})

    dify(server).start(SynthesisRequest(text="Hi.", options=options))

    assert server.seen[0].json == {"text": "Hi.", "user": "abc-123", "streaming": True}


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "provider_quota_exceeded", VendorQuotaExhausted),
        (400, "app_unavailable", VendorRejected),
        (400, "provider_not_initialize", VendorRejected),
        (400, "model_currently_not_support", VendorRejected),
        (400, "invalid_param", VendorRejected),
        (400, "something_new", VendorRejected),
        (400, "completion_request_error", VendorUnavailable),
        (401, "unauthorized", VendorUnauthorized),
        (403, "forbidden", VendorUnauthorized),
        (429, "too_many_requests", VendorThrottled),
        (429, "rate_limit_error", VendorQuotaExhausted),
        (429, None, VendorThrottled),
        (500, "internal_server_error", VendorUnavailable),
        (500, "unknown", VendorUnavailable),
        (502, None, VendorUnavailable),
    ],
)
def test_c6_the_bodys_code_is_looked_at_before_the_status(
    serve: Serve, status: int, code: str | None, error: type[VendorError]
) -> None:
    server = serve(answer(status, {"code": code, "message": "Rate limit exceeded", "status": status}))

    with pytest.raises(VendorError) as caught:
        dify(server).start(SynthesisRequest(text="Hi."))

    assert type(caught.value) is error
    assert caught.value.vendor_code == code


@pytest.mark.parametrize("body", [b"null\n", b"", b'{"code": "x"}'])
def test_c8_a_success_without_audio_is_misbehaviour(serve: Serve, body: Any) -> None:
    with pytest.raises(VendorMisbehaved):
        dify(serve(answer(200, body, headers=[("Content-Type", "audio/mpeg")]))).start(SynthesisRequest(text="Hi."))
