"""Vendors that hang, refuse or are out, in the laptop cloud: others do not feel it, and nothing is lost or repeated."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.prove import proven
from tests.support.results import completed
from tests.support.stack import Stack, running, unique

SECONDS_A_SEGMENT = 5.0
"""How long the vendor takes over each: what is measured must not be our machine."""

TTS = "/api/v1/tts"
"""What all of Voice.ai's addresses for speech begin with, those that cost nothing as well."""


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that nobody else uses: what a vendor is refused here, all its jobs feel."""
    with running(tmp_path_factory.mktemp("troubled"), SEGMENT_ATTEMPTS="4") as up:
        for vendor in ("voiceai", "convai"):
            up.ended(up.post(text=unique(), vendor=vendor, format="wav")["id"])
        yield up


def clear(stack: Stack, vendor: str) -> None:
    url = stack.facts["vendors"][vendor]
    httpx.delete(f"{url}/_emulator/faults", trust_env=False).raise_for_status()


def health(stack: Stack, vendor: str) -> dict[str, Any]:
    told: dict[str, Any] = stack.api.get(f"/v1/vendors/{vendor}").raise_for_status().json()["health"]
    return told


def wait(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Not within {seconds:g} seconds: {what}"
        time.sleep(0.2)  # between two looks; each reads what other processes wrote


def nothing_was_received_in_vain(stack: Stack) -> bool:
    """Whether no message came back to its queue, and none died."""
    said = "\n".join(stack.logs().values())
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    dead = [url for url in stack.sqs.list_queues()["QueueUrls"] if "DeadLetter" in url]
    left = [stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] for url in dead]
    counts = [each for attributes in left for each in attributes.values()]
    return not re.search(r"message (returned|failed)", said) and bool(counts) and set(counts) == {"0"}


def test_c11_a_vendor_that_hangs_for_a_minute_does_not_slow_the_jobs_of_another(troubled: Stack) -> None:
    def a_book() -> float:
        """How long Voice.ai's jobs take: nine at once, of which three are under way at a time."""
        mark = f"measured {time.monotonic_ns()}"
        troubled.emulator("voiceai").play("drip", match=mark, times=None, seconds=SECONDS_A_SEGMENT)
        began = time.monotonic()
        jobs = [troubled.post(text=unique(f"Nobody else is {mark}"), vendor="voiceai", format="wav") for _ in range(9)]
        for each in jobs:
            assert troubled.ended(each["id"])["status"] == "completed"
        return time.monotonic() - began

    a_book()
    alone = min(a_book(), a_book())
    troubled.emulator("convai").play("hang", match="hangs", times=None, seconds=60)
    stuck = [troubled.post(text=unique(f"This {each} hangs"), vendor="convai", format="wav") for each in range(10)]
    emulator = troubled.emulator("convai")
    wait(lambda: len(emulator.requests("hangs")) >= 3, seconds=20, what="Convai hangs")
    beside = a_book()
    if beside > 1.2 * alone:  # somebody else's work on this machine, perhaps: that does not come again
        beside = min(beside, a_book())
    clear(troubled, "convai")

    slower = beside / alone - 1
    proven("hanging-vendor", alone_seconds=round(alone, 2), beside_seconds=round(beside, 2), slower=round(slower, 3))
    assert alone >= 3 * SECONDS_A_SEGMENT
    assert slower <= 0.2
    for each in stuck:
        troubled.api.post(f"/v1/jobs/{each['id']}/cancel").raise_for_status()


def test_c3_a_storm_of_refusals_costs_few_calls_and_no_receive(troubled: Stack) -> None:
    """Given 25 jobs and a vendor that refuses every call for ten seconds."""
    emulator = troubled.emulator("dify")
    emulator.play("status", route="/text-to-audio", status=429, times=None, body={"code": "too_many_requests"})
    texts = [unique("This is in the storm") for _ in range(25)]
    jobs = [troubled.post(text=text, vendor="dify", format="wav") for text in texts]
    time.sleep(10)  # the storm: how often the vendor is called while it lasts is what is measured
    refused = len(emulator.requests("in the storm"))
    clear(troubled, "dify")

    for job, text in zip(jobs, texts, strict=True):
        result = completed(troubled, troubled.ended(job["id"], seconds=120), text)
        assert [attempt["outcome"] for attempt in result.attempts] == ["settled"]
        assert len(emulator.purchases(text)) == 1

    proven("storm", jobs=len(jobs), refused=refused)
    assert 1 <= refused <= 20
    assert nothing_was_received_in_vain(troubled)


def test_c23_an_outage_is_waited_out_with_one_question_at_a_time(troubled: Stack) -> None:
    """Given 12 jobs and a vendor of which every address answers 503 for half a minute."""
    emulator = troubled.emulator("voiceai")
    emulator.play("status", route=TTS, status=503, times=None, body={"error": "down"})
    began = time.monotonic()
    texts = [unique("This meets an outage") for _ in range(12)]
    before = len([each for each in emulator.requests() if each["method"] == "GET"])
    jobs = [troubled.post(text=text, vendor="voiceai", format="wav") for text in texts]
    wait(lambda: health(troubled, "voiceai")["state"] == "out", seconds=30, what="the breaker is open")
    told = health(troubled, "voiceai")
    other = troubled.ended(troubled.post(text=unique(), vendor="creatify", format="wav")["id"])
    time.sleep(max(0.0, 30 - (time.monotonic() - began)))  # the outage: what is asked while it lasts is measured
    called = len(emulator.requests("meets an outage"))
    questions = len([each for each in emulator.requests() if each["method"] == "GET"]) - before
    clear(troubled, "voiceai")

    ended = [troubled.ended(job["id"], seconds=180) for job in jobs]

    proven("outage", jobs=len(jobs), calls_during_it=called, questions_during_it=questions)
    assert other["status"] == "completed"
    assert told["reason"] == "vendor-unavailable"
    assert {job["status"] for job in ended} == {"completed"}, json.dumps([job["problem"] for job in ended])
    assert called <= 8
    assert questions <= 3
    assert sum(len(emulator.purchases(text)) for text in texts) == 12
    assert health(troubled, "voiceai")["state"] == "in"
    assert nothing_was_received_in_vain(troubled)
