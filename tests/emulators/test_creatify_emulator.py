"""Creatify's documented answers, its jobs, its webhooks and its switches."""

import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from local.emulators.creatify import ACCENTS, CreatifyEmulator
from local.emulators.voice import Speaker

JOBS = "/api/text_to_speech/"
Wait = Callable[[Callable[[], Any]], Any]


def created(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post(JOBS, json={"script": "Good evening.", **fields})
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.json()
    return job


def read(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    response = client.get(f"{JOBS}{job['id']}/")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def finished(client: httpx.Client, job: dict[str, Any], wait: Wait) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        found = read(client, job)
        return found if found["status"] in ("done", "failed") else None

    ended_job: dict[str, Any] = wait(ended)
    return ended_job


@pytest.mark.proves(
    "creatify: answer field id",
    "creatify: answer field script",
    "creatify: answer field accent",
    "creatify: answer field webhook_url",
    "creatify: answer field output",
    "creatify: answer field media_job",
    "creatify: answer field credits_used",
    "creatify: answer field duration",
    "creatify: answer field is_hidden",
    "creatify: answer field status",
    "creatify: answer field failed_reason",
    "creatify: answer field created_at",
    "creatify: answer field updated_at",
)
def test_a_new_job_has_every_documented_field(creatify_client: httpx.Client) -> None:
    job = created(creatify_client)

    assert uuid.UUID(job["id"])
    documented = {"id", "script", "accent", "webhook_url", "output", "media_job", "credits_used", "duration"}
    documented |= {"is_hidden", "status", "failed_reason", "created_at", "updated_at"}
    assert set(job) == documented
    assert (job["status"], job["output"], job["credits_used"], job["duration"]) == ("pending", "", 0, 0)


@pytest.mark.proves(
    "creatify: body application/json",
    "creatify: body application/x-www-form-urlencoded",
    "creatify: body multipart/form-data",
)
@pytest.mark.parametrize(
    "body",
    [
        {"json": {"script": "Good evening."}},
        {"data": {"script": "Good evening."}},
        {"files": {"script": (None, "Good evening.")}},
    ],
)
def test_all_three_body_encodings_are_understood(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, body: dict[str, Any]
) -> None:
    response = creatify_client.post(JOBS, **body)

    assert response.status_code == 201
    assert response.json()["script"] == "Good evening."
    assert creatify.journal.undocumented == []


def test_a_job_walks_through_its_states_when_told_to(creatify: CreatifyEmulator, creatify_client: httpx.Client) -> None:
    creatify.switches.hold = True
    job = created(creatify_client)

    seen = [read(creatify_client, job)["status"]]
    for _ in range(4):
        creatify.advance()
        seen.append(read(creatify_client, job)["status"])

    assert seen == ["pending", "in_queue", "running", "done", "done"]


@pytest.mark.proves("creatify: price", "creatify: answer field duration")
def test_a_finished_job_has_audio_of_its_script_and_a_price(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    script = "Every thirty seconds cost one credit. " * 20
    job = finished(creatify_client, created(creatify_client, script=script), wait)

    audio = httpx.get(job["output"])

    expected = Speaker().speak(script, language="en", voice_name=ACCENTS[0].variant).seconds
    samples, sample_rate = decoded(audio.content)
    assert audio.headers["Content-Type"] == "audio/mpeg"
    assert len(samples) / sample_rate == pytest.approx(expected, abs=0.12)
    assert job["duration"] == pytest.approx(expected, abs=1)
    assert job["credits_used"] == -(-expected // 30) == 2
    assert [(entry.credits, entry.characters) for entry in creatify.book.entries] == [(2, len(script))]
    assert creatify_client.get("/api/remaining_credits/").json() == {"remaining_credits": 999_998.0}


@pytest.mark.parametrize("accent", ACCENTS, ids=[accent.accent_name for accent in ACCENTS])
def test_every_accent_speaks_its_language(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait, accent: Any
) -> None:
    job = finished(creatify_client, created(creatify_client, accent=accent.id), wait)

    assert job["accent"] == accent.id
    assert httpx.get(job["output"]).status_code == 200
    assert creatify.book.entries[0].language == accent.language


@pytest.mark.proves("creatify: limit script", "creatify: limit webhook_url")
@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({}, "script", "This field is required."),
        ({"script": None}, "script", "This field may not be null."),
        ({"script": "  "}, "script", "This field may not be blank."),
        ({"script": ["a"]}, "script", "Not a valid string."),
        ({"script": "a" * 8001}, "script", "Ensure this field has no more than 8000 characters."),
        ({"script": "a", "accent": "Ava"}, "accent", "“Ava” is not a valid UUID."),
        ({"script": "a", "accent": str(uuid.UUID(int=9))}, "accent", "object does not exist."),
        ({"script": "a", "webhook_url": "nowhere"}, "webhook_url", "Enter a valid URL."),
        (
            {"script": "a", "webhook_url": "https://x.test/" + "a" * 186},
            "webhook_url",
            "Ensure this field has no more than 200 characters.",
        ),
    ],
)
def test_what_the_schema_does_not_allow_is_refused(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, fields: dict[str, Any], field: str, message: str
) -> None:
    response = creatify_client.post(JOBS, json=fields)

    assert response.status_code == 400
    assert list(response.json()) == [field]
    assert message in response.json()[field][0]
    assert len(creatify.book) == 0


def test_the_limits_themselves_are_allowed(creatify: CreatifyEmulator, creatify_client: httpx.Client) -> None:
    creatify.switches.hold = True

    job = created(creatify_client, script="å" * 8000, webhook_url="https://x.test/" + "a" * 185)

    assert job["webhook_url"].endswith("a")
    assert creatify.book.characters == 8000


def test_a_body_that_cannot_be_read_is_refused(creatify_client: httpx.Client) -> None:
    broken = creatify_client.post(JOBS, content=b"{", headers={"Content-Type": "application/json"})
    plain = creatify_client.post(JOBS, content=b"Hello", headers={"Content-Type": "text/plain"})
    listed = creatify_client.post(JOBS, json=["Hello"])

    assert (broken.status_code, plain.status_code, listed.status_code) == (400, 415, 400)


@pytest.mark.proves("creatify: header X-API-ID", "creatify: header X-API-KEY")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-ID": "id"},
        {"X-API-KEY": "key"},
        {"X-API-ID": "id", "X-API-KEY": "wrong-key"},
        {"X-API-ID": "wrong-key", "X-API-KEY": "key"},
    ],
)
def test_both_key_headers_are_needed_everywhere(creatify: CreatifyEmulator, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=creatify.url, headers=headers) as client:
        create = client.post(JOBS, json={"script": "Hello."})
        reads = [client.get(path) for path in (JOBS, f"{JOBS}{uuid.uuid4()}/", "/api/voices/")]

    assert [response.status_code for response in (create, *reads)] == [401] * 4
    assert all("detail" in response.json() for response in (create, *reads))


def test_an_id_and_key_can_be_the_only_ones(creatify: CreatifyEmulator, creatify_client: httpx.Client) -> None:
    creatify.switches.api_id, creatify.switches.api_key = "our-id", "our-key"
    ours = {"X-API-ID": "our-id", "X-API-KEY": "our-key"}

    assert creatify_client.get(JOBS).status_code == 401
    assert creatify_client.get(JOBS, headers=ours).status_code == 200


def test_jobs_are_listed_by_id_and_in_order(creatify: CreatifyEmulator, creatify_client: httpx.Client) -> None:
    creatify.switches.hold = True
    first, second, third = (created(creatify_client, script=f"Number {number}.")["id"] for number in range(3))

    def ids(**query: str) -> list[str]:
        return [job["id"] for job in creatify_client.get(JOBS, params=query).json()]

    assert ids() == [third, second, first]
    assert ids(ordering="created_at") == [first, second, third]
    assert ids(ids=f"{first},{third}", ordering="-created_at") == [third, first]
    assert creatify_client.get(JOBS, params={"ids": "x"}).status_code == 400
    too_many = ",".join(str(uuid.uuid4()) for _ in range(101))
    assert creatify_client.get(JOBS, params={"ids": too_many}).status_code == 400


def test_jobs_are_listed_in_pages(creatify: CreatifyEmulator, creatify_client: httpx.Client) -> None:
    creatify.switches.hold = True
    for number in range(3):
        created(creatify_client, script=f"Number {number}.")

    first = creatify_client.get(f"{JOBS}paginated/", params={"page_size": 2}).json()
    second = creatify_client.get(first["next"]).json()

    assert (first["count"], len(first["results"]), first["previous"]) == (3, 2, None)
    assert (len(second["results"]), second["next"]) == (1, None)
    assert creatify_client.get(f"{JOBS}paginated/", params={"page": 9}).status_code == 404


def test_voices_hold_the_accents_that_requests_want(creatify_client: httpx.Client) -> None:
    voices = creatify_client.get("/api/voices/").json()
    page = creatify_client.get("/api/voices/paginated/").json()

    assert {accent["id"] for voice in voices for accent in voice["accents"]} == {accent.id for accent in ACCENTS}
    assert set(voices[0]) == {"name", "gender", "accents"}
    assert set(voices[0]["accents"][0]) == {"id", "accent_name", "preview_url"}
    assert page["results"] == voices


def test_an_address_without_its_slash_redirects_or_fails(
    creatify: CreatifyEmulator, creatify_client: httpx.Client
) -> None:
    redirected = creatify_client.post(JOBS.rstrip("/"), json={"script": "Hello."})
    creatify.switches.slashless = "error"
    failed = creatify_client.post(JOBS.rstrip("/"), json={"script": "Hello."})

    assert (redirected.status_code, redirected.headers["Location"]) == (301, JOBS)
    assert failed.status_code == 500
    assert len(creatify.book) == 0


def test_an_unknown_job_or_method_is_refused_in_the_frameworks_words(creatify_client: httpx.Client) -> None:
    assert creatify_client.get(f"{JOBS}{uuid.uuid4()}/").json() == {"detail": "Not found."}
    assert creatify_client.delete(JOBS).json() == {"detail": 'Method "DELETE" not allowed.'}


# -- webhooks ---------------------------------------------------------------------------------------------------


@pytest.mark.proves(
    "creatify: webhook field id",
    "creatify: webhook field status",
    "creatify: webhook field failed_reason",
    "creatify: webhook field video_output",
)
def test_a_webhook_tells_the_end_with_the_documented_fields(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any, wait: Wait
) -> None:
    job = created(creatify_client, webhook_url=receiver.url)

    wait(lambda: receiver.received)

    [body] = receiver.bodies
    assert set(body) == {"id", "status", "failed_reason", "video_output"}
    assert (body["id"], body["status"]) == (job["id"], "done")
    assert body["video_output"] == read(creatify_client, job)["output"]
    assert receiver.received[0][0] == "/callbacks/token"


@pytest.mark.parametrize(
    ("mode", "statuses"),
    [
        ("final", ["done"]),
        ("every", ["in_queue", "running", "done"]),
        ("duplicated", ["done", "done", "done"]),
        ("reordered", ["done", "running", "in_queue", "pending"]),
        ("forged", ["failed", "done", "done", ["done"], "done"]),
    ],
)
def test_webhooks_come_in_the_order_that_is_switched_on(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any, wait: Wait, mode: str, statuses: list[Any]
) -> None:
    creatify_client.put("/_emulator/switches", json={"webhooks": mode})
    created(creatify_client, webhook_url=receiver.url)

    wait(lambda: len(receiver.received) >= len(statuses))

    assert receiver.statuses == statuses
    assert [webhook.genuine for webhook in creatify.webhooks] == [
        mode != "forged" or number == 4 for number in range(len(statuses))
    ]


def test_a_webhook_can_come_before_the_answer(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any
) -> None:
    creatify.switches.webhooks = "early"

    job = created(creatify_client, webhook_url=receiver.url)

    assert [(body["id"], body["status"]) for body in receiver.bodies] == [(job["id"], "done")]
    assert job["status"] == "pending"
    assert read(creatify_client, job)["status"] == "done"


def test_a_webhook_can_stay_away(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any, wait: Wait
) -> None:
    creatify.switches.webhooks = "never"

    finished(creatify_client, created(creatify_client, webhook_url=receiver.url), wait)

    assert receiver.received == []


def test_a_webhook_can_be_a_form_and_name_its_result_output(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any, wait: Wait
) -> None:
    creatify.switches.webhook_body, creatify.switches.webhook_field = "form", "output"
    job = created(creatify_client, webhook_url=receiver.url)

    wait(lambda: receiver.received)

    [(_, content_type, body)] = receiver.received
    assert content_type == "application/x-www-form-urlencoded"
    fields = parse_qs(body.decode(), keep_blank_values=True)
    assert fields["id"] == [job["id"]]
    assert fields["output"][0].endswith(".mp3")


def test_a_receiver_that_fails_is_tried_again_a_few_times(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any, wait: Wait
) -> None:
    receiver.answers = [500, 503, 204]

    created(creatify_client, webhook_url=receiver.url)

    wait(lambda: creatify.webhooks and len(creatify.webhooks[0].statuses) == 3)
    assert creatify.webhooks[0].statuses == [500, 503, 204]


def test_a_receiver_that_refuses_or_is_not_there_does_no_harm(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any, wait: Wait
) -> None:
    receiver.answers = [404]

    refused = finished(creatify_client, created(creatify_client, webhook_url=receiver.url), wait)
    absent = finished(creatify_client, created(creatify_client, webhook_url="http://127.0.0.1:9/x"), wait)

    wait(lambda: len(creatify.webhooks) == 2 and len(creatify.webhooks[1].statuses) == 3)
    assert (refused["status"], absent["status"]) == ("done", "done")
    assert creatify.webhooks[0].statuses == [404]
    assert creatify.webhooks[1].statuses == [None, None, None]
    sent = creatify_client.get("/_emulator/webhooks").json()
    assert [webhook["job_id"] for webhook in sent] == [refused["id"], absent["id"]]


# -- what goes wrong --------------------------------------------------------------------------------------------


def test_a_failed_job_has_its_reason_and_costs_nothing_unless_it_does(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, receiver: Any, wait: Wait
) -> None:
    creatify.faults.play("job-failed", reason="Voice is busy.")
    creatify.faults.play("job-failed")

    free = finished(creatify_client, created(creatify_client, webhook_url=receiver.url), wait)
    creatify.switches.refunds_failed = False
    charged = finished(creatify_client, created(creatify_client), wait)

    assert (free["status"], free["failed_reason"], free["output"]) == ("failed", "Voice is busy.", "")
    assert charged["failed_reason"]
    assert [entry.credits for entry in creatify.book.entries] == [0, 1]
    wait(lambda: receiver.received)
    assert receiver.bodies[0]["failed_reason"] == "Voice is busy."


def test_a_job_can_be_stuck_or_have_a_status_nobody_knows(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait
) -> None:
    creatify.faults.play("job-stuck")
    creatify.faults.play("job-unknown-status", reason="rejected")

    stuck, unknown = created(creatify_client), created(creatify_client)

    wait(lambda: read(creatify_client, unknown)["status"] == "rejected")
    assert read(creatify_client, stuck)["status"] == "running"


def test_a_job_can_be_done_without_an_address(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait
) -> None:
    creatify.faults.play("job-without-address")

    job = finished(creatify_client, created(creatify_client), wait)

    assert (job["status"], job["output"]) == ("done", "")


def test_a_job_can_be_created_without_an_id_or_be_forgotten(
    creatify: CreatifyEmulator, creatify_client: httpx.Client
) -> None:
    creatify.faults.play("job-without-id")
    creatify.faults.play("job-forgotten")

    nameless, forgotten = created(creatify_client), created(creatify_client)

    assert "id" not in nameless
    assert creatify_client.get(f"{JOBS}{forgotten['id']}/").status_code == 404
    assert len(creatify.book) == 2


def test_a_lost_answer_leaves_a_job_that_the_list_finds_by_its_webhook(
    creatify: CreatifyEmulator, creatify_client: httpx.Client
) -> None:
    creatify.faults.play("lost")
    url = "http://127.0.0.1:9/callbacks/attempt-1"

    with pytest.raises(httpx.ReadError):
        created(creatify_client, webhook_url=url)

    assert [job["webhook_url"] for job in creatify_client.get(JOBS).json()] == [url]
    assert [entry.fault for entry in creatify.book.entries] == ["lost"]


def test_missing_credits_stop_a_job_at_its_creation_or_later(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait
) -> None:
    creatify.switches.credits = 0

    refused = creatify_client.post(JOBS, json={"script": "Hello."})
    creatify.switches.credits_error = "job"
    failed = finished(creatify_client, created(creatify_client), wait)

    assert (refused.status_code, refused.json()) == (402, {"detail": "Insufficient credits."})
    assert (failed["status"], failed["failed_reason"]) == ("failed", "Insufficient credits.")


def test_new_jobs_can_have_nulls(creatify: CreatifyEmulator, creatify_client: httpx.Client) -> None:
    creatify.switches.empties = "null"

    job = created(creatify_client)

    assert (job["output"], job["failed_reason"]) == (None, None)


def test_throttling_tells_when_to_come_back_and_need_not(
    creatify: CreatifyEmulator, creatify_client: httpx.Client
) -> None:
    creatify.faults.play("throttled")
    creatify.faults.play("status", status=429, body={"detail": "Request was throttled."})

    told, untold = (creatify_client.post(JOBS, json={"script": "Hello."}) for _ in range(2))

    assert (told.status_code, told.headers["Retry-After"]) == (429, "5")
    assert (untold.status_code, "Retry-After" in untold.headers) == (429, False)


@pytest.mark.parametrize(
    ("results", "status", "content_type"),
    [
        ("forbidden", 403, "application/xml"),
        ("redirect", 302, ""),
        ("html", 200, "text/html"),
    ],
)
def test_a_result_can_be_out_of_reach(
    creatify_client: httpx.Client, wait: Wait, results: str, status: int, content_type: str
) -> None:
    creatify_client.put("/_emulator/switches", json={"results": results})

    job = finished(creatify_client, created(creatify_client), wait)
    response = httpx.get(job["output"])

    assert response.status_code == status
    assert response.headers.get("Content-Type", "").startswith(content_type)


def test_a_first_address_can_be_stale(creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait) -> None:
    creatify.switches.results = "stale"
    job = created(creatify_client)

    first = finished(creatify_client, job, wait)["output"]
    second = read(creatify_client, job)["output"]

    assert [httpx.get(address).status_code for address in (first, second)] == [403, 200]


def test_an_address_expires_and_a_fresh_one_does_not(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait
) -> None:
    creatify.switches.results, creatify.switches.result_seconds = "expire", 0
    job = created(creatify_client)

    expired = finished(creatify_client, job, wait)["output"]
    creatify.switches.result_seconds = 60
    fresh = read(creatify_client, job)["output"]

    assert [httpx.get(address).status_code for address in (expired, fresh)] == [403, 200]


def test_faults_of_audio_play_to_the_result_of_the_text_they_name(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait, decoded: Callable[[bytes], tuple[Any, int]]
) -> None:
    creatify.faults.play("silent", match="quiet")

    loud = finished(creatify_client, created(creatify_client, script="Be loud."), wait)
    quiet = finished(creatify_client, created(creatify_client, script="Be quiet."), wait)

    assert decoded(httpx.get(loud["output"]).content)[0].max() > 0.1
    assert decoded(httpx.get(quiet["output"]).content)[0].max() < 0.001


def test_pace_is_the_time_from_creation_to_the_end(
    creatify: CreatifyEmulator, creatify_client: httpx.Client, wait: Wait
) -> None:
    creatify.switches.pace = 0.3

    started = time.monotonic()
    finished(creatify_client, created(creatify_client), wait)

    assert 0.25 < time.monotonic() - started < 10
