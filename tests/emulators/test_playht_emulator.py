"""PlayHT's documented answers, its jobs, its events and its switches."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from local.emulators.playht import VOICES, PlayhtEmulator

TTS = "/api/v2/tts"
VOICE = VOICES[0].id
Wait = Callable[[Callable[[], Any]], Any]


def created(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post(TTS, json={"text": "Hello Play!", "voice": VOICE, **fields})
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.json()
    return job


def finished(client: httpx.Client, job: dict[str, Any], wait: Wait) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"{TTS}/{job['id']}").json()
        return found if found["output"] else None

    done: dict[str, Any] = wait(ended)
    return done


def events_in(body: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a whole stream, comments and pings left out."""
    events = []
    for block in body.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines and lines["event"] != "ping":
            events.append((lines["event"], json.loads(lines["data"])))
    return events


def streamed(client: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"text": "Hello Play!", "voice": VOICE, **fields}
    return client.post(TTS, json=body, headers={"Accept": "text/event-stream"})


@pytest.mark.proves("playht: answer header Location", "playht: default output_format", "playht: default voice_engine")
def test_json_is_answered_with_the_job_and_its_address(playht: PlayhtEmulator, playht_client: httpx.Client) -> None:
    response = playht_client.post(TTS, json={"text": "Hello Play!", "voice": VOICE})

    job = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"{TTS}/{job['id']}"
    assert set(job) == {"id", "created", "input", "output", "_links"}
    assert job["output"] is None
    assert (job["input"]["voice_engine"], job["input"]["output_format"]) == ("PlayHT2.0", "mp3")
    assert job["input"]["seed"] is None
    assert set(job["_links"][0]) == {"href", "method", "contentType", "rel", "description"}
    assert playht.journal.undocumented == []


@pytest.mark.proves("playht: answer job", "playht: answer events")
def test_what_a_create_answers_is_what_the_job_and_its_events_answer(
    playht: PlayhtEmulator, playht_client: httpx.Client
) -> None:
    playht.switches.pace = 30

    job = created(playht_client)
    again = playht_client.get(f"{TTS}/{job['id']}").json()
    playht.switches.pace = 0.05
    told = events_in(streamed(playht_client).text)
    retold = playht_client.get(f"{TTS}/{told[0][1]['id']}", params={"format": "event-stream"})

    assert again == job
    assert events_in(retold.text) == told


@pytest.mark.proves("playht: answer header Content-Location", "playht: status 201 of events")
def test_events_tell_the_progress_to_the_end(playht_client: httpx.Client) -> None:
    response = streamed(playht_client)

    events = events_in(response.text)
    job_id = events[0][1]["id"]
    assert response.status_code == 201
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["Content-Location"] == f"{TTS}/{job_id}?format=event-stream"
    assert [data["stage"] for _, data in events] == [
        *("queued", "active", "preload", "generate", "postprocessing", "complete")
    ]
    assert [name for name, _ in events] == ["generating"] * 5 + ["completed"]
    assert set(events[-1][1]) == {"id", "progress", "stage", "url", "duration", "size"}
    assert len(httpx.get(events[-1][1]["url"]).content) == events[-1][1]["size"]


@pytest.mark.proves(
    "playht: priority format", "playht: default format", "playht: header Accept */*", "playht: query format"
)
@pytest.mark.parametrize(
    ("accept", "query", "policy", "is_stream"),
    [
        ("application/json", "", "events", False),
        ("text/event-stream", "", "json", True),
        ("application/json", "?format=event-stream", "json", True),
        ("*/*", "", "events", True),
        ("*/*", "", "json", False),
    ],
)
def test_the_format_decides_then_the_accept_header_then_nobody_knows(
    playht: PlayhtEmulator, playht_client: httpx.Client, accept: str, query: str, policy: str, is_stream: bool
) -> None:
    playht_client.put("/_emulator/switches", json={"any_accept": policy})

    body = {"text": "Hello.", "voice": VOICE}
    response = playht_client.post(f"{TTS}{query}", json=body, headers={"Accept": accept})

    assert response.headers["Content-Type"].startswith("text/event-stream") is is_stream
    assert playht.journal.undocumented == []


def test_a_stream_may_answer_200_as_the_vendors_kit_expects(
    playht: PlayhtEmulator, playht_client: httpx.Client
) -> None:
    playht.switches.events_status = 200

    assert streamed(playht_client).status_code == 200


@pytest.mark.parametrize(
    "style", [{"line_end": "crlf"}, {"comments": True}, {"pings": True, "pace": 0.5}, {"joined": True}, {"split": True}]
)
def test_events_mean_the_same_however_they_are_written(playht_client: httpx.Client, style: dict[str, Any]) -> None:
    playht_client.put("/_emulator/switches", json=style)

    response = streamed(playht_client)

    assert events_in(response.text)[-1][0] == "completed"
    assert ("\r\n" in response.text) is ("line_end" in style)
    assert (": still here" in response.text) is ("comments" in style)
    assert ("event: ping" in response.text) is ("pings" in style)


def test_a_job_is_read_as_data_as_events_and_as_audio(
    playht: PlayhtEmulator, playht_client: httpx.Client, wait: Wait
) -> None:
    job = finished(playht_client, created(playht_client), wait)
    path = f"{TTS}/{job['id']}"

    events = playht_client.get(path, params={"format": "event-stream"})
    audio = playht_client.get(path, headers={"Accept": "audio/mpeg"})
    also_audio = playht_client.get(path, params={"format": "audio-mpeg"})

    assert events_in(events.text)[-1][1]["url"] == job["output"]["url"]
    assert audio.content == also_audio.content == httpx.get(job["output"]["url"]).content
    assert playht.book.entries[0].id == job["id"]
    assert playht.book.credits == len("Hello Play!")


def test_audio_of_a_job_that_is_no_mp3_is_not_acceptable(playht_client: httpx.Client, wait: Wait) -> None:
    job = finished(playht_client, created(playht_client, output_format="wav"), wait)

    response = playht_client.get(f"{TTS}/{job['id']}", headers={"Accept": "audio/mpeg"})

    assert response.status_code == 406


@pytest.mark.parametrize("output_format", ["mp3", "ogg", "wav", "flac", "mulaw"])
@pytest.mark.parametrize("sample_rate", [8000, 24000, 31000, 48000])
def test_every_format_is_made_at_every_rate(
    playht_client: httpx.Client,
    wait: Wait,
    decoded: Callable[[bytes], tuple[Any, int]],
    output_format: str,
    sample_rate: int,
) -> None:
    fields = {"output_format": output_format, "sample_rate": sample_rate}

    job = finished(playht_client, created(playht_client, **fields), wait)

    audio = httpx.get(job["output"]["url"]).content
    if output_format == "mulaw":
        seconds = len(audio) / sample_rate
    else:
        samples, made_at = decoded(audio)
        assert made_at == (sample_rate if output_format != "mp3" or sample_rate != 31000 else 32000)
        seconds = len(samples) / made_at
    assert seconds == pytest.approx(job["output"]["duration"], abs=0.2)


def test_speed_changes_the_length(playht_client: httpx.Client, wait: Wait) -> None:
    normal, fast = (finished(playht_client, created(playht_client, speed=speed), wait) for speed in (1, 2))

    assert fast["output"]["duration"] < 0.7 * normal["output"]["duration"]


def test_voices_speak_their_languages_unless_one_is_named(
    playht: PlayhtEmulator, playht_client: httpx.Client, wait: Wait
) -> None:
    for voice in VOICES:
        finished(playht_client, created(playht_client, voice=voice.id), wait)
    finished(playht_client, created(playht_client, voice_engine="Play3.0-mini", language="swedish"), wait)

    spoken = [entry.language for entry in playht.book.entries]
    assert spoken == [*(voice.language_code[:2] for voice in VOICES), "sv"]
    assert len(set(spoken)) == 11
    assert {voice["id"] for voice in playht_client.get("/api/v2/voices").json()} == {voice.id for voice in VOICES}
    assert playht_client.get("/api/v2/cloned-voices").json() == []


@pytest.mark.parametrize(
    "change",
    [
        {"text": None},
        {"text": ""},
        {"voice": None},
        {"voice": "nobody"},
        {"text": "a" * 2001},
        {"text": "a" * 20001, "voice_engine": "Play3.0-mini"},
        {"quality": "best"},
        {"output_format": "aac"},
        {"speed": 0},
        {"speed": 5.1},
        {"sample_rate": 7999},
        {"sample_rate": 48001},
        {"seed": -1},
        {"temperature": 2.1},
        {"voice_engine": "PlayHT9"},
        {"voice_engine": "PlayHT2.0-turbo"},
        {"emotion": "happy"},
        {"emotion": "male_happy", "voice_engine": "PlayDialog"},
        {"voice_guidance": 7},
        {"style_guidance": 0},
    ],
)
def test_what_the_documents_do_not_allow_is_refused(
    playht: PlayhtEmulator, playht_client: httpx.Client, change: dict[str, Any]
) -> None:
    response = playht_client.post(TTS, json={"text": "Hello Play!", "voice": VOICE, **change})

    assert response.status_code == 400
    assert set(response.json()) == {"error_message", "error_id"}
    assert len(playht.book) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "key", "X-USER-ID": "u"}, 200),
        ({"AUTHORIZATION": "Bearer key", "X-USER-ID": "u"}, 200),
        ({"Authorization": "Bearer key"}, 401),
        ({"X-USER-ID": "u"}, 401),
        ({"Authorization": "wrong-key", "X-USER-ID": "u"}, 401),
    ],
)
def test_a_key_is_bare_or_a_bearers_and_needs_its_user(
    playht: PlayhtEmulator, headers: dict[str, str], status: int
) -> None:
    assert httpx.get(f"{playht.url}/api/v2/voices", headers=headers).status_code == status


def test_throttling_is_told_in_a_json_string(playht: PlayhtEmulator, playht_client: httpx.Client) -> None:
    playht.faults.play("throttled")

    response = playht_client.post(TTS, json={"text": "Hello.", "voice": VOICE})

    assert response.status_code == 429
    assert response.json().startswith("Rate limit exceeded")


@pytest.mark.proves("playht: limit jobs", "playht: limit files")
def test_a_job_is_forgotten_and_its_file_is_not(
    playht: PlayhtEmulator, playht_client: httpx.Client, wait: Wait
) -> None:
    job = finished(playht_client, created(playht_client), wait)

    playht.switches.forgets_after = 0

    assert playht_client.get(f"{TTS}/{job['id']}").status_code == 404
    assert httpx.get(job["output"]["url"]).status_code == 200


def test_events_can_end_before_the_job_does(playht: PlayhtEmulator, playht_client: httpx.Client, wait: Wait) -> None:
    playht.faults.play("events-cut")

    with pytest.raises(httpx.RemoteProtocolError):
        streamed(playht_client)

    [purchase] = playht.book.entries
    assert finished(playht_client, {"id": purchase.id}, wait)["output"]["url"]


@pytest.mark.parametrize(
    ("failure", "last_event", "status"),
    [("event", "error", None), ("silence", "generating", None), ("data", "generating", "failed")],
)
def test_a_failed_job_is_told_in_the_way_that_is_switched_on(
    playht: PlayhtEmulator, playht_client: httpx.Client, failure: str, last_event: str, status: str | None
) -> None:
    playht_client.put("/_emulator/switches", json={"failure": failure})
    playht.faults.play("job-failed")

    events = events_in(streamed(playht_client).text)

    assert events[-1][0] == last_event
    job = playht_client.get(f"{TTS}/{playht.book.entries[0].id}").json()
    assert (job["output"], job.get("status")) == (None, status)


def test_a_lost_answer_leaves_a_job_nobody_knows(playht: PlayhtEmulator, playht_client: httpx.Client) -> None:
    playht.faults.play("lost")

    with pytest.raises(httpx.ReadError):
        streamed(playht_client)

    assert [entry.fault for entry in playht.book.entries] == ["lost"]


def test_a_stuck_job_keeps_its_stream_open_only_as_long_as_its_client(playht: PlayhtEmulator, wait: Wait) -> None:
    playht.faults.play("job-stuck")
    keys = {"Authorization": "k", "X-USER-ID": "u"}
    impatient = httpx.Client(base_url=playht.url, headers=keys, timeout=httpx.Timeout(30, read=0.3))

    with impatient, pytest.raises(httpx.ReadTimeout):
        streamed(impatient)

    assert wait(lambda: playht.in_flight == 0)


def test_the_stream_endpoint_answers_with_audio_or_a_link_to_it(
    playht: PlayhtEmulator, playht_client: httpx.Client
) -> None:
    body = {"text": "Hello Play!", "voice": VOICE, "voice_engine": "PlayHT2.0-turbo"}

    audio = playht_client.post(f"{TTS}/stream", json=body, headers={"Accept": "*/*"})
    link = playht_client.post(f"{TTS}/stream", json=body)

    assert (audio.status_code, link.status_code) == (200, 201)
    assert playht_client.get(link.json()["href"]).content == audio.content
    assert len(playht.book) == 2


def test_the_accounts_webhook_tells_the_end_as_often_as_told(
    playht: PlayhtEmulator, playht_client: httpx.Client, receiver: Any, wait: Wait
) -> None:
    playht.switches.webhook_url, playht.switches.webhook_times = receiver.url, 2

    job = finished(playht_client, created(playht_client), wait)

    wait(lambda: len(receiver.received) == 2)
    told = receiver.bodies[0]
    assert set(told) == {"version", "id", "status", "progress", "url", "duration", "size"}
    assert (told["id"], told["status"], told["url"]) == (job["id"], "complete", job["output"]["url"])


def test_pace_is_the_time_to_the_end(playht: PlayhtEmulator, playht_client: httpx.Client) -> None:
    playht.switches.pace = 0.3

    started = time.monotonic()
    streamed(playht_client)

    assert 0.25 < time.monotonic() - started < 10
