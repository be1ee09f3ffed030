"""Convai's quirks, asserted on the request that went out and on the answers its documents describe."""

from collections.abc import Callable
from typing import Any

import pytest

from local.emulators.convai import ConvaiEmulator
from speech.audio.verify import verify
from speech.errors import (
    InvalidRequest,
    UnsupportedOption,
    VendorAmbiguous,
    VendorError,
    VendorGone,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors import check_request
from speech.vendors.base import AudioReady, SynthesisRequest
from speech.vendors.convai import Convai
from speech.vendors.http import VendorClient
from tests.vendors.scripted import Scripted, answer, vendor_at

Serve = Callable[..., Scripted]
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40)
REQUEST = SynthesisRequest(text="Good morning.", voice="WUMale 3")


def refused(server: Scripted, request: SynthesisRequest = REQUEST) -> VendorError:
    with pytest.raises(VendorError) as caught:
        vendor_at("convai", server).start(request)
    return caught.value


@pytest.mark.proves(
    "convai: delivery whole",
    "convai: header CONVAI-API-KEY",
    "convai: header Content-Type",
    "convai: field transcript",
    "convai: field voice",
    "convai: status 200",
)
def test_the_request_has_the_documented_fields_and_no_other(serve: Serve) -> None:
    server = serve(answer(200, WAV, headers=[("Content-Type", "audio/x-whatever"), ("X-Request-Id", "r-1")]))

    ready = vendor_at("convai", server).start(REQUEST)

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/tts/"), "with the slash, or a redirect would lose us the answer"
    assert seen.headers["convai-api-key"] == "convai_api_key"
    assert "authorization" not in seen.headers
    assert seen.headers["content-type"] == "application/json"
    assert Convai.base_url + seen.path == "https://api.convai.com/tts/"
    assert seen.json == {"transcript": "Good morning.", "voice": "WUMale 3", "encoding": "wav"}
    assert ready == AudioReady(data=WAV, media_type="audio/x-whatever", request_id="r-1")


def test_language_and_speed_are_never_sent_because_no_document_has_them(serve: Serve) -> None:
    server = serve(answer(200, WAV))

    vendor_at("convai", server).start(SynthesisRequest(text="Hola.", voice="v", language="es-MX", speed=1.5))

    assert server.seen[0].json.keys() == {"transcript", "voice", "encoding"}


@pytest.mark.proves("convai: field filename", "convai: field encoding")
def test_options_are_sent_by_convais_own_names(serve: Serve) -> None:
    server = serve(answer(200, b"ID3\x04\x00"))
    options = check_request("convai", voice="v", options={"encoding": "mp3", "filename": "chapter 1.mp3"})

    vendor_at("convai", server).start(SynthesisRequest(text="Hi.", voice="v", options=options))

    assert server.seen[0].json == {
        "transcript": "Hi.",
        "voice": "v",
        "encoding": "mp3",
        "filename": "chapter 1.mp3",
    }


@pytest.mark.proves("convai: field filename")
@pytest.mark.parametrize("name", ["../a", "a/b", "a\\b", "", ".", "..", "a\x00b", "a\nb", "C:a", "x" * 101, None, 5])
def test_t13_a_file_name_that_is_a_path_is_refused_before_anything_is_sent(name: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request("convai", voice="v", options={"filename": name})

    assert [each.field for each in caught.value.errors] == ["vendor_options.filename"]


@pytest.mark.proves("convai: field voice")
def test_a_voice_is_required(serve: Serve) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request("convai")

    assert [each.field for each in caught.value.errors] == ["voice"]
    with pytest.raises(UnsupportedOption):
        vendor_at("convai", serve(answer())).start(SynthesisRequest(text="Hi."))


@pytest.mark.proves("convai: status other")
@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"ERROR": "The request is missing an API key."}, VendorUnauthorized),
        (401, {"API_ERROR": "Invalid API key provided."}, VendorUnauthorized),
        (401, b"", VendorUnauthorized),
        (403, {"ERROR": "The request contains an invalid API key."}, VendorUnauthorized),
        (403, {"ERROR": "This API is available only on the Enterprise plan."}, VendorUnauthorized),
        (429, {"ERROR": "API rate limit exceeded. Please try again later."}, VendorThrottled),
        (429, {"error": "Rate limit exceeded."}, VendorThrottled),
        (429, b"<html>Too Many Requests</html>", VendorThrottled),
        (429, {"ERROR": "API usage limit exceeded for current plan."}, VendorQuotaExhausted),
        (402, b"Payment Required", VendorQuotaExhausted),
        (400, {"ERROR": "voice: Field required"}, VendorRejected),
        (404, {"ERROR": "Voice not found"}, VendorRejected),
        (400, "a bare JSON string", VendorRejected),
        (422, b"\xff\xfe not even text", VendorRejected),
        (500, {"ERROR": "Internal error.", "Reference ID": "abc"}, VendorUnavailable),
        (503, b"Service Unavailable", VendorUnavailable),
        (500, {"ERROR": "API usage limit exceeded for current plan."}, VendorUnavailable),
        (308, b"", VendorMisbehaved),
    ],
)
def test_c3_c4_c5_c7_an_answer_is_classified_by_message_and_then_by_status(
    serve: Serve, status: int, body: Any, error: type[VendorError]
) -> None:
    caught = refused(serve(answer(status, body)))

    assert type(caught) is error
    assert (caught.vendor, caught.vendor_status) == ("convai", status)


def test_c3_a_throttle_carries_the_delay_that_convai_asks_for(serve: Serve) -> None:
    server = serve(answer(429, {"ERROR": "Rate limit exceeded."}, headers=[("Retry-After", "42")]))

    assert refused(server).retry_after == 42


@pytest.mark.parametrize("body", [b"", b"   ", b"null", b'{"ERROR": "no"}', b"Internal error"])
def test_c8_a_success_that_is_plainly_no_audio_is_never_returned_as_audio(serve: Serve, body: bytes) -> None:
    server = serve(answer(200, body, headers=[("Content-Type", "audio/wav")]))

    assert type(refused(server)) is VendorMisbehaved


@pytest.mark.parametrize(
    "reply", [answer(200, b"<!DOCTYPE html><p>"), answer(200, b" <HTML><p>Moved"), answer(410, b"Gone")]
)
def test_c20_a_web_page_in_the_place_of_the_api_is_no_vendor_any_more(serve: Serve, reply: bytes) -> None:
    assert type(refused(serve(reply))) is VendorGone


def test_c12_a_packed_answer_is_not_taken_for_audio(serve: Serve) -> None:
    assert type(refused(serve(answer(200, b"\x1f\x8b", headers=[("Content-Encoding", "gzip")])))) is VendorMisbehaved


def test_c2_a_lost_answer_is_ambiguous(serve: Serve) -> None:
    server = serve(lambda connection: connection.sendall(answer(200, WAV, length=999)))

    assert type(refused(server)) is VendorAmbiguous


@pytest.mark.proves("convai: status other")
def test_i17_the_vendors_words_are_repeated_unless_they_quote_ours(serve: Serve) -> None:
    plain = refused(serve(answer(400, {"ERROR": "Voice not found"})))
    quoting = refused(serve(answer(400, {"ERROR": "Cannot speak 'Good morning'"})))
    leaking = refused(serve(answer(401, {"ERROR": "Invalid API key convai_api_key"})))

    assert "Voice not found" in plain.detail
    assert "morning" not in quoting.detail
    assert "convai_api_key" not in leaking.detail


@pytest.mark.parametrize("key", ["", "  ", "two\nlines", "schlüssel"])
def test_without_a_usable_key_nothing_is_sent(serve: Serve, key: str) -> None:
    server = serve(answer(200, WAV))
    vendor = Convai(vendor_at("convai", server)._http, {"CONVAI_API_KEY": key})

    with pytest.raises(VendorUnauthorized, match="CONVAI_API_KEY"):
        vendor.start(REQUEST)
    assert not server.seen


@pytest.mark.proves("convai: limit mp3")
@pytest.mark.parametrize("refusal", ["error", "wav"])
def test_a_voice_without_mp3_is_refused_by_convai_or_speaks_wav_and_either_is_understood(refusal: Any) -> None:
    request = SynthesisRequest(text="Good morning.", voice="WUMale 3", options={"encoding": "mp3"})
    with ConvaiEmulator(mp3_refusal=refusal) as emulator:
        vendor = Convai(VendorClient("convai", emulator.url, local=True), {"CONVAI_API_KEY": "k"})

        if refusal == "wav":
            assert verify(vendor.start(request).data, characters=13).container == "wav"
            return
        with pytest.raises(VendorRejected) as caught:
            vendor.start(request)

    assert caught.value.detail == "Convai answered 400: MP3 is not supported by this voice."
    assert len(emulator.book) == 0


@pytest.mark.proves("convai: plan Enterprise")
def test_a_plan_below_enterprise_is_told_what_it_needs() -> None:
    with ConvaiEmulator(plan="professional") as emulator:
        vendor = Convai(VendorClient("convai", emulator.url, local=True), {"CONVAI_API_KEY": "k"})

        with pytest.raises(VendorUnauthorized, match="needs Convai's Enterprise plan"):
            vendor.start(REQUEST)

    assert len(emulator.book) == 0


@pytest.mark.proves("convai: default encoding")
def test_without_an_encoding_what_convai_makes_is_wav() -> None:
    with ConvaiEmulator() as emulator:
        vendor = Convai(VendorClient("convai", emulator.url, local=True), {"CONVAI_API_KEY": "k"})

        heard = verify(vendor.start(REQUEST).data, characters=13)

    assert heard.container == "wav"


@pytest.mark.proves("convai: limit realtime voices")
def test_a_realtime_voice_is_in_the_list_and_refused_by_convai_alone() -> None:
    with ConvaiEmulator() as emulator:
        vendor = Convai(VendorClient("convai", emulator.url, local=True), {"CONVAI_API_KEY": "k"})
        assert "Aria-Realtime" in {voice.id for voice in vendor.voices()}
        check_request("convai", voice="Aria-Realtime")

        with pytest.raises(VendorRejected) as caught:
            vendor.start(SynthesisRequest(text="Good morning.", voice="Aria-Realtime"))

    assert "Realtime" in caught.value.detail
    assert len(emulator.book) == 0
