"""Convai's documented answers, and its switches."""

from typing import Any

import httpx
import pytest

from local.emulators.convai import VOICES, ConvaiEmulator

FABLE = "fable_OpenAi_c4d30a32-bcaf-4048-b7b0-0f2bb293205a"


@pytest.mark.proves("convai: header CONVAI-API-KEY", "convai: header CONVAI-API_KEY")
def test_both_documented_spellings_of_the_key_header_open(convai: ConvaiEmulator) -> None:
    body = {"transcript": "Hello.", "voice": FABLE}

    for header in ("CONVAI-API-KEY", "CONVAI-API_KEY"):
        assert httpx.post(f"{convai.url}/tts/", json=body, headers={header: "key"}).status_code == 200

    assert convai.journal.undocumented == []


@pytest.mark.proves("convai: default encoding", "convai: field encoding")
@pytest.mark.parametrize("asked", [None, "wav", "WAV", "mp3", "MP3"])
def test_the_encoding_is_the_one_that_was_asked_for(convai_client: httpx.Client, asked: str | None) -> None:
    body = {"transcript": "Hello.", "voice": FABLE, **({"encoding": asked} if asked else {})}

    response = convai_client.post("/tts/", json=body)

    is_mp3 = asked is not None and asked.lower() == "mp3"
    assert response.headers["Content-Type"] == ("audio/mpeg" if is_mp3 else "audio/wav")
    assert response.content[:2] == (b"\xff\xf3" if is_mp3 else b"RI")


def test_case_can_matter(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.switches.case_sensitive_encoding = True

    response = convai_client.post("/tts/", json={"transcript": "Hello.", "voice": FABLE, "encoding": "WAV"})

    assert response.status_code == 400


def test_a_file_name_names_the_download(convai_client: httpx.Client) -> None:
    response = convai_client.post("/tts/", json={"transcript": "Hello.", "voice": FABLE, "filename": "testAudio"})

    assert "attachment" in response.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"voice": FABLE}, "transcript"),
        ({"transcript": "", "voice": FABLE}, "transcript"),
        ({"transcript": 7, "voice": FABLE}, "transcript"),
        ({"transcript": "Hello."}, "voice"),
        ({"transcript": "Hello.", "voice": "nobody"}, "voice"),
        ({"transcript": "Hello.", "voice": FABLE, "encoding": "ogg"}, "encoding"),
        ({"transcript": "Hello.", "voice": FABLE, "filename": 7}, "filename"),
        ({"transcript": "Hello.", "voice": "Aria-Realtime"}, "Realtime"),
        ({"transcript": "Hello.", "voice": "WUMale 3", "encoding": "mp3"}, "MP3"),
        (["Hello."], "JSON"),
    ],
)
def test_what_the_documents_do_not_allow_is_refused_and_not_billed(
    convai: ConvaiEmulator, convai_client: httpx.Client, body: Any, names: str
) -> None:
    response = convai_client.post("/tts/", json=body)

    assert response.status_code == 400
    assert names in response.json()["ERROR"]
    assert len(convai.book) == 0


def test_what_is_not_json_is_refused(convai_client: httpx.Client) -> None:
    json_header = {"Content-Type": "application/json"}

    assert convai_client.post("/tts/", content=b"{", headers=json_header).status_code == 400
    assert convai_client.post("/tts/", data={"transcript": "Hello.", "voice": FABLE}).status_code == 400


def test_a_voice_with_a_space_in_its_name_speaks(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    response = convai_client.post("/tts/", json={"transcript": "Hello.", "voice": "WUMale 3"})

    assert response.status_code == 200
    assert convai.book.entries[0].voice == "WUMale 3"


def test_a_voice_without_mp3_may_answer_with_wav(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.switches.mp3_refusal = "wav"

    response = convai_client.post("/tts/", json={"transcript": "Hello.", "voice": "WUMale 3", "encoding": "mp3"})

    assert response.content.startswith(b"RIFF")


def test_voices_sound_different_and_speak_their_languages(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    voices = [voice for voice in VOICES if not voice.realtime]

    spoken = {
        convai_client.post("/tts/", json={"transcript": "Radio 7.", "voice": voice.voice_value}).content
        for voice in voices
    }

    assert len(spoken) == len(voices)
    languages = {voice.language_codes[0].split("-")[0] for voice in voices}
    assert languages == {"en", "ca", "sv", "es", "fr", "de", "it", "pt", "pl", "ru", "nl"}


def test_a_missing_key_and_a_wrong_key_are_told_apart(convai: ConvaiEmulator) -> None:
    body = {"transcript": "Hello.", "voice": FABLE}
    wrong = {"CONVAI-API-KEY": "wrong-key"}

    assert httpx.post(f"{convai.url}/tts/", json=body).status_code == 401
    assert httpx.post(f"{convai.url}/tts/", json=body, headers=wrong).status_code == 401
    assert httpx.get(f"{convai.url}/tts/get_available_voices").status_code == 400
    assert httpx.get(f"{convai.url}/tts/get_available_voices", headers=wrong).status_code == 401

    convai.switches.missing_key_status = 400
    assert httpx.post(f"{convai.url}/tts/", json=body).status_code == 400


def test_the_address_without_a_slash_redirects_or_serves(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    body = {"transcript": "Hello.", "voice": FABLE}

    redirected = convai_client.post("/tts", json=body)
    convai.switches.slashless = "serve"
    served = convai_client.post("/tts", json=body)

    assert (redirected.status_code, redirected.headers["Location"]) == (308, f"{convai.url}/tts/")
    assert served.content.startswith(b"RIFF")


def test_the_voice_list_has_its_odd_shape(convai_client: httpx.Client) -> None:
    sections = convai_client.get("/tts/get_available_voices").json()

    assert {"Azure Voices", "Elevenlabs Voices", "GCP Voices", "Open AI voices", "Convai Voices"} == set(sections)
    [fable, _alloy] = sections["Open AI voices"]
    assert list(fable) == ["Fable"]
    assert fable["Fable"]["voice_value"] == FABLE
    assert fable["Fable"]["gender"] == "MALE"
    assert set(fable["Fable"]) == {"voice_value", "lang_codes", "gender", "sample_link", "deployment_env"}


def test_the_language_list_and_health_answer(convai_client: httpx.Client) -> None:
    languages = convai_client.get("/tts/get_available_languages").json()

    assert {"en-US": {"lang_code": "en-US", "lang_name": "English (US)"}} in languages
    assert convai_client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("unauthorized", 401, "invalid API key"),
        ("forbidden", 403, "Enterprise"),
        ("throttled", 429, "rate limit exceeded"),
        ("quota", 429, "usage limit exceeded for current plan"),
        ("server-error", 500, "Reference ID"),
        ("unavailable", 503, "unavailable"),
    ],
)
def test_documented_refusals_can_be_played(
    convai: ConvaiEmulator, convai_client: httpx.Client, fault: str, status: int, words: str
) -> None:
    convai.faults.play(fault)

    response = convai_client.post("/tts/", json={"transcript": "Hello.", "voice": FABLE})

    assert response.status_code == status
    assert words in response.text


@pytest.mark.parametrize("style", ["API_ERROR", "error"])
def test_errors_come_under_older_and_newer_names(
    convai: ConvaiEmulator, convai_client: httpx.Client, style: str
) -> None:
    convai_client.put("/_emulator/switches", json={"error_body": style})
    convai.faults.play("throttled")

    refused = convai_client.post("/tts/", json={"voice": FABLE, "transcript": "Hello."})
    invalid = convai_client.post("/tts/", json={"voice": FABLE})

    assert list(refused.json()) == list(invalid.json()) == [style]


def test_errors_need_not_be_json(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.switches.error_body = "html"

    response = convai_client.post("/tts/", json={"voice": FABLE})

    assert response.text.startswith("<html>")


def test_a_plan_below_enterprise_may_list_voices_and_not_speak(
    convai: ConvaiEmulator, convai_client: httpx.Client
) -> None:
    convai.switches.plan = "professional"

    assert convai_client.post("/tts/", json={"transcript": "Hello.", "voice": FABLE}).status_code == 403
    assert convai_client.get("/tts/get_available_voices").status_code == 200


def test_a_limit_that_nobody_published_can_be_set(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.switches.max_characters = 10

    at_the_limit = convai_client.post("/tts/", json={"transcript": "a" * 10, "voice": FABLE})
    above = convai_client.post("/tts/", json={"transcript": "a" * 11, "voice": FABLE})

    assert (at_the_limit.status_code, above.status_code) == (200, 400)
