"""Dify's quirks, asserted on the request that went out and on the answers its documents describe."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from local.emulators.dify import DifyEmulator
from speech.audio.verify import verify
from speech.errors import (
    InvalidRequest,
    UnsupportedOption,
    UnusableAudio,
    VendorAmbiguous,
    VendorError,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorTextTooLong,
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
MESSAGE = "6f8ca7a8-1c5a-4b1e-9d5c-0d7f3a2b1c4e"
SPOKEN = SynthesisRequest(text="Hi.", voice="alloy")


def client_of(server: Scripted, *, seconds: float = 10) -> VendorClient:
    return VendorClient("dify", f"{server.url}/v1", local=True, deadline_seconds=seconds)


def dify(server: Scripted, http: VendorClient | None = None, *, key: str = "app-1") -> Dify:
    return Dify(http or client_of(server), {"DIFY_API_KEY": key})


def refused(server: Scripted, request: SynthesisRequest = SPOKEN) -> VendorError:
    with pytest.raises(VendorError) as caught:
        dify(server).start(request)
    return caught.value


def parameters(voice: Any = "nova", **more: Any) -> bytes:
    speech = {"enabled": True, "voice": voice, "language": "en-US", "autoPlay": "disabled", **more}
    return answer(200, {"text_to_speech": speech})


# --- What is sent -----------------------------------------------------------------------------


@pytest.mark.proves(
    "dify: delivery whole",
    "dify: address",
    "dify: header Authorization",
    "dify: header Content-Type",
    "dify: field text",
    "dify: field user",
    "dify: field voice",
    "dify: status 200",
)
def test_the_request_goes_to_the_operators_base_and_always_names_a_user(serve: Serve) -> None:
    server = serve(answer(200, MP3, headers=[("Content-Type", "audio/mpeg"), ("X-Request-Id", "r-1")]))

    ready = dify(server).start(SynthesisRequest(text="Hi.", voice="alloy", language="de"))

    [seen] = server.seen
    assert (seen.method, seen.path) == ("POST", "/v1/text-to-audio")
    assert seen.headers["authorization"] == "Bearer app-1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.json == {"text": "Hi.", "user": "voicedrop", "voice": "alloy"}
    assert Dify.base_url + seen.path.removeprefix("/v1") == "https://api.dify.ai/v1/text-to-audio"
    assert ready == AudioReady(data=MP3, media_type="audio/mpeg", request_id="r-1")


@pytest.mark.proves("dify: field user", "dify: field streaming")
@pytest.mark.parametrize("streaming", [True, False])
def test_options_are_sent_by_their_own_names(serve: Serve, streaming: bool) -> None:
    server = serve(answer(200, MP3))
    options = validate_options(Dify.capabilities, {"user": "abc-123", "streaming": streaming})

    dify(server).start(SynthesisRequest(text="Hi.", voice="alloy", options=options))

    assert server.seen[0].json == {"text": "Hi.", "user": "abc-123", "streaming": streaming, "voice": "alloy"}


@pytest.mark.proves("dify: field message_id", "dify: limit text or message_id", "dify: priority message_id")
def test_a_message_is_sent_in_place_of_the_text(serve: Serve) -> None:
    server = serve(answer(200, MP3))
    options = validate_options(Dify.capabilities, {"message_id": MESSAGE, "user": "abc-123"})

    dify(server).start(SynthesisRequest(text="Not this.", voice="alloy", options=options))

    assert server.seen[0].json == {"message_id": MESSAGE, "user": "abc-123", "voice": "alloy"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"message_id": "not-a-uuid"}, InvalidRequest),
        ({"message_id": None}, InvalidRequest),
        ({"user": ""}, InvalidRequest),
        ({"user": "x" * 201}, InvalidRequest),
        ({"user": "a\nb"}, InvalidRequest),
        ({"user": 7}, InvalidRequest),
        ({"streaming": "true"}, InvalidRequest),
        ({"streaming": 1}, InvalidRequest),
        ({"streaming": None}, InvalidRequest),
        ({"text": "other"}, UnsupportedOption),
        ({"voice": "alloy"}, UnsupportedOption),
        ({"format": "wav"}, UnsupportedOption),
    ],
)
def test_options_of_another_type_or_name_are_refused_by_name(
    options: dict[str, Any], error: type[InvalidRequest]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate_options(Dify.capabilities, options)

    assert type(caught.value) is error
    assert [each.field for each in caught.value.errors] == [f"vendor_options.{next(iter(options))}"]


# --- The default voice ------------------------------------------------------------------------


@pytest.mark.proves("dify: default voice")
def test_without_a_voice_the_apps_own_is_asked_for_once_and_sent(serve: Serve) -> None:
    server = serve(parameters("nova"), answer(200, MP3))
    http = client_of(server)

    for text in ("One.", "Two."):
        dify(server, http.within(5)).start(SynthesisRequest(text=text))

    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("GET", "/v1/parameters"),
        ("POST", "/v1/text-to-audio"),
        ("POST", "/v1/text-to-audio"),
    ]
    assert server.seen[0].headers["authorization"] == "Bearer app-1"
    assert [seen.json["voice"] for seen in server.seen[1:]] == ["nova", "nova"]


def test_a_default_voice_is_the_apps_and_is_not_believed_for_ever(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = answer(200, MP3)
    server = serve(parameters("nova"), spoken, parameters("onyx"), spoken, parameters("echo"), spoken)
    http = client_of(server)
    dify(server, http).start(SynthesisRequest(text="Hi."))

    dify(server, http, key="app-2").start(SynthesisRequest(text="Hi."))
    monkeypatch.setattr("speech.vendors.dify.VOICE_SECONDS", 0)
    dify(server, http).start(SynthesisRequest(text="Hi."))

    said = [seen.json["voice"] if seen.method == "POST" else "?" for seen in server.seen]
    assert said == ["?", "nova", "?", "onyx", "?", "echo"]


@pytest.mark.parametrize(
    "known",
    [
        parameters(None),
        parameters(""),
        parameters(7),
        answer(200, {"text_to_speech": None}),
        answer(200, {}),
        answer(200, b"<html>"),
        answer(400, {"code": "app_unavailable", "message": "App unavailable", "status": 400}),
        answer(404),
        answer(500),
    ],
)
def test_where_the_parameters_name_no_voice_dify_finds_one_by_itself(serve: Serve, known: bytes) -> None:
    server = serve(known, answer(200, MP3))
    http = client_of(server)

    for _ in range(2):
        dify(server, http).start(SynthesisRequest(text="Hi."))

    assert [seen.method for seen in server.seen] == ["GET", "POST", "POST"], "nor is it asked again and again"
    assert server.seen[1].json == {"text": "Hi.", "user": "voicedrop"}


def test_parameters_that_never_come_do_not_stand_in_the_way_twice(serve: Serve) -> None:
    server = serve(lambda connection: connection.recv(1), answer(200, MP3))
    http = client_of(server, seconds=0.3)
    with pytest.raises(VendorUnavailable) as caught:
        dify(server, http.within(0.3)).start(SynthesisRequest(text="Hi."))

    ready = dify(server, http.within(5)).start(SynthesisRequest(text="Hi."))

    assert type(caught.value) is not VendorAmbiguous, "nothing that costs was sent"
    assert ready.data == MP3


# --- What it answers --------------------------------------------------------------------------


@pytest.mark.proves(
    "dify: error field code",
    "dify: status 400 app_unavailable",
    "dify: status 400 provider_not_initialize",
    "dify: status 400 provider_quota_exceeded",
    "dify: status 400 model_currently_not_support",
    "dify: status 400 completion_request_error",
    "dify: status 500 internal_server_error",
)
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "app_unavailable", VendorRejected),
        (400, "provider_not_initialize", VendorRejected),
        (400, "provider_quota_exceeded", VendorQuotaExhausted),
        (400, "model_currently_not_support", VendorRejected),
        (400, "completion_request_error", VendorUnavailable),
        (400, "invalid_param", VendorRejected),
        (400, "agent_not_published", VendorRejected),
        (400, "something_new", VendorRejected),
        (401, "unauthorized", VendorUnauthorized),
        (403, "forbidden", VendorUnauthorized),
        (404, "not_found", VendorRejected),
        (405, "method_not_allowed", VendorRejected),
        (413, "audio_too_large", VendorTextTooLong),
        (415, "unsupported_audio_type", VendorRejected),
        (429, "too_many_requests", VendorThrottled),
        (429, "rate_limit_error", VendorQuotaExhausted),
        (429, None, VendorThrottled),
        (500, "internal_server_error", VendorUnavailable),
        (500, "unknown", VendorUnavailable),
        (502, None, VendorUnavailable),
        (503, None, VendorUnavailable),
        (302, None, VendorMisbehaved),
    ],
)
def test_c6_the_bodys_code_is_looked_at_before_the_status(
    serve: Serve, status: int, code: str | None, error: type[VendorError]
) -> None:
    caught = refused(serve(answer(status, {"code": code, "message": "Rate limit exceeded", "status": status})))

    assert type(caught) is error
    assert (caught.vendor, caught.vendor_status, caught.vendor_code) == ("dify", status, code)


@pytest.mark.parametrize("body", [b"", b"<html>", [], "no", {"code": 5, "message": ["x"]}])
def test_c6_an_error_that_is_not_the_documented_envelope_is_read_by_its_status(serve: Serve, body: Any) -> None:
    assert type(refused(serve(answer(400, body)))) is VendorRejected
    assert type(refused(serve(answer(401, body)))) is VendorUnauthorized


@pytest.mark.proves("dify: error field status")
@pytest.mark.parametrize("told", [{"status": 400}, {"status": 500}, {"status": None}, {"status": "400"}, {}])
def test_the_status_in_the_body_adds_nothing_to_the_answers_own(serve: Serve, told: dict[str, Any]) -> None:
    body = {"code": "provider_quota_exceeded", "message": "Your quota has been exhausted.", **told}

    caught = refused(serve(answer(400, body)))

    assert (type(caught), caught.vendor_status) == (VendorQuotaExhausted, 400)


@pytest.mark.proves("dify: error field message")
def test_the_commonest_fault_says_what_to_do(serve: Serve) -> None:
    caught = refused(serve(answer(400, {"code": "invalid_param", "message": "TTS is not enabled", "status": 400})))

    assert caught.detail == (
        "Dify answered 400: TTS is not enabled. Text to speech must be enabled and published in the app, with a "
        "default model in its workspace."
    )


def test_c6_a_provider_that_finds_the_text_too_long_may_have_it_in_pieces(serve: Serve) -> None:
    body = {"code": "invalid_param", "message": "Text exceeds the limit of 600 characters", "status": 400}

    caught = refused(serve(answer(400, body)))

    assert isinstance(caught, VendorTextTooLong)
    assert (caught.limit, caught.vendor_code) == (600, "invalid_param")


@pytest.mark.parametrize("body", [b"null\n", b"null", b"", b"\n", b'{"code": "x"}'])
def test_c8_a_success_without_audio_is_misbehaviour(serve: Serve, body: bytes) -> None:
    caught = refused(serve(answer(200, body, headers=[("Content-Type", "audio/mpeg")])))

    assert type(caught) is VendorMisbehaved


def test_c8_null_for_a_message_says_that_there_is_no_such_message(serve: Serve) -> None:
    options = {"message_id": MESSAGE}
    server = serve(answer(200, b"null\n", headers=[("Content-Type", "application/json")]))

    caught = refused(server, SynthesisRequest(text="", voice="alloy", options=options))

    assert type(caught) is VendorRejected, "asking again finds no other message"
    empty = refused(serve(answer(200, b"")), SynthesisRequest(text="", voice="alloy", options=options))
    assert type(empty) is VendorMisbehaved, "a body without a byte comes and goes"


# --- What it sends ----------------------------------------------------------------------------


def a_wav(hertz: int = 24000) -> bytes:
    import numpy
    import soundfile

    file = io.BytesIO()
    wave = numpy.sin(numpy.arange(hertz // 2) / hertz * 440 * 2 * numpy.pi) / 2
    soundfile.write(file, wave, hertz, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.mark.proves("dify: answer header Content-Type")
@pytest.mark.parametrize("claim", ["audio/mpeg", "audio/wav", "audio/mp3", "application/octet-stream", ""])
def test_c9_wav_under_any_name_is_the_wav_it_is(serve: Serve, claim: str) -> None:
    ready = dify(serve(answer(200, a_wav(), headers=[("Content-Type", claim)]))).start(SPOKEN)

    heard = verify(ready.data, characters=3, media_type=ready.media_type)
    assert (heard.container, heard.sample_rate, heard.frames) == ("wav", 24000, 12000)


def test_c14_several_wav_files_in_a_row_become_one(serve: Serve) -> None:
    ready = dify(serve(answer(200, a_wav() * 3, headers=[("Content-Type", "audio/mpeg")]))).start(SPOKEN)

    assert verify(ready.data, characters=3).frames == 3 * 12000


def test_c14_wav_files_of_different_rates_in_a_row_are_refused(serve: Serve) -> None:
    ready = dify(serve(answer(200, a_wav() + a_wav(16000)))).start(SPOKEN)

    with pytest.raises(UnusableAudio):
        verify(ready.data, characters=3)


@pytest.mark.proves("dify: delivery streaming")
def test_c10_a_chunked_answer_is_whole_or_it_is_none(serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = f"{len(MP3):x}\r\n".encode() + MP3 + b"\r\n"

    ready = dify(serve(head + piece + piece + b"0\r\n\r\n")).start(SPOKEN)
    with pytest.raises(VendorAmbiguous):
        dify(serve(lambda connection: connection.sendall(head + piece + piece))).start(SPOKEN)

    assert ready.data == MP3 * 2


# --- Against the emulator ---------------------------------------------------------------------

SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody minds."


def emulated(emulator: DifyEmulator) -> Dify:
    client = VendorClient("dify", f"{emulator.url}/v1", local=True, deadline_seconds=20)
    return Dify(client, {"DIFY_API_KEY": "app-1"})


@pytest.mark.proves("dify: delivery streaming", "dify: field streaming", "dify: answer header Content-Type")
@pytest.mark.parametrize("audio_format", ["mp3", "wav"])
@pytest.mark.parametrize("content_type", ["old", "new"])
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("streaming", [True, False])
def test_whatever_the_provider_makes_is_heard_whatever_was_asked_for(
    audio_format: str, content_type: str, streams: bool, streaming: bool
) -> None:
    with DifyEmulator(audio_format=audio_format, content_type=content_type, streams=streams) as emulator:
        ready = emulated(emulator).start(SynthesisRequest(text=SENTENCE, options={"streaming": streaming}))

        assert verify(ready.data, characters=len(SENTENCE)).container == audio_format
        assert (ready.media_type == "audio/mpeg") == (content_type == "old" or audio_format == "mp3")
        assert len(emulator.book) == 1
        assert emulator.journal.undocumented == []


def test_c14_parts_of_a_wav_are_all_heard() -> None:
    with DifyEmulator(audio_format="wav", content_type="old") as emulator:
        whole = emulated(emulator).start(SynthesisRequest(text=SENTENCE))
        emulator.switches.wav_parts = 4
        parts = emulated(emulator).start(SynthesisRequest(text=SENTENCE))

    assert parts.data != whole.data
    assert verify(parts.data, characters=62).frames == verify(whole.data, characters=62).frames


@pytest.mark.proves("dify: field message_id")
def test_a_message_of_the_app_is_spoken_and_its_length_is_nobodys_to_judge() -> None:
    with DifyEmulator(messages={MESSAGE: SENTENCE}) as emulator:
        options = validate_options(Dify.capabilities, {"message_id": MESSAGE})

        ready = emulated(emulator).start(SynthesisRequest(text="", options=options))

        assert verify(ready.data, characters=None).seconds > 1
        assert len(emulator.book.of(SENTENCE)) == 1
        with pytest.raises(VendorRejected):
            emulated(emulator).start(SynthesisRequest(text="", options={"message_id": MESSAGE.replace("6", "7")}))


@pytest.mark.proves(
    "dify: status 400 app_unavailable",
    "dify: status 400 provider_not_initialize",
    "dify: status 400 provider_quota_exceeded",
    "dify: status 400 model_currently_not_support",
    "dify: status 400 completion_request_error",
    "dify: status 500 internal_server_error",
)
@pytest.mark.parametrize(
    ("fault", "code", "error"),
    [
        ("app-unavailable", "app_unavailable", VendorRejected),
        ("not-initialized", "provider_not_initialize", VendorRejected),
        ("quota", "provider_quota_exceeded", VendorQuotaExhausted),
        ("model-not-supported", "model_currently_not_support", VendorRejected),
        ("request-error", "completion_request_error", VendorUnavailable),
        ("rejected", "invalid_param", VendorRejected),
        ("unauthorized", "unauthorized", VendorUnauthorized),
        ("forbidden", "forbidden", VendorUnauthorized),
        ("throttled", "too_many_requests", VendorThrottled),
        ("plan-quota", "rate_limit_error", VendorQuotaExhausted),
        ("server-error", "internal_server_error", VendorUnavailable),
        ("unknown-error", "unknown", VendorUnavailable),
    ],
)
def test_c6_the_documented_words_of_every_code_are_understood(fault: str, code: str, error: type[VendorError]) -> None:
    with DifyEmulator() as emulator:
        emulator.faults.play(fault)

        with pytest.raises(VendorError) as caught:
            emulated(emulator).start(SynthesisRequest(text=SENTENCE))

    assert type(caught.value) is error
    assert caught.value.vendor_code == code


@pytest.mark.parametrize("switches", [{"enabled": False}, {"voice": None}])
def test_an_app_without_speech_or_without_a_voice_says_what_to_do(switches: dict[str, Any]) -> None:
    with DifyEmulator(**switches) as emulator, pytest.raises(VendorRejected, match="enabled and published"):
        emulated(emulator).start(SynthesisRequest(text=SENTENCE))
