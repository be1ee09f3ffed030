"""Faults, the book and the journal, which every emulator has."""

import gzip
import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import numpy
import pytest

from local.emulators import EMULATORS
from local.emulators.convai import ConvaiEmulator
from local.emulators.faults import FaultError

IMPATIENT = httpx.Timeout(30, read=0.2)
FABLE = "fable_OpenAi_c4d30a32-bcaf-4048-b7b0-0f2bb293205a"


def speech_of(client: httpx.Client, text: str = "Good evening, all of you.", **headers: str) -> httpx.Response:
    return client.post("/tts/", json={"transcript": text, "voice": FABLE}, headers=headers)


def test_a_plain_request_is_answered_and_billed_once(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    response = speech_of(convai_client)

    assert response.status_code == 200
    [purchase] = convai.book.of("Good evening, all of you.")
    assert purchase.characters == 25
    assert purchase.voice == FABLE
    assert purchase.fault is None
    assert purchase.seconds == pytest.approx((len(response.content) - 44) / 2 / 22050)


@pytest.mark.parametrize("retry_after", ["3", "Fri, 20 Nov 2026 10:00:00 GMT", "soon", "-1", "99999999999"])
def test_any_status_is_played_as_often_as_told_and_bills_nothing(
    convai: ConvaiEmulator, convai_client: httpx.Client, retry_after: str
) -> None:
    convai.faults.play("status", status=429, headers={"Retry-After": retry_after}, times=2)

    responses = [speech_of(convai_client) for _ in range(3)]

    assert [response.status_code for response in responses] == [429, 429, 200]
    assert responses[0].headers["Retry-After"] == retry_after
    assert len(convai.book) == 1


@pytest.mark.parametrize("status", [401, 402, 403, 404, 410, 500, 502, 503, 504, 529])
def test_a_status_speaks_the_vendors_words(convai: ConvaiEmulator, convai_client: httpx.Client, status: int) -> None:
    convai.faults.play("status", status=status)

    response = speech_of(convai_client)

    assert response.status_code == status
    assert "ERROR" in response.json()


def test_a_status_can_have_any_body_and_can_be_billed(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("status", status=500, body="<h1>Oops</h1>", content_type="text/html", billed=True)

    response = speech_of(convai_client)

    assert (response.status_code, response.text) == (500, "<h1>Oops</h1>")
    assert response.headers["Content-Type"].startswith("text/html")
    assert [purchase.fault for purchase in convai.book.entries] == ["status"]


def test_a_fault_finds_its_request_by_text(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("status", status=500, match="second")

    statuses = [speech_of(convai_client, text).status_code for text in ("The first.", "The second.", "The second.")]

    assert statuses == [200, 500, 200]


def test_a_fault_finds_its_request_by_route(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("status", status=500, route="GET /tts/get_available_voices")

    assert speech_of(convai_client).status_code == 200
    assert convai_client.get("/tts/get_available_voices").status_code == 500


def test_a_fault_can_let_some_pass_and_can_last(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("status", status=503, skip=1, times=None)

    before = [speech_of(convai_client).status_code for _ in range(4)]
    convai.faults.clear()

    assert before == [200, 503, 503, 503]
    assert speech_of(convai_client).status_code == 200


def test_a_fault_is_kept_for_a_request_that_would_have_succeeded(
    convai: ConvaiEmulator, convai_client: httpx.Client
) -> None:
    convai.faults.play("truncated")

    refused = convai_client.post("/tts/", json={"transcript": "No voice."})

    assert refused.status_code == 400
    assert [fault.fault for fault in convai.faults.waiting] == ["truncated"]
    assert convai.journal.entries[-1].fault is None


def test_an_unknown_fault_is_refused(convai: ConvaiEmulator) -> None:
    with pytest.raises(FaultError, match="explode"):
        convai.faults.play("explode")


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_a_connection_that_ends_before_any_header_bills_nothing(
    convai: ConvaiEmulator, convai_client: httpx.Client, fault: str
) -> None:
    convai.faults.play(fault, seconds=0.1)

    with pytest.raises(httpx.ReadError):
        speech_of(convai_client)

    assert len(convai.book) == 0
    assert convai.journal.entries[-1].status is None


def test_a_hang_ends_with_its_client(convai: ConvaiEmulator, wait: Callable[[Callable[[], Any]], Any]) -> None:
    convai.faults.play("hang", seconds=60)

    impatient = httpx.Client(base_url=convai.url, headers={"CONVAI-API-KEY": "k"}, timeout=IMPATIENT)
    with impatient, pytest.raises(httpx.ReadTimeout):
        speech_of(impatient)

    assert wait(lambda: convai.in_flight == 0)


def test_an_emulator_stops_at_once_whatever_hangs() -> None:
    emulator = ConvaiEmulator().start()
    emulator.faults.play("hang", seconds=60)
    impatient = httpx.Client(base_url=emulator.url, headers={"CONVAI-API-KEY": "k"}, timeout=IMPATIENT)
    with impatient, pytest.raises(httpx.ReadTimeout):
        speech_of(impatient)

    started = time.monotonic()
    emulator.stop()

    assert time.monotonic() - started < 20


def test_a_lost_answer_was_billed(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("lost")

    with pytest.raises(httpx.ReadError):
        speech_of(convai_client)

    assert [purchase.fault for purchase in convai.book.entries] == ["lost"]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_answer_is_cut_where_the_client_notices(
    convai: ConvaiEmulator, convai_client: httpx.Client, framing: str
) -> None:
    convai.faults.play("cut", bytes=1000, framing=framing)

    with pytest.raises(httpx.RemoteProtocolError):
        speech_of(convai_client)

    assert len(convai.book) == 1


def test_an_answer_is_cut_where_no_client_notices(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("cut", bytes=1000, framing="close")

    response = speech_of(convai_client)

    assert (response.status_code, len(response.content)) == (200, 1000)


@pytest.mark.parametrize("fault", ["stall", "false-length"])
def test_an_answer_stops_short_of_its_length(convai: ConvaiEmulator, convai_client: httpx.Client, fault: str) -> None:
    convai.faults.play(fault, seconds=0.1)

    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        speech_of(convai_client)


def test_an_answer_drips(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    whole = speech_of(convai_client).content
    convai.faults.play("drip", seconds=0.3)

    started = time.monotonic()
    dripped = speech_of(convai_client).content

    assert dripped == whole
    assert time.monotonic() - started > 0.25


def test_an_endless_body_has_an_end_after_all(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("endless", bytes=3_000_000)

    assert 3_000_000 <= len(speech_of(convai_client).content) < 3_200_000


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "start"),
    [
        ("empty", 200, "audio/wav", b""),
        ("no-content", 204, "application/octet-stream", b""),
        ("json", 200, "application/json", b'{"error"'),
        ("html", 200, "text/html", b"<!DOCTYPE html>"),
        ("text", 200, "text/plain", b"Something"),
        ("null", 200, "application/json", b"null"),
        ("json-before-audio", 200, "audio/wav", b'{"status"'),
        ("wrong-content-type", 200, "text/html", b"RIFF"),
    ],
)
def test_a_success_that_holds_no_good_audio_was_billed(
    convai: ConvaiEmulator, convai_client: httpx.Client, fault: str, status: int, content_type: str, start: bytes
) -> None:
    convai.faults.play(fault)

    response = speech_of(convai_client)

    assert response.status_code == status
    assert response.headers["Content-Type"].startswith(content_type)
    assert response.content.startswith(start)
    assert (response.content == b"") == (start == b"")
    assert [purchase.fault for purchase in convai.book.entries] == [fault]


def test_an_empty_success_can_be_free(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("empty", billed=False)

    assert speech_of(convai_client).content == b""
    assert len(convai.book) == 0


def test_spoiled_audio_is_spoiled_as_its_name_says(
    convai: ConvaiEmulator, convai_client: httpx.Client, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    good = speech_of(convai_client).content
    names = ("silent", "noise", "short", "truncated", "twice", "json-after-audio", "placeholder-sizes")
    for name in names:
        convai.faults.play(name)

    bad = {name: speech_of(convai_client).content for name in names}

    assert not decoded(bad["silent"])[0].any()
    assert len(decoded(bad["noise"])[0]) == len(decoded(good)[0])
    assert abs(numpy.corrcoef(decoded(bad["noise"])[0], decoded(good)[0])[0, 1]) < 0.1
    assert len(decoded(bad["short"])[0]) == len(decoded(good)[0]) // 2
    assert bad["truncated"] == good[: len(good) // 2]
    assert bad["twice"] == good + good
    assert bad["json-after-audio"].startswith(good)
    assert json.loads(bad["json-after-audio"][len(good) :])
    assert bad["placeholder-sizes"][4:8] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    ("container", "start"),
    [(None, b"\xff"), ("mp3", b"\xff"), ("flac", b"fLaC"), ("ogg", b"OggS"), ("opus", b"OggS"), ("png", b"\x89PNG")],
)
def test_audio_comes_in_another_container(
    convai: ConvaiEmulator, convai_client: httpx.Client, container: str | None, start: bytes
) -> None:
    convai.faults.play("wrong-container", container=container)

    response = speech_of(convai_client)

    assert response.content.startswith(start)
    assert response.headers["Content-Type"] == "audio/wav"


def test_audio_comes_in_an_archive(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("wrong-container", container="zip")

    archive = zipfile.ZipFile(io.BytesIO(speech_of(convai_client).content))

    assert archive.namelist() == ["audio.wav"]


def test_an_answer_comes_compressed_without_being_asked(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.faults.play("gzip")
    convai.faults.play("bomb", bytes=5_000_000)

    request = convai_client.build_request("POST", "/tts/", json={"transcript": "Hello.", "voice": FABLE})
    request.headers["Accept-Encoding"] = "identity"
    packed = convai_client.send(request, stream=True)
    raw = b"".join(packed.iter_raw())
    bomb = convai_client.send(request, stream=True)
    raw_bomb = b"".join(bomb.iter_raw())

    assert gzip.decompress(raw).startswith(b"RIFF")
    assert len(raw_bomb) < 50_000
    assert len(gzip.decompress(raw_bomb)) == 5_000_000


def test_a_redirect_leads_elsewhere_and_the_journal_tells_who_followed(
    convai: ConvaiEmulator, convai_client: httpx.Client
) -> None:
    convai.faults.play("redirect", status=307)
    response = speech_of(convai_client)

    followed = httpx.post(response.headers["Location"], headers={"CONVAI-API-KEY": "key"})

    assert (response.status_code, followed.status_code) == (307, 200)
    [seen] = convai.journal.to("POST", "/elsewhere")
    assert seen.headers["CONVAI-API-KEY"] == "***"
    assert len(convai.book) == 0


def test_undocumented_fields_and_headers_are_flagged_and_ordinary_ones_are_not(
    convai: ConvaiEmulator, convai_client: httpx.Client
) -> None:
    speech_of(convai_client)
    assert convai.journal.undocumented == []

    convai_client.post(
        "/tts/?debug=1",
        json={"transcript": "Hello.", "voice": FABLE, "language": "en-US", "CONVAI-API-KEY": "key"},
        headers={"X-Trace": "1"},
    )
    convai_client.get("/v3/voices")

    known_route, unknown_route = (entry.undocumented for entry in convai.journal.undocumented)
    assert known_route.fields == ["CONVAI-API-KEY", "language"]
    assert known_route.headers == ["X-Trace"]
    assert known_route.query == ["debug"]
    assert unknown_route.route is True


def test_the_journal_knows_no_secrets(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai_client.post("/tts/", json={"CONVAI-API-KEY": "very-secret"}, headers={"CONVAI-API-KEY": "very-secret"})

    assert "very-secret" not in convai_client.get("/_emulator/requests").text
    assert convai.journal.entries[0].headers["CONVAI-API-KEY"] == "***"


def test_all_of_it_can_be_had_over_http(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    faults = [{"fault": "status", "status": 500, "times": 2, "match": "Hello"}, {"fault": "lost"}]
    assert convai_client.post("/_emulator/faults", json=faults).status_code == 201
    assert [fault["fault"] for fault in convai_client.get("/_emulator/faults").json()] == ["status", "lost"]
    assert speech_of(convai_client, "Hello.").status_code == 500
    assert convai_client.delete("/_emulator/faults").status_code == 204
    assert convai_client.get("/_emulator/faults").json() == []
    assert convai_client.post("/_emulator/faults", json=[{"fault": "explode"}]).status_code == 400
    assert convai_client.post("/_emulator/faults", json=[{"fault": "lost", "colour": 1}]).status_code == 400

    assert speech_of(convai_client, "Hello.").status_code == 200
    book = convai_client.get("/_emulator/book").json()
    assert (len(book["entries"]), book["characters"]) == (1, 6)
    assert [entry["path"] for entry in convai_client.get("/_emulator/requests").json()] == ["/tts/", "/tts/"]
    assert convai_client.get("/_emulator/undocumented").json() == []
    assert convai_client.get("/_emulator").json()["purchases"] == 1

    assert convai_client.put("/_emulator/switches", json={"plan": "free"}).json()["plan"] == "free"
    assert convai.switches.plan == "free"
    assert convai_client.put("/_emulator/switches", json={"plan": "gold"}).status_code == 400
    assert convai_client.put("/_emulator/switches", json={"colour": "red"}).status_code == 400

    assert convai_client.delete("/_emulator/book").status_code == 204
    assert convai_client.delete("/_emulator/requests").status_code == 204
    assert len(convai.book) == len(convai.journal.entries) == 0


def test_more_at_once_than_allowed_are_throttled(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.switches.concurrency = 0

    assert speech_of(convai_client).status_code == 429

    convai.switches.concurrency = 1
    assert speech_of(convai_client).status_code == 200
    assert convai.most_in_flight == 1


def test_only_the_key_that_is_set_opens(convai: ConvaiEmulator, convai_client: httpx.Client) -> None:
    convai.switches.api_key = "the-one"

    refused = speech_of(convai_client)
    accepted = speech_of(convai_client, **{"CONVAI-API-KEY": "the-one"})

    assert (refused.status_code, accepted.status_code) == (401, 200)


@pytest.mark.parametrize("name", sorted(EMULATORS))
def test_every_vendor_shares_the_names_of_its_refusals(name: str) -> None:
    emulator = EMULATORS[name]

    assert emulator.name == name
    assert {"unauthorized", "throttled", "quota", "rejected", "server-error"} <= set(emulator.refusals)
    assert set(EMULATORS[name]().faults.kinds) >= set(emulator.refusals)


def test_a_port_that_is_taken_is_an_error(convai: ConvaiEmulator) -> None:
    port = int(convai.url.rsplit(":", 1)[1])

    with pytest.raises(OSError, match="address already in use"):
        ConvaiEmulator(port=port).start()
