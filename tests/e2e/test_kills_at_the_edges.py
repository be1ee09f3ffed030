"""`kill -9` of what takes in and what tells, poison, and a storm: nothing is lost, nothing is hidden."""

import random
import threading
import time
import uuid

import httpx
import pytest

from tests.support.results import accounted_for, completed
from tests.support.stack import VENDORS, Stack, Watch, kill, unique, wait_for
from tests.support.tone_vendors import ToneVendors, as_heard, heard

MORTALS = (
    "ingest_upload",
    "ingest_message",
    "start_segment",
    "check_segment",
    "vendor_callback",
    "assemble_audio",
    "deliver_event",
    "sweep",
)


# --- the ways in ---


@pytest.mark.parametrize("delay", [0.0, 0.03])
def test_killed_while_it_accepts_a_request(mortal: Stack, mortal_tones: ToneVendors, delay: float) -> None:
    """B1 to B3: the client repeats itself and finds the same job."""
    text, headers = unique(), {"Idempotency-Key": uuid.uuid4().hex}
    watch = mortal.watch("jobs_api")

    def killer() -> None:
        pid = watch.started()
        time.sleep(delay)  # how far the work has come when it dies is what is varied
        kill(pid)

    def ask() -> httpx.Response:
        return mortal.api.post("/v1/jobs", json={"text": text, "format": "wav"}, headers=headers)

    thread = threading.Thread(target=killer)
    thread.start()
    answers = [ask()]
    thread.join()
    answers.append(wait_for(lambda: found if (found := ask()).status_code < 500 else None, seconds=20, what="a 202"))

    assert answers[0].status_code in (202, 500)
    assert answers[1].status_code == 202
    result = completed(mortal, mortal.ended(answers[1].json()["id"]), text)
    accounted_for(result, mortal_tones.voiceai.sales(text), text)
    assert len(mortal.jobs_of(headers["Idempotency-Key"])) == 1


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_killed_while_it_takes_in_a_file(mortal: Stack, mortal_tones: ToneVendors, delay: float) -> None:
    text, key = unique(), f"kills/{uuid.uuid4().hex}.txt"
    watch = mortal.watch("ingest_upload")
    mortal.drop(key, text, format="wav")

    pid = watch.started()
    time.sleep(delay)  # how far the work has come when it dies is what is varied
    kill(pid)

    job = mortal.job(mortal.dropped(key)["job"]["id"])
    accounted_for(completed(mortal, job, text, base=key), mortal_tones.voiceai.sales(text), text)
    assert mortal.jobs_in_table(key) == [job["id"]]


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_killed_while_it_takes_in_a_message(mortal: Stack, mortal_tones: ToneVendors, delay: float) -> None:
    text = unique()
    watch = mortal.watch("ingest_message")
    request_id = mortal.send({"text": text, "format": "wav"})

    pid = watch.started()
    time.sleep(delay)  # how far the work has come when it dies is what is varied
    kill(pid)

    job = mortal.ended(mortal.requested(request_id)["id"])
    accounted_for(completed(mortal, job, text), mortal_tones.voiceai.sales(text), text)


# --- the rest ---


def test_killed_while_it_tells_of_the_end(mortal: Stack) -> None:
    """B13."""
    key = f"kills/{uuid.uuid4().hex}.txt"
    watch = mortal.watch("deliver_event")
    mortal.drop(key, bytes(500))

    killed = kill(watch.started())

    assert mortal.page(key)
    assert killed


def test_killed_while_it_sweeps(mortal: Stack, mortal_tones: ToneVendors) -> None:
    """B14: the next run goes on."""
    text = unique()
    starts = mortal.watch("start_segment")
    watch = mortal.watch("sweep")
    job = mortal.post(text=text, format="wav")
    kill(starts.started())

    for number in range(3):
        kill(watch.started(after=number))

    accounted_for(completed(mortal, mortal.ended(job["id"]), text), mortal_tones.voiceai.sales(text), text)


def poison(watch: Watch, deliveries: int = 5) -> None:
    """Kill whoever takes up a message, until it is among the dead."""
    for number in range(deliveries):
        kill(watch.started(after=number))


def test_what_kills_whoever_reads_it_still_becomes_a_job_that_says_so(mortal: Stack) -> None:
    """I15: a message and a file, five deliveries and five deaths each."""
    request_id, key = f"poison {uuid.uuid4().hex}", f"poison/{uuid.uuid4().hex}.txt"
    killers = [
        threading.Thread(target=poison, args=(mortal.watch(name),)) for name in ("ingest_message", "ingest_upload")
    ]
    for each in killers:
        each.start()

    mortal.send({"text": unique(), "request_id": request_id})
    mortal.drop(key, unique())

    job = mortal.requested(request_id, seconds=100)
    assert (job["status"], job["problem"]["code"]) == ("failed", "processing-failed")
    assert "`processing-failed`" in mortal.page(key)
    for each in killers:
        each.join()


def test_a_storm_of_deaths_loses_nothing_and_hides_nothing(mortal: Stack, mortal_tones: ToneVendors) -> None:
    """I1, I5, I14: fifteen jobs by all ways while any process may die at any time."""
    weather = random.Random(20261120)
    texts = {(vendor, number): unique(f"In the storm with {vendor}") for vendor in VENDORS for number in range(5)}
    over = threading.Event()
    deaths = []

    def storm() -> None:
        while not over.wait(weather.uniform(0.05, 0.25)):
            pids = [pid for function in MORTALS for pid in mortal.pids(function)]
            if pids and kill(victim := weather.choice(pids)):
                deaths.append(victim)

    jobs = {}
    for (vendor, number), text in texts.items():
        request = {"text": text, "vendor": vendor, "format": "wav"}
        jobs[vendor, number] = mortal.send(request) if number % 2 else mortal.post(**request)["id"]

    thread = threading.Thread(target=storm)
    thread.start()
    thread.join(8)
    over.set()
    thread.join()

    for (vendor, number), name in jobs.items():
        job = mortal.requested(name, seconds=60) if number % 2 else mortal.job(name)
        job = mortal.ended(job["id"], seconds=100)
        text = texts[vendor, number]
        sales = len(mortal_tones[vendor].sales(text))
        if job["status"] == "failed":
            assert job["problem"]["code"] == "vendor-ambiguous", job["problem"]
            assert vendor != "creatify"
            assert sales <= job["cost"]["vendor_calls"]
            continue
        result = completed(mortal, job, text)
        assert heard(result.audio) == as_heard(text)
        doubtful = sum(outcome != "settled" for outcome in result.outcomes)
        assert sales <= 1 + doubtful
        assert vendor != "creatify" or sales == 1
    assert len(deaths) >= 10
