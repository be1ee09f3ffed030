"""Voice.ai's three deliveries against the vendor as its documents describe it: one text, one purchase, whole audio."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.emulators.base import WRONG_KEY
from local.emulators.voiceai import VOICES, VoiceaiEmulator
from speech.audio.verify import verify
from speech.errors import (
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
from speech.ids import segment_key
from speech.jobs import Spec
from speech.vendors import check_request
from speech.vendors.base import AudioReady, SynthesisRequest
from speech.vendors.http import VendorClient
from speech.vendors.voiceai import LANGUAGES, VoiceAi

TEXT = "The quick brown fox jumps over the lazy dog, and nobody minds."
ROUTES = {"whole": "POST /api/v1/tts/speech", "stream": "POST /api/v1/tts/speech/stream", "websocket": "WS"}
DELIVERIES = tuple(ROUTES)

Speak = Callable[..., AudioReady]


@pytest.fixture
def emulator() -> Iterator[VoiceaiEmulator]:
    with VoiceaiEmulator() as running:
        yield running


@pytest.fixture(params=DELIVERIES)
def delivery(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def speaker(
    emulator: VoiceaiEmulator, *, seconds: float = 20, key: str = "vk_right", max_audio: int = 1 << 26
) -> Speak:
    """Speaks one text after another as the warm process of a function does: an adapter each, one client."""
    client = VendorClient("voiceai", emulator.url, local=True, deadline_seconds=seconds, max_audio=max_audio)

    def speak(
        delivery: str, text: str = TEXT, *, voice: str | None = None, language: str | None = "en", **options: Any
    ) -> Any:
        chosen = check_request("voiceai", voice=voice, options={"delivery": delivery, **options})
        vendor = VoiceAi(client.within(seconds), {"VOICEAI_API_KEY": key})
        return vendor.start(SynthesisRequest(text=text, voice=voice, language=language, options=chosen))

    return speak


def asked(emulator: VoiceaiEmulator) -> list[dict[str, Any]]:
    """The bodies of all requests for speech, and the messages on sockets."""
    return [entry.body for entry in emulator.journal.entries if entry.method in ("POST", "WS")]


def handshakes(emulator: VoiceaiEmulator) -> int:
    return sum(entry.method == "GET" for entry in emulator.journal.entries)


# --- Speaking ---------------------------------------------------------------------------------


@pytest.mark.proves("voiceai: delivery whole", "voiceai: delivery stream", "voiceai: delivery websocket")
def test_a_text_becomes_whole_audio_and_is_billed_once(emulator: VoiceaiEmulator, delivery: str) -> None:
    ready = speaker(emulator)(delivery)

    heard = verify(ready.data, characters=len(TEXT))
    assert heard.container == "wav"
    assert heard.seconds == pytest.approx(emulator.book.entries[0].seconds, abs=0.01)
    assert len(emulator.book.of(TEXT)) == len(emulator.book) == 1
    assert emulator.journal.undocumented == []
    routes = {f"{entry.method} {entry.path}" for entry in emulator.journal.entries if entry.method != "GET"}
    assert {route.partition(" /api/v1/tts/stream")[0] for route in routes} == {ROUTES[delivery]}


@pytest.mark.proves(
    "voiceai: default model",
    "voiceai: message field language",
    "voiceai: language en",
    "voiceai: language ca",
    "voiceai: language sv",
    "voiceai: language es",
    "voiceai: language fr",
    "voiceai: language de",
    "voiceai: language it",
    "voiceai: language pt",
    "voiceai: language pl",
    "voiceai: language ru",
    "voiceai: language nl",
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_sent_and_the_model_is_left_to_follow_from_it(
    emulator: VoiceaiEmulator, delivery: str, language: str
) -> None:
    speaker(emulator)(delivery, "Ola.", language=language)

    [body] = asked(emulator)
    assert body["language"] == language
    assert "model" not in body
    [spoken] = emulator.book.entries
    assert spoken.language == language
    assert spoken.model == ("voiceai-tts-v1-latest" if language == "en" else "voiceai-tts-multilingual-v1-latest")


@pytest.mark.proves("voiceai: named model")
@pytest.mark.parametrize(
    ("language", "model"),
    [("en", "voiceai-tts-multilingual-v1-latest"), ("de", "voiceai-tts-v1-latest")],
)
def test_a_model_that_is_named_wins_over_the_one_of_the_language(
    emulator: VoiceaiEmulator, delivery: str, language: str, model: str
) -> None:
    speaker(emulator)(delivery, "Ola.", language=language, model=model)

    [body], [spoken] = asked(emulator), emulator.book.entries
    assert (body["language"], body["model"]) == (spoken.language, spoken.model) == (language, model)


@pytest.mark.proves("voiceai: default voice", "voiceai: default language")
def test_without_a_language_and_a_voice_none_is_sent_and_the_vendor_has_its_own(
    emulator: VoiceaiEmulator, delivery: str
) -> None:
    speaker(emulator)(delivery, "Hello.", language=None)

    [body], [spoken] = asked(emulator), emulator.book.entries
    assert not {"language", "voice_id"} & body.keys()
    assert (spoken.language, spoken.voice) == ("en", "default")


@pytest.mark.proves(
    "voiceai: field voice_id", "voiceai: field model", "voiceai: message field text", "voiceai: message field flush"
)
def test_every_field_arrives_when_it_is_asked_for(emulator: VoiceaiEmulator, delivery: str) -> None:
    wanted = {
        "audio_format": "wav_24000",
        "temperature": 0.7,
        "top_p": 0.9,
        "model": "voiceai-tts-multilingual-v1-latest",
        "dictionary_id": "d-1",
        "dictionary_version": 2,
    }

    ready = speaker(emulator)(delivery, "Yes.", voice=VOICES[0].voice_id, **wanted)

    [body] = asked(emulator)
    flush = {"flush": True} if delivery == "websocket" else {}
    assert body == {"text": "Yes.", "voice_id": VOICES[0].voice_id, "language": "en", **wanted, **flush}
    assert verify(ready.data, characters=4).sample_rate == 24000
    assert emulator.journal.undocumented == []


@pytest.mark.parametrize("audio_format", ["mp3", "mp3_44100_128", "pcm", "pcm_16000", "ulaw_8000", "opus_48000_64"])
def test_any_documented_format_can_be_asked_for(emulator: VoiceaiEmulator, delivery: str, audio_format: str) -> None:
    ready = speaker(emulator)(delivery, audio_format=audio_format)

    assert verify(ready.data, characters=len(TEXT)).seconds == pytest.approx(emulator.book.entries[0].seconds, abs=0.1)


@pytest.mark.parametrize("sizes", ["placeholder", "real"])
@pytest.mark.parametrize("delivery", ["stream", "websocket"])
def test_a_streamed_wav_is_whole_whatever_its_header_says(emulator: VoiceaiEmulator, delivery: str, sizes: Any) -> None:
    emulator.switches.streamed_wav_sizes = sizes

    ready = speaker(emulator)(delivery)

    assert verify(ready.data, characters=len(TEXT)).seconds == pytest.approx(emulator.book.entries[0].seconds, abs=0.01)


def test_unicode_arrives_as_it_was(emulator: VoiceaiEmulator, delivery: str) -> None:
    text = 'Grüße, “señor” — 日本 👩‍👩‍👧 <b>&amp;</b> \\ "quoted" é.'

    speaker(emulator)(delivery, text)

    assert len(emulator.book.of(text)) == 1


def test_audio_is_the_same_content_however_it_came() -> None:
    keys = {
        segment_key("default", Spec("voiceai", None, "en", "mp3", vendor_options=options), TEXT)
        for options in ({}, *({"delivery": each} for each in DELIVERIES))
    }

    assert len(keys) == 1


# --- Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("throttled", VendorThrottled),
        ("quota", VendorQuotaExhausted),
        ("unauthorized", VendorUnauthorized),
        ("voice-missing", VendorRejected),
        ("rejected", VendorRejected),
        ("server-error", VendorUnavailable),
        ("unavailable", VendorUnavailable),
        ("redirect", VendorMisbehaved),
    ],
)
def test_c3_c4_c5_c7_c13_a_refusal_means_the_same_on_every_way(
    emulator: VoiceaiEmulator, delivery: str, fault: str, error: type[VendorError]
) -> None:
    emulator.faults.play(fault)

    with pytest.raises(VendorError) as caught:
        speaker(emulator)(delivery)

    assert type(caught.value) is error
    assert len(emulator.book) == 0
    assert not [entry for entry in emulator.journal.entries if entry.path == "/elsewhere"]


def test_c3_the_delay_a_throttle_asks_for_is_kept(emulator: VoiceaiEmulator, delivery: str) -> None:
    emulator.faults.play("throttled", headers={"Retry-After": "7"})

    with pytest.raises(VendorThrottled) as caught:
        speaker(emulator)(delivery)

    assert caught.value.retry_after == 7


def test_c5_a_wrong_key_is_refused_and_not_shown(emulator: VoiceaiEmulator, delivery: str) -> None:
    with pytest.raises(VendorUnauthorized) as caught:
        speaker(emulator, key=WRONG_KEY)(delivery)

    assert WRONG_KEY not in caught.value.detail


def test_c7_an_empty_account_is_told_from_a_refused_text(emulator: VoiceaiEmulator, delivery: str) -> None:
    emulator.switches.credits = 0

    with pytest.raises(VendorQuotaExhausted):
        speaker(emulator)(delivery)


def test_a_voice_that_is_not_there_is_refused_for_good(emulator: VoiceaiEmulator, delivery: str) -> None:
    for voice in ("nobody", VOICES[3].voice_id):
        with pytest.raises(VendorError) as caught:
            speaker(emulator)(delivery, voice=voice)

        assert type(caught.value) is VendorRejected


def test_c21_a_limit_below_the_documented_one_is_named(emulator: VoiceaiEmulator, delivery: str) -> None:
    emulator.switches.plan = "free"

    with pytest.raises(VendorTextTooLong) as caught:
        speaker(emulator)(delivery, "word " * 101)

    assert caught.value.limit == 500
    assert len(emulator.book) == 0


# --- Faults of transport ----------------------------------------------------------------------


def test_c1_a_vendor_that_is_not_there_was_not_asked(emulator: VoiceaiEmulator, delivery: str) -> None:
    speak = speaker(emulator)
    emulator.stop()

    with pytest.raises(VendorUnavailable) as caught:
        speak(delivery)

    assert not isinstance(caught.value, VendorAmbiguous)


@pytest.mark.parametrize("delivery", ["whole", "stream"])
@pytest.mark.parametrize("fault", ["hang", "reset", "lost"])
def test_c2_an_answer_that_never_comes_is_ambiguous(emulator: VoiceaiEmulator, delivery: str, fault: str) -> None:
    emulator.faults.play(fault)

    with pytest.raises(VendorAmbiguous):
        speaker(emulator, seconds=3 if fault == "lost" else 0.4)(delivery)

    assert len(asked(emulator)) == 1


@pytest.mark.parametrize("fault", ["hang", "reset"])
def test_c2_without_an_upgrade_no_text_was_sent(emulator: VoiceaiEmulator, fault: str) -> None:
    emulator.faults.play(fault)

    with pytest.raises(VendorUnavailable) as caught:
        speaker(emulator, seconds=0.4)("websocket")

    assert not isinstance(caught.value, VendorAmbiguous)
    assert asked(emulator) == []


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        ("cut", {"framing": "length"}),
        ("cut", {"framing": "chunked"}),
        ("cut", {"framing": "close"}),
        ("stall", {}),
        ("false-length", {}),
        ("drip", {}),
        ("endless", {}),
        ("empty", {}),
        ("no-content", {}),
        ("json", {}),
        ("html", {}),
        ("null", {}),
        ("gzip", {}),
        ("bomb", {"bytes": 1 << 24}),
        ("silent", {}),
        ("wrong-container", {"container": "png"}),
    ],
)
@pytest.mark.parametrize("audio_format", ["wav", "mp3"])
def test_c8_c10_c11_c12_c14_a_stream_that_was_cut_or_spoiled_is_not_audio(
    emulator: VoiceaiEmulator, fault: str, how: dict[str, Any], audio_format: str
) -> None:
    emulator.faults.play(fault, times=None, **how)
    slow = fault in ("stall", "false-length", "drip")
    speak = speaker(emulator, seconds=1 if slow else 20, max_audio=1 << 20)

    began = time.monotonic()
    with pytest.raises((VendorError, UnusableAudio)) as caught:
        verify(speak("stream", audio_format=audio_format).data, characters=len(TEXT))

    assert isinstance(caught.value, UnusableAudio) or caught.value.retryable
    assert time.monotonic() - began < 15
    assert len(emulator.book) == 1


def test_c11_a_stream_that_comes_slowly_but_in_time_is_taken(emulator: VoiceaiEmulator) -> None:
    emulator.faults.play("drip", seconds=0.3)

    assert verify(speaker(emulator)("stream").data, characters=len(TEXT)).frames > 0


# --- The socket -------------------------------------------------------------------------------


@pytest.mark.proves("voiceai: message field is_last")
@pytest.mark.parametrize(
    ("fault", "how", "error"),
    [
        ("socket-cut", {}, VendorAmbiguous),
        ("socket-without-last", {}, VendorMisbehaved),
        ("socket-error", {"reason": "Failed"}, VendorMisbehaved),
        ("socket-error", {"reason": "Too many concurrent TTS generations"}, VendorThrottled),
        ("socket-bad-base64", {}, VendorMisbehaved),
        ("socket-close", {"close_code": 1003}, VendorRejected),
        ("socket-close", {"close_code": 1007}, VendorRejected),
        ("socket-close", {"close_code": 1008, "reason": "Invalid API key"}, VendorUnauthorized),
        ("socket-close", {"close_code": 1008, "reason": "Insufficient credits to generate"}, VendorQuotaExhausted),
        ("socket-close", {"close_code": 1008, "reason": "Too many concurrent TTS generations"}, VendorThrottled),
        ("socket-close", {"close_code": 1008, "reason": "Text too long"}, VendorTextTooLong),
        ("socket-close", {"close_code": 1008, "reason": "Voice not found"}, VendorRejected),
        ("socket-close", {"close_code": 1008}, VendorRejected),
        ("socket-close", {"close_code": 1011, "reason": "Internal error"}, VendorUnavailable),
        ("socket-close", {"close_code": 1000}, VendorMisbehaved),
        ("socket-close", {"close_code": 4711}, VendorMisbehaved),
    ],
)
def test_c15_success_only_with_is_last_and_every_other_end_has_its_error(
    emulator: VoiceaiEmulator, fault: str, how: dict[str, Any], error: type[VendorError]
) -> None:
    emulator.faults.play(fault, **how)

    with pytest.raises(VendorError) as caught:
        speaker(emulator)("websocket")

    assert type(caught.value) is error
    assert len(asked(emulator)) == 1, "nobody but the queue tries again"


def test_c15_audio_and_is_last_in_one_message_are_both_read(emulator: VoiceaiEmulator) -> None:
    whole = speaker(emulator)("websocket").data
    emulator.faults.play("socket-last-with-audio")

    assert speaker(emulator)("websocket").data == whole


def test_after_an_end_that_was_none_the_next_text_gets_a_socket_of_its_own(emulator: VoiceaiEmulator) -> None:
    emulator.faults.play("socket-bad-base64")
    speak = speaker(emulator)

    with pytest.raises(VendorMisbehaved):
        speak("websocket")
    ready = speak("websocket")

    assert verify(ready.data, characters=len(TEXT)).frames > 0
    assert handshakes(emulator) == 2


@pytest.mark.proves("voiceai: later messages")
def test_texts_in_the_same_voice_share_a_socket_where_it_stays_open(emulator: VoiceaiEmulator) -> None:
    speak = speaker(emulator)

    heard = [speak("websocket", text, voice=VOICES[0].voice_id) for text in ("Hello! How are you?", "I can help.")]

    assert handshakes(emulator) == 1
    assert asked(emulator)[1] == {"text": "I can help.", "flush": True}
    assert [len(emulator.book.of(text)) for text in ("Hello! How are you?", "I can help.")] == [1, 1]
    assert all(verify(ready.data, characters=11).frames > 0 for ready in heard)
    assert emulator.journal.undocumented == []


def test_where_the_vendor_closes_after_is_last_the_next_text_opens_anew(emulator: VoiceaiEmulator) -> None:
    emulator.switches.closes_after_last = True
    speak = speaker(emulator)

    for text in ("One.", "Two.", "Three."):
        assert verify(speak("websocket", text).data, characters=4).frames > 0

    assert handshakes(emulator) == 3
    assert [purchase.characters for purchase in emulator.book.entries] == [4, 4, 6]
    assert all("audio_format" in body for body in asked(emulator))


@pytest.mark.proves("voiceai: delivery multi-context")
@pytest.mark.parametrize(
    "other",
    [{"voice": VOICES[1].voice_id}, {"language": "de"}, {"temperature": 0.5}, {"audio_format": "wav_24000"}],
    ids=lambda other: next(iter(other)),
)
def test_another_voice_or_option_never_speaks_on_the_same_socket(
    emulator: VoiceaiEmulator, other: dict[str, Any]
) -> None:
    speak = speaker(emulator)

    speak("websocket", "One.")
    speak("websocket", "Two.", **other)

    assert handshakes(emulator) == 2
    assert all("audio_format" in body for body in asked(emulator))
