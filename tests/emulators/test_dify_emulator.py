"""Dify's documented answers, and its switches."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from local.emulators.dify import VOICES, DifyEmulator

SPEAK = "/text-to-audio"


def test_the_example_of_the_documents_gets_audio(
    dify: DifyEmulator, dify_client: httpx.Client, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    example = {"text": "Hello, welcome to our service.", "user": "abc-123", "voice": "alloy", "streaming": False}

    response = dify_client.post(SPEAK, json=example)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "audio/mpeg")
    assert 1 < len(decoded(response.content)[0]) / 24000 < 4
    assert dify.journal.undocumented == []


@pytest.mark.proves("dify: address")
def test_a_self_hosted_base_has_no_version(dify: DifyEmulator) -> None:
    response = httpx.post(f"{dify.url}{SPEAK}", json={"text": "Hello."}, headers={"Authorization": "Bearer k"})

    assert response.status_code == 200


@pytest.mark.parametrize("streaming", [None, True, False])
@pytest.mark.parametrize("streams", [True, False])
def test_the_provider_decides_whether_it_streams(
    dify: DifyEmulator, dify_client: httpx.Client, streams: bool, streaming: bool | None
) -> None:
    dify.switches.streams = streams

    response = dify_client.post(SPEAK, json={"text": "Hello.", "streaming": streaming})

    assert ("Content-Length" in response.headers) is not streams


def test_an_older_server_calls_everything_mpeg(dify: DifyEmulator, dify_client: httpx.Client) -> None:
    dify.switches.audio_format = "wav"
    honest = dify_client.post(SPEAK, json={"text": "Hello."})
    dify.switches.content_type = "old"
    old = dify_client.post(SPEAK, json={"text": "Hello."})

    assert [answer.headers["Content-Type"] for answer in (honest, old)] == ["audio/wav", "audio/mpeg"]
    assert old.content.startswith(b"RIFF")


def test_an_older_server_answers_with_several_files_in_a_row(
    dify: DifyEmulator, dify_client: httpx.Client, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    dify.switches.audio_format = "wav"
    whole = dify_client.post(SPEAK, json={"text": "One, two, three."}).content
    dify.switches.wav_parts = 3

    parts = dify_client.post(SPEAK, json={"text": "One, two, three."}).content

    files = [b"RIFF" + part for part in parts.split(b"RIFF")[1:]]
    assert len(files) == 3
    assert sum(len(decoded(file)[0]) for file in files) == pytest.approx(len(decoded(whole)[0]), abs=3)


def test_voices_sound_different(dify: DifyEmulator, dify_client: httpx.Client) -> None:
    spoken = {dify_client.post(SPEAK, json={"text": "Hello.", "voice": voice}).content for voice in VOICES}

    assert len(spoken) == len(VOICES)


@pytest.mark.proves("dify: priority message_id")
def test_a_message_wins_over_a_text_and_a_missing_one_is_null(dify: DifyEmulator, dify_client: httpx.Client) -> None:
    dify.switches.messages = {"6f1c1f0e-6d0d-4a0a-9a55-0c0f6f3a7c11": "An answer."}

    found = dify_client.post(SPEAK, json={"message_id": "6f1c1f0e-6d0d-4a0a-9a55-0c0f6f3a7c11", "text": "Not this."})
    missing = dify_client.post(SPEAK, json={"message_id": "6f1c1f0e-6d0d-4a0a-9a55-0c0f6f3a7c12", "text": "Not this."})

    assert found.status_code == missing.status_code == 200
    assert missing.content == b"null\n"
    assert [len(dify.book.of(text)) for text in ("An answer.", "Not this.")] == [1, 0]


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": " "}, {"text": 7}, {"text": "a", "streaming": "yes"}, []])
def test_what_cannot_be_spoken_is_an_invalid_parameter(dify_client: httpx.Client, body: Any) -> None:
    response = dify_client.post(SPEAK, json=body)

    assert response.status_code == 400
    assert set(response.json()) == {"code", "message", "status"}
    assert response.json()["code"] in ("invalid_param", "bad_request")


def test_speech_that_is_off_or_has_no_voice_is_an_invalid_parameter(
    dify: DifyEmulator, dify_client: httpx.Client
) -> None:
    dify.switches.voice = None
    voiceless = dify_client.post(SPEAK, json={"text": "Hello."})
    dify.switches.enabled = False
    off = dify_client.post(SPEAK, json={"text": "Hello."})

    assert voiceless.json()["message"] == "Sorry, no voice available."
    assert off.json() == {"code": "invalid_param", "message": "TTS is not enabled", "status": 400}


@pytest.mark.parametrize("header", [None, "Bearer", "Basic app-key", "Bearer wrong-key"])
def test_a_missing_or_wrong_key_is_unauthorized(dify: DifyEmulator, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    response = httpx.post(f"{dify.url}/v1{SPEAK}", json={"text": "Hello."}, headers=headers)

    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("app-unavailable", 400, "app_unavailable"),
        ("not-initialized", 400, "provider_not_initialize"),
        ("quota", 400, "provider_quota_exceeded"),
        ("model-not-supported", 400, "model_currently_not_support"),
        ("request-error", 400, "completion_request_error"),
        ("throttled", 429, "too_many_requests"),
        ("plan-quota", 429, "rate_limit_error"),
        ("server-error", 500, "internal_server_error"),
        ("unknown-error", 500, "unknown"),
    ],
)
def test_every_documented_code_can_be_played(
    dify: DifyEmulator, dify_client: httpx.Client, fault: str, status: int, code: str
) -> None:
    dify.faults.play(fault)

    response = dify_client.post(SPEAK, json={"text": "Hello."})

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert len(dify.book) == 0


def test_parameters_and_info_tell_what_is_configured(dify_client: httpx.Client) -> None:
    parameters = dify_client.get("/parameters").json()
    info = dify_client.get("/info").json()

    assert parameters["text_to_speech"] == {
        "enabled": True,
        "voice": "alloy",
        "language": "en-US",
        "autoPlay": "disabled",
    }
    assert set(info) == {"name", "description", "tags", "mode", "author_name"}
