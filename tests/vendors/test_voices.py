"""The lists of voices and what is left of credits, as each vendor tells them: read carefully, not believed blindly."""

from collections.abc import Callable
from typing import Any

import pytest

from speech.errors import VendorAmbiguous, VendorError, VendorMisbehaved, VendorThrottled, VendorUnauthorized
from speech.vendors.base import Voice
from speech.vendors.voiceai import LANGUAGES
from tests.vendors.scripted import Scripted, answer, vendor_at

Serve = Callable[..., Scripted]

CONVAI = {
    "Open AI voices": [
        {
            "Fable": {
                "voice_value": "fable_OpenAi_c4d30a32-bcaf-4048-b7b0-0f2bb293205a",
                "lang_codes": ["en-US", "cmn-CN"],
                "gender": "MALE",
                "sample_link": "https://storage.googleapis.com/samples/fable.wav",
                "deployment_env": ["PRODUCTION", "DEVELOPMENT"],
            }
        }
    ],
    "Convai Voices": [{"Warm Male 3": {"voice_value": "WUMale 3", "lang_codes": ["en-US"], "gender": "MALE"}}],
}
ACCENT = "6f8ca7a8-87b9-4f5d-905d-cc4598e79717"


def test_convais_sections_of_objects_with_one_key_become_voices(serve: Serve) -> None:
    server = serve(answer(200, CONVAI))

    found = vendor_at("convai", server).voices()

    seen = server.seen[0]
    assert (seen.method, seen.path, seen.body) == ("GET", "/tts/get_available_voices", b"")
    assert seen.headers["convai-api-key"] == "convai_api_key"
    assert found == [
        Voice(
            "fable_OpenAi_c4d30a32-bcaf-4048-b7b0-0f2bb293205a",
            "Fable",
            ("en-US", "cmn-CN"),
            "male",
            "https://storage.googleapis.com/samples/fable.wav",
        ),
        Voice("WUMale 3", "Warm Male 3", ("en-US",), "male", None),
    ]


@pytest.mark.parametrize(
    ("listed", "ids"),
    [
        ({}, []),
        ({"Empty": []}, []),
        ({"A": [{"One": {"voice_value": "1"}, "Two": {"voice_value": "2"}}]}, ["1", "2"]),
        ({"A": {"One": {"voice_value": "1"}}}, ["1"]),
        ({"A": [{"One": {}}, {"Two": "text"}, "text", None, [], {"Three": {"voice_value": 3}}]}, []),
        ({"A": None, "B": "text", "C": [{"One": {"voice_value": "1", "lang_codes": "en-US", "gender": 7}}]}, ["1"]),
        (
            {"A": [{"One": {"voice_value": ""}}, {"Two": {"voice_value": "x" * 1001}}, {"3": {"voice_value": "a\nb"}}]},
            [],
        ),
    ],
)
def test_whatever_is_odd_in_convais_list_costs_that_voice_and_no_other(
    serve: Serve, listed: Any, ids: list[str]
) -> None:
    found = vendor_at("convai", serve(answer(200, listed))).voices()

    assert [each.id for each in found] == ids


def test_details_that_are_not_what_they_should_be_count_as_not_told(serve: Serve) -> None:
    facts = {
        "voice_value": "v",
        "lang_codes": ["en_GB", "en-GB", 5, "no language", ""],
        "gender": "<b>",
        "sample_link": "javascript:alert(1)",
    }

    found = vendor_at("convai", serve(answer(200, {"A": [{" A \n name ": facts}]}))).voices()

    assert found == [Voice("v", "A name", ("en-GB",), None, None)]


def test_voice_ais_voices_are_those_that_are_ready_and_speak_every_language(serve: Serve) -> None:
    listed = [
        {"voice_id": "v-1", "status": "AVAILABLE", "name": "Oliver", "voice_visibility": "PUBLIC"},
        {"voice_id": "v-2", "status": "PROCESSING", "name": "Later", "voice_visibility": "PRIVATE"},
        {"voice_id": "v-3", "status": "FAILED", "name": "Never", "voice_visibility": "PRIVATE"},
        {"voice_id": "v-4", "name": None},
        {"name": "Nobody"},
        "text",
    ]
    server = serve(answer(200, listed))

    found = vendor_at("voiceai", server).voices()

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("GET", "/api/v1/tts/voices")
    assert seen.headers["authorization"] == "Bearer voiceai_api_key"
    assert found == [Voice("v-1", "Oliver", LANGUAGES), Voice("v-4", None, LANGUAGES)]


def test_each_accent_of_a_creatify_voice_is_a_voice_of_its_own(serve: Serve) -> None:
    preview = "https://d1.cloudfront.net/ava.mp3"
    listed = [
        {
            "name": "Ava",
            "gender": "female",
            "accents": [
                {"id": ACCENT, "accent_name": "American", "preview_url": preview},
                {"id": ACCENT.replace("6", "7"), "accent_name": None, "preview_url": None},
                {"accent_name": "Nameless"},
                None,
            ],
        },
        {"name": "Nobody", "gender": None},
        {"accents": "text"},
        7,
    ]
    server = serve(answer(200, listed))

    found = vendor_at("creatify", server).voices()

    seen = server.seen[0]
    assert (seen.method, seen.path) == ("GET", "/api/voices/")
    assert (seen.headers["x-api-id"], seen.headers["x-api-key"]) == ("creatify_api_id", "creatify_api_key")
    assert found == [
        Voice(ACCENT, "Ava (American)", (), "female", preview),
        Voice(ACCENT.replace("6", "7"), "Ava", (), "female", None),
    ]


def test_playhts_catalogue_and_clones_are_one_list(serve: Serve) -> None:
    sample = "https://peregrine-samples.s3.amazonaws.com/angelo.wav"
    voice = {"id": "s3://a/manifest.json", "name": "Angelo", "gender": "male", "language_code": "en-US"}
    clone = {"id": "s3://b/manifest.json", "name": "Mine", "gender": None, "type": "instant"}
    server = serve(
        answer(200, [{**voice, "sample": sample, "is_cloned": False}, {"name": "Nobody"}, "text"]),
        answer(200, [clone]),
    )

    found = vendor_at("playht", server).voices()

    assert [(seen.method, seen.path) for seen in server.seen] == [
        ("GET", "/api/v2/voices"),
        ("GET", "/api/v2/cloned-voices"),
    ]
    for seen in server.seen:
        assert (seen.headers["authorization"], seen.headers["x-user-id"]) == ("Bearer playht_api_key", "playht_user_id")
        assert seen.headers["accept"] == "application/json"
    assert found == [
        Voice("s3://a/manifest.json", "Angelo", ("en-US",), "male", sample),
        Voice("s3://b/manifest.json", "Mine", (), None, None),
    ]


@pytest.mark.parametrize(("said", "left"), [(12, 12.0), (0, 0.0), (0.25, 0.25), ("7.50", 7.5)])
def test_creatify_says_what_is_left(serve: Serve, said: Any, left: float) -> None:
    server = serve(answer(200, {"remaining_credits": said}))

    assert vendor_at("creatify", server).credits_left() == left
    assert (server.seen[0].method, server.seen[0].path) == ("GET", "/api/remaining_credits/")


@pytest.mark.parametrize("said", [{}, [], "text", b"<html>", {"remaining_credits": None}, {"remaining_credits": True}])
def test_credits_that_cannot_be_read_are_not_taken_for_none(serve: Serve, said: Any) -> None:
    with pytest.raises(VendorMisbehaved):
        vendor_at("creatify", serve(answer(200, said))).credits_left()


QUESTIONS = [
    *((vendor, "voices") for vendor in ("convai", "voiceai", "playht", "creatify")),
    ("creatify", "credits_left"),
]


@pytest.mark.parametrize(("vendor", "question"), QUESTIONS)
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(401, {"error": "no", "detail": "no", "ERROR": "no"}), "vendor-unauthorized"),
        (answer(403, b""), "vendor-unauthorized"),
        (answer(404, b""), "vendor-rejected"),
        (answer(429, b"", headers=[("Retry-After", "9")]), "vendor-throttled"),
        (answer(500, b"<html>"), "vendor-unavailable"),
        (answer(302, headers=[("Location", "https://elsewhere.example")]), "vendor-misbehaved"),
        (answer(200, b"<html>"), "vendor-gone"),
        (answer(410, b""), "vendor-gone"),
        (answer(200, b""), "vendor-misbehaved"),
        (answer(200, "text"), "vendor-misbehaved"),
    ],
)
def test_a_question_that_fails_has_the_errors_of_speech(
    serve: Serve, vendor: str, question: str, reply: bytes, code: str
) -> None:
    with pytest.raises(VendorError) as caught:
        getattr(vendor_at(vendor, serve(reply)), question)()

    assert caught.value.code == code
    assert not isinstance(caught.value, VendorAmbiguous)
    if isinstance(caught.value, VendorThrottled):
        assert caught.value.retry_after == 9


@pytest.mark.parametrize(("vendor", "question"), QUESTIONS)
def test_a_question_that_is_not_answered_was_free_and_so_is_not_ambiguous(
    serve: Serve, vendor: str, question: str
) -> None:
    server = serve()
    server.scripts = [server.hang]

    with pytest.raises(VendorError) as caught:
        getattr(vendor_at(vendor, server, seconds=0.2), question)()

    assert caught.value.code == "vendor-unavailable"


def test_what_a_refused_plan_needs_is_said(serve: Serve) -> None:
    with pytest.raises(VendorUnauthorized, match="Professional plan"):
        vendor_at("convai", serve(answer(403, {"ERROR": "Forbidden"}))).voices()
