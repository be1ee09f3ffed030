"""Dify and PlayHT by every way in and every delivery, and a message of an app that needs no text."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from local.emulators import EMULATORS
from tests.support.results import Spoken, completed
from tests.support.stack import Stack, running, unique

VOICE = "s3://voice-cloning-zero-shot/d9ff78ba-d016-47f6-b0ef-dd630f59414e/female-cs/manifest.json"
MESSAGE = str(uuid.uuid4())
WAYS = ("drop", "post", "message")
CASES: Mapping[str, dict[str, Any]] = {
    "dify": {"vendor": "dify"},
    "dify streaming": {"vendor": "dify", "voice": "onyx", "vendor_options": {"streaming": True, "user": "abc-123"}},
    "playht json": {"vendor": "playht", "voice": VOICE},
    "playht events": {"vendor": "playht", "voice": VOICE, "vendor_options": {"delivery": "events"}},
}


@pytest.fixture(scope="module", params=["emulated by the stack", "started apart"])
def own_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One whose operator allows messages; its vendors are its own, or servers that it is given the addresses of."""
    with ExitStack() as servers:
        given = {}
        if request.param == "started apart":
            for vendor in ("dify", "playht"):
                given[f"{vendor.upper()}_BASE_URL"] = servers.enter_context(EMULATORS[vendor]()).url
        folder = tmp_path_factory.mktemp("messages")
        with running(folder, LEASE_SECONDS="20", DIFY_MESSAGE_IDS="true", **given) as up:
            assert set(given.values()) <= set(up.facts["vendors"].values())
            up.emulator("dify").switch(messages={MESSAGE: "This is what the app had answered."})
            yield up


@pytest.fixture(scope="module")
def texts(own_stack: Stack) -> dict[tuple[str, str], str]:
    return {(case, way): unique(f"This is {case}, by {way}") for case in CASES for way in WAYS}


@pytest.fixture(scope="module")
def asked(own_stack: Stack, texts: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Every job under way, each by the name under which its way in knows it."""
    known = {}
    for (case, way), text in texts.items():
        options = CASES[case]
        if way == "drop":
            known[case, way] = f"{case}.txt"
            metadata = {name: each if isinstance(each, str) else json.dumps(each) for name, each in options.items()}
            own_stack.drop(known[case, way], text, **metadata)
        elif way == "post":
            known[case, way] = own_stack.post(text=text, **options)["id"]
        else:
            known[case, way] = own_stack.send({"text": text, **options, "request_id": case})
    return known


def spoken(stack: Stack, way: str, name: str, text: str) -> Spoken:
    if way == "drop":
        return completed(stack, stack.job(stack.dropped(name)["job"]["id"]), text, base=name)
    job_id = name if way == "post" else stack.requested(name)["id"]
    return completed(stack, stack.ended(job_id), text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_every_way_in_and_every_delivery_ends_in_audio_that_was_bought_once(
    own_stack: Stack, texts: dict[tuple[str, str], str], asked: dict[tuple[str, str], str], case: str, way: str
) -> None:
    text = texts[case, way]

    result = spoken(own_stack, way, asked[case, way], text)

    vendor = CASES[case]["vendor"]
    assert result.job["vendor"] == vendor
    assert [attempt["outcome"] for attempt in result.attempts] == ["settled"]
    assert len(own_stack.emulator(vendor).purchases(text)) == 1
    assert own_stack.emulator(vendor).undocumented() == []


def test_a_message_of_the_app_is_spoken_without_a_text(own_stack: Stack) -> None:
    asked = own_stack.post(vendor="dify", format="wav", vendor_options={"message_id": MESSAGE})

    job = own_stack.ended(asked["id"])

    assert job["status"] == "completed", job["problem"]
    assert (job["characters"], job["segments"]["total"]) == (None, 1)
    assert job["audio"]["duration_seconds"] > 1
    assert own_stack.audio(job).startswith(b"RIFF")
    assert own_stack.fetch(job["subtitles"]["vtt"]) == b"WEBVTT\n"
    assert own_stack.fetch(job["subtitles"]["srt"]) == b""
    assert own_stack.manifest(job)["segments"][0]["characters"] == 0


def test_t2_a_stack_whose_operator_did_not_allow_messages_refuses_them(stack: Stack) -> None:
    answer = stack.api.post("/v1/jobs", json={"vendor": "dify", "vendor_options": {"message_id": MESSAGE}})

    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["errors"]] == ["vendor_options.message_id"]
