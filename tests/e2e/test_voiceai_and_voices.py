"""Voice.ai by every delivery and every way in, and the lists of voices, on a running stack."""

import json
from collections.abc import Iterator

import pytest

from tests.support.results import Spoken, completed
from tests.support.stack import Stack, running, unique

DELIVERIES = ("whole", "stream", "websocket")
WAYS = ("drop", "post", "message")
CASES = [(delivery, way) for delivery in DELIVERIES for way in WAYS]
LISTING = ("convai", "voiceai", "playht", "creatify")


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One whose emulators may be switched."""
    with running(tmp_path_factory.mktemp("voiceai"), LEASE_SECONDS="20") as up:
        yield up


@pytest.fixture(scope="module")
def texts() -> dict[tuple[str, str], str]:
    return {(delivery, way): unique(f"This came {delivery}, by {way}") for delivery, way in CASES}


@pytest.fixture(scope="module")
def asked(own_stack: Stack, texts: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Every job under way, each by the name under which its way in knows it."""
    known = {}
    for (delivery, way), text in texts.items():
        options = {"delivery": delivery}
        if way == "drop":
            known[delivery, way] = f"{delivery}.txt"
            own_stack.drop(known[delivery, way], text, vendor="voiceai", vendor_options=json.dumps(options))
        elif way == "post":
            known[delivery, way] = own_stack.post(text=text, vendor="voiceai", vendor_options=options)["id"]
        else:
            message = {"text": text, "vendor": "voiceai", "vendor_options": options, "request_id": delivery}
            known[delivery, way] = own_stack.send(message)
    return known


def spoken(stack: Stack, way: str, name: str, text: str) -> Spoken:
    if way == "drop":
        return completed(stack, stack.job(stack.dropped(name)["job"]["id"]), text, base=name)
    job_id = name if way == "post" else stack.requested(name)["id"]
    return completed(stack, stack.ended(job_id), text)


@pytest.mark.parametrize(("delivery", "way"), CASES)
def test_every_delivery_by_every_way_in_ends_in_audio_that_was_bought_once(
    own_stack: Stack, texts: dict[tuple[str, str], str], asked: dict[tuple[str, str], str], delivery: str, way: str
) -> None:
    text = texts[delivery, way]

    result = spoken(own_stack, way, asked[delivery, way], text)

    paths = {"whole": "/api/v1/tts/speech", "stream": "/api/v1/tts/speech/stream", "websocket": "/api/v1/tts/stream"}
    emulator = own_stack.emulator("voiceai")
    assert [attempt["outcome"] for attempt in result.attempts] == ["settled"]
    assert len(emulator.purchases(text)) == 1
    assert [each["path"] for each in emulator.requests(text)] == [paths[delivery]]
    assert emulator.undocumented() == []


@pytest.mark.parametrize("closes", [True, False])
def test_the_segments_of_a_text_share_sockets_where_these_stay_open(own_stack: Stack, closes: bool) -> None:
    own_stack.emulator("voiceai").switch(closes_after_last=closes)
    before = len(own_stack.emulator("voiceai").requests())
    text = " ".join(unique(f"Part {number} of a longer text that is read to whoever listens") for number in range(60))

    job = own_stack.ended(own_stack.post(text=text, vendor="voiceai", vendor_options={"delivery": "websocket"})["id"])

    heard = own_stack.emulator("voiceai").requests()[before:]
    upgrades, messages = ([each for each in heard if each["method"] == method] for method in ("GET", "WS"))
    assert job["status"] == "completed", job["problem"]
    assert job["cost"]["vendor_calls"] == job["segments"]["total"] == len(messages)
    assert (len(upgrades) == len(messages)) is closes
    assert own_stack.emulator("voiceai").undocumented() == []


def test_what_one_delivery_bought_serves_the_others(own_stack: Stack) -> None:
    text = unique("However it came, it is the same")
    first = own_stack.ended(own_stack.post(text=text, vendor_options={"delivery": "websocket"})["id"])

    again = own_stack.ended(own_stack.post(text=text, vendor_options={"delivery": "stream"})["id"])

    assert (first["cost"]["vendor_calls"], again["cost"]["vendor_calls"]) == (1, 0)
    assert len(own_stack.emulator("voiceai").purchases(text)) == 1


@pytest.mark.parametrize("vendor", LISTING)
def test_a_voice_of_the_list_can_be_asked_for(own_stack: Stack, vendor: str) -> None:
    first = own_stack.api.get("/v1/voices", params={"vendor": vendor, "language": "en"})
    asked = len(own_stack.emulator(vendor).requests())
    again = own_stack.api.get("/v1/voices", params={"vendor": vendor, "language": "en"})

    assert (first.status_code, again.status_code) == (200, 200)
    assert len(own_stack.emulator(vendor).requests()) == asked, "the second is out of the table"
    voices = again.json()["voices"]
    assert voices == first.json()["voices"]
    text = unique("Spoken by the first voice of the list")
    job = own_stack.ended(own_stack.post(text=text, vendor=vendor, voice=voices[0]["id"])["id"])
    assert (job["status"], job["voice"]) == ("completed", voices[0]["id"])


def test_what_creatify_has_left_is_told_through_the_gateway(own_stack: Stack) -> None:
    answer = own_stack.api.get("/v1/vendors/creatify")

    assert answer.status_code == 200
    assert answer.json()["credits"] > 0
    assert own_stack.api.get("/v1/vendors/voiceai").json()["credits"] is None
    assert own_stack.api.get("/v1/vendors/nobody").status_code == 404
    assert own_stack.api.get("/v1/voices", params={"vendor": "dify"}).status_code == 422
