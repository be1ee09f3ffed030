"""Voice.ai's quirks, asserted on the request that went out and on the answers its documents describe."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from speech.errors import (
    InvalidRequest,
    UnsupportedOption,
    VendorError,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import check_request
from speech.vendors.base import AudioReady, SynthesisRequest
from speech.vendors.voiceai import PATHS, VoiceAi
from tests.vendors.scripted import Scripted, answer, vendor_at

Serve = Callable[..., Scripted]
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40)


def refused(server: Scripted, text: str = "Good morning.") -> VendorError:
    with pytest.raises(VendorError) as caught:
        vendor_at("voiceai", server).start(SynthesisRequest(text=text))
    return caught.value


@pytest.mark.proves(
    "voiceai: delivery whole", "voiceai: header Authorization", "voiceai: header Content-Type", "voiceai: field text"
)
def test_the_smallest_request_is_the_text_and_the_format_that_joins_exactly(serve: Serve) -> None:
    server = serve(answer(200, WAV, headers=[("Content-Type", "audio/wav")]))

    ready = vendor_at("voiceai", server).start(SynthesisRequest(text="Hello!"))

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/api/v1/tts/speech")
    assert seen.headers["authorization"] == "Bearer voiceai_api_key"
    assert seen.headers["content-type"] == "application/json"
    assert seen.json == {"text": "Hello!", "audio_format": "wav"}, "no model: the API picks it by language"
    assert ready == AudioReady(data=WAV, media_type="audio/wav")


@pytest.mark.proves("voiceai: delivery whole", "voiceai: delivery stream", "voiceai: delivery websocket")
def test_all_three_addresses_are_the_documented_ones() -> None:
    assert {delivery: VoiceAi.base_url + path for delivery, path in PATHS.items()} == {
        "whole": "https://dev.voice.ai/api/v1/tts/speech",
        "stream": "https://dev.voice.ai/api/v1/tts/speech/stream",
        "websocket": "https://dev.voice.ai/api/v1/tts/stream",
    }


@pytest.mark.proves("voiceai: field language")
@pytest.mark.parametrize(("tag", "code"), [("pt-BR", "pt"), ("en", "en"), ("DE-at", "de"), ("ca-ES-valencia", "ca")])
def test_a_language_goes_in_as_bcp_47_and_out_as_iso_639_1(serve: Serve, tag: str, code: str) -> None:
    server = serve(answer(200, WAV))
    check_request("voiceai", language=tag)

    vendor_at("voiceai", server).start(SynthesisRequest(text="Olá!", language=tag))

    assert server.seen[0].json["language"] == code


@pytest.mark.parametrize("tag", ["ja", "zh-Hans", "eng", "x-private", ""])
def test_a_language_that_voice_ai_does_not_list_is_refused(tag: str) -> None:
    with pytest.raises(UnsupportedOption) as caught:
        check_request("voiceai", language=tag)

    assert [each.field for each in caught.value.errors] == ["language"]


@pytest.mark.proves("voiceai: field voice_id", "voiceai: field model", "voiceai: field language")
def test_every_option_is_sent_by_its_own_name_and_delivery_is_ours_alone(serve: Serve) -> None:
    server = serve(answer(200, b"\xff\xfb\x90\x00"))
    wanted = {
        "audio_format": "mp3_44100_192",
        "temperature": 0.5,
        "top_p": 1,
        "model": "voiceai-tts-v1-2026-02-10",
        "language": "en",
        "dictionary_id": "d-1",
        "dictionary_version": 3,
    }
    options = check_request("voiceai", options={**wanted, "delivery": "whole"})

    vendor_at("voiceai", server).start(SynthesisRequest(text="Hi.", voice="v-1", language="de", options=options))

    assert server.seen[0].json == {"text": "Hi.", "voice_id": "v-1", **wanted}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"temperature": 2.01}, InvalidRequest),
        ({"temperature": -0.01}, InvalidRequest),
        ({"temperature": "1"}, InvalidRequest),
        ({"temperature": True}, InvalidRequest),
        ({"temperature": None}, InvalidRequest),
        ({"temperature": float("nan")}, InvalidRequest),
        ({"top_p": 1.5}, InvalidRequest),
        ({"top_p": 10**400}, InvalidRequest),
        ({"dictionary_version": 1}, InvalidRequest),
        ({"dictionary_version": 0, "dictionary_id": "d"}, InvalidRequest),
        ({"dictionary_version": 1.5, "dictionary_id": "d"}, InvalidRequest),
        ({"audio_format": 5}, InvalidRequest),
        ({"audio_format": "aiff"}, UnsupportedOption),
        ({"delivery": "pigeon"}, UnsupportedOption),
        ({"model": "voiceai-tts-lite-v1-latest"}, UnsupportedOption),
        ({"language": "pt-BR"}, UnsupportedOption),
        ({"text": "other"}, UnsupportedOption),
        ({"voice_id": "other"}, UnsupportedOption),
        ({"speed": 2}, UnsupportedOption),
    ],
)
def test_options_outside_the_documented_types_and_ranges_are_refused_by_name(
    options: dict[str, Any], error: type[InvalidRequest]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request("voiceai", options=options)

    assert type(caught.value) is error
    assert [each.field for each in caught.value.errors] == [f"vendor_options.{next(iter(options))}"]


def test_limits_themselves_are_allowed() -> None:
    options = {"temperature": 0, "top_p": 1.0, "dictionary_id": "d", "dictionary_version": 1.0}

    checked = check_request("voiceai", options=options)

    assert checked == options
    assert isinstance(checked["dictionary_version"], int)


def test_a_speed_is_refused_because_voice_ai_has_none() -> None:
    with pytest.raises(UnsupportedOption) as caught:
        check_request("voiceai", speed=1.2)

    assert [each.field for each in caught.value.errors] == ["speed"]


VALIDATION = {"detail": [{"loc": ["body", "voice_id"], "msg": "secret words of the text", "type": "value_error"}]}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error": "Invalid API key", "detail": None, "code": None}, VendorUnauthorized),
        (403, {"detail": "Forbidden"}, VendorUnauthorized),
        (402, {"error": "Insufficient credits to generate speech"}, VendorQuotaExhausted),
        (400, {"error": "Insufficient credits to generate speech"}, VendorQuotaExhausted),
        (404, {"error": "Voice not found"}, VendorRejected),
        (422, VALIDATION, VendorRejected),
        (400, {"error": "Bad request"}, VendorRejected),
        (400, {"error": "Too many concurrent TTS generations"}, VendorThrottled),
        (400, {"error": "Error", "detail": "too many concurrent TTS generations (2)"}, VendorThrottled),
        (429, {"error": "too many concurrent TTS generations"}, VendorThrottled),
        (429, b"", VendorThrottled),
        (500, {"error": "Internal server error"}, VendorUnavailable),
        (502, b"<html>", VendorUnavailable),
        (500, {"error": "too many concurrent TTS generations"}, VendorUnavailable),
        (200, {"error": "Insufficient credits"}, VendorMisbehaved),
        (204, b"", VendorMisbehaved),
        (302, b"", VendorMisbehaved),
    ],
)
def test_c3_c4_c5_c7_answers_mean_what_the_documents_and_the_field_say(
    serve: Serve, status: int, body: Any, error: type[VendorError]
) -> None:
    caught = refused(serve(answer(status, body)))

    assert type(caught) is error
    assert (caught.vendor, caught.vendor_status) == ("voiceai", status)


def test_a_422_names_the_field_and_does_not_repeat_the_message(serve: Serve) -> None:
    caught = refused(serve(answer(422, VALIDATION)))

    assert "`voice_id`" in caught.detail
    assert "secret" not in caught.detail


def test_the_vendors_code_is_kept_when_it_looks_like_one(serve: Serve) -> None:
    assert refused(serve(answer(404, {"error": "No", "code": "voice_not_found"}))).vendor_code == "voice_not_found"
    assert refused(serve(answer(404, {"error": "No", "code": "a code with text in it"}))).vendor_code is None


@pytest.mark.parametrize(
    ("audio_format", "subtype", "rate", "frames"),
    [("pcm", "PCM_16", 32000, 800), ("pcm_8000", "PCM_16", 8000, 800), ("ulaw_8000", "ULAW", 8000, 1600)],
)
def test_raw_samples_get_the_header_that_says_what_they_are(
    serve: Serve, audio_format: str, subtype: str, rate: int, frames: int
) -> None:
    import soundfile

    server = serve(answer(200, bytes(range(200)) * 8))

    ready = vendor_at("voiceai", server).start(SynthesisRequest(text="Hi.", options={"audio_format": audio_format}))
    assert isinstance(ready, AudioReady)
    found = soundfile.info(io.BytesIO(ready.data))

    assert (found.format, found.subtype, found.samplerate, found.frames) == ("WAV", subtype, rate, frames)


def test_c9_an_answer_that_brings_its_own_container_is_left_as_it_is(serve: Serve) -> None:
    ready = vendor_at("voiceai", serve(answer(200, WAV))).start(
        SynthesisRequest(text="Hi.", options={"audio_format": "pcm"})
    )

    assert isinstance(ready, AudioReady)
    assert ready.data == WAV
