"""Voice.ai's documented answers, and its switches."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy
import pytest

from local.emulators.voiceai import ENCODINGS, VOICES, VoiceaiEmulator

SPEECH = "/api/v1/tts/speech"
STREAM = "/api/v1/tts/speech/stream"
OLIVER = VOICES[0].voice_id


@pytest.mark.proves("voiceai: delivery stream")
def test_the_streaming_sample_gets_its_audio_in_chunks(voiceai_client: httpx.Client) -> None:
    body = {"text": "This text will be streamed in chunks.", "model": "voiceai-tts-v1-latest", "language": "en"}

    with voiceai_client.stream("POST", STREAM, json=body) as response:
        chunks = list(response.iter_raw())

    assert response.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in response.headers
    assert len(chunks) > 1
    assert b"".join(chunks).startswith(b"\xff\xfb")


def test_a_streamed_wav_does_not_know_its_length_unless_it_is_switched(
    voiceai: VoiceaiEmulator, voiceai_client: httpx.Client
) -> None:
    body = {"text": "Hello.", "audio_format": "wav"}

    streamed = voiceai_client.post(STREAM, json=body).content
    whole = voiceai_client.post(SPEECH, json=body).content
    voiceai.switches.streamed_wav_sizes = "real"
    honest = voiceai_client.post(STREAM, json=body).content

    assert streamed[4:8] == b"\xff\xff\xff\xff"
    assert streamed[44:] == whole[44:]
    assert honest == whole


@pytest.mark.parametrize("audio_format", sorted(ENCODINGS))
def test_every_audio_format_is_served(
    voiceai_client: httpx.Client, audio_format: str, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    response = voiceai_client.post(SPEECH, json={"text": "Hello there.", "audio_format": audio_format})

    encoding = ENCODINGS[audio_format]
    assert response.status_code == 200
    if encoding.container in ("pcm", "alaw", "ulaw"):
        width = 2 if encoding.container == "pcm" else 1
        seconds = len(response.content) / width / encoding.sample_rate
    else:
        samples, sample_rate = decoded(response.content)
        assert sample_rate == encoding.sample_rate
        seconds = len(samples) / sample_rate
    assert 0.5 < seconds < 2


@pytest.mark.parametrize("language", ["en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl"])
def test_every_language_is_spoken(voiceai: VoiceaiEmulator, voiceai_client: httpx.Client, language: str) -> None:
    response = voiceai_client.post(SPEECH, json={"text": "Radio 7.", "language": language, "audio_format": "wav"})

    assert response.status_code == 200
    assert voiceai.book.entries[0].language == language


@pytest.mark.parametrize(
    "model",
    [
        "voiceai-tts-v1-latest",
        "voiceai-tts-v1-2026-02-10",
        "voiceai-tts-multilingual-v1-latest",
        "voiceai-tts-multilingual-v1-2026-02-10",
    ],
)
def test_every_model_is_accepted(voiceai_client: httpx.Client, model: str) -> None:
    assert voiceai_client.post(SPEECH, json={"text": "Hello.", "model": model}).status_code == 200


@pytest.mark.proves("voiceai: default voice")
def test_voices_sound_different_and_none_is_needed(voiceai_client: httpx.Client) -> None:
    asked: list[dict[str, str]] = [{}, *({"voice_id": voice.voice_id} for voice in VOICES[:3])]

    spoken = {
        voiceai_client.post(SPEECH, json={"text": "Hello.", "audio_format": "wav", **voice}).content for voice in asked
    }

    assert len(spoken) == len(asked)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"text": None}, "text"),
        ({"text": ""}, "text"),
        ({"text": 7}, "text"),
        ({"language": "xx"}, "language"),
        ({"language": "auto"}, "language"),
        ({"model": "voiceai-tts-lite-v1-latest"}, "model"),
        ({"audio_format": "aac"}, "audio_format"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"dictionary_id": "d", "dictionary_version": 0}, "dictionary_version"),
        ({"speed": 1.5}, "speed"),
    ],
)
def test_what_the_schema_does_not_allow_is_unprocessable(
    voiceai: VoiceaiEmulator, voiceai_client: httpx.Client, change: dict[str, Any], where: str
) -> None:
    response = voiceai_client.post(SPEECH, json={"text": "Hello.", **change})

    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert set(problem) == {"loc", "msg", "type"}
    assert problem["loc"] == ["body", where]
    assert len(voiceai.book) == 0


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"text"', b'{"dictionary_version": 1, "text": "Hello."}'])
def test_a_body_that_is_no_request_is_unprocessable(voiceai_client: httpx.Client, body: bytes) -> None:
    response = voiceai_client.post(SPEECH, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    assert response.json()["detail"]


def test_the_ranges_include_their_ends(voiceai_client: httpx.Client) -> None:
    for temperature, top_p in ((0, 0), (2, 1)):
        body = {"text": "Hello.", "temperature": temperature, "top_p": top_p}
        assert voiceai_client.post(SPEECH, json=body).status_code == 200


@pytest.mark.parametrize(("plan", "most"), [("free", 500), ("paid", 5000)])
def test_a_plan_allows_so_many_characters(voiceai_client: httpx.Client, plan: str, most: int) -> None:
    voiceai_client.put("/_emulator/switches", json={"plan": plan})
    text = "Så är det. " * 500

    at_the_limit = voiceai_client.post(SPEECH, json={"text": text[:most], "audio_format": "wav_16000"})
    above = voiceai_client.post(SPEECH, json={"text": text[: most + 1], "audio_format": "wav_16000"})

    assert (at_the_limit.status_code, above.status_code) == (200, 422)
    assert above.json()["detail"][0]["loc"] == ["body", "text"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong-key", "Basic key", "vk_key"])
def test_a_missing_or_wrong_key_is_unauthorized(voiceai: VoiceaiEmulator, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    response = httpx.post(f"{voiceai.url}{SPEECH}", json={"text": "Hello."}, headers=headers)

    assert response.status_code == 401
    assert set(response.json()) == {"error", "detail", "code"}


@pytest.mark.parametrize("voice", ["nobody", VOICES[3].voice_id, VOICES[4].voice_id])
def test_a_voice_that_is_missing_unready_or_not_ours_is_not_found(voiceai_client: httpx.Client, voice: str) -> None:
    response = voiceai_client.post(SPEECH, json={"text": "Hello.", "voice_id": voice})

    assert response.status_code == 404
    assert response.json()["error"] == "Voice not found"


def test_an_empty_account_has_to_pay_first(voiceai: VoiceaiEmulator, voiceai_client: httpx.Client) -> None:
    voiceai.switches.credits = 10

    statuses = [voiceai_client.post(SPEECH, json={"text": "A minute of a thousand."}).status_code for _ in range(2)]

    assert statuses == [200, 402]
    [purchase] = voiceai.book.entries
    assert purchase.credits == pytest.approx(purchase.seconds * 1000 / 60, abs=0.01)


@pytest.mark.parametrize("status", [400, 429])
def test_too_much_at_once_is_refused_in_either_known_way(
    voiceai: VoiceaiEmulator, voiceai_client: httpx.Client, status: int
) -> None:
    voiceai_client.put("/_emulator/switches", json={"concurrency_status": status})
    voiceai.faults.play("throttled")

    response = voiceai_client.post(SPEECH, json={"text": "Hello."})

    assert response.status_code == status
    assert "concurrent TTS generations" in response.json()["error"]


@pytest.mark.parametrize(("fault", "status"), [("quota", 402), ("rejected", 422), ("server-error", 500)])
def test_documented_refusals_can_be_played(
    voiceai: VoiceaiEmulator, voiceai_client: httpx.Client, fault: str, status: int
) -> None:
    voiceai.faults.play(fault)

    assert voiceai_client.post(SPEECH, json={"text": "Hello."}).status_code == status


def test_voices_are_listed_and_shown_one_by_one(voiceai_client: httpx.Client) -> None:
    listed = voiceai_client.get("/api/v1/tts/voices").json()
    one = voiceai_client.get(f"/api/v1/tts/voice/{OLIVER}").json()

    assert one in listed
    assert one == {"voice_id": OLIVER, "status": "AVAILABLE", "name": "Oliver", "voice_visibility": "PUBLIC"}
    assert VOICES[4].voice_id not in {voice["voice_id"] for voice in listed}
    assert voiceai_client.get(f"/api/v1/tts/voice/{VOICES[4].voice_id}").status_code == 404
    assert voiceai_client.get("/api/v1/tts/nothing").json() == {"detail": "Not Found"}


def test_a_stream_can_be_cut_in_the_middle(voiceai: VoiceaiEmulator, voiceai_client: httpx.Client) -> None:
    voiceai.faults.play("cut", framing="chunked", bytes=5000)

    with pytest.raises(httpx.RemoteProtocolError):
        voiceai_client.post(STREAM, json={"text": "This will not arrive."})

    assert len(voiceai.book) == 1


def test_wav_keeps_the_speech_when_its_rate_changes(
    voiceai_client: httpx.Client, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    low = voiceai_client.post(SPEECH, json={"text": "Hello.", "audio_format": "wav_16000"}).content
    native = voiceai_client.post(SPEECH, json={"text": "Hello.", "audio_format": "wav_22050"}).content

    quiet, loud = decoded(low)[0], decoded(native)[0]
    assert len(quiet) / 16000 == pytest.approx(len(loud) / 22050, abs=0.001)
    assert numpy.sqrt((quiet**2).mean()) == pytest.approx(numpy.sqrt((loud**2).mean()), rel=0.15)
