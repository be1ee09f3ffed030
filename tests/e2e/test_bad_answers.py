"""What vendors may answer instead of speech: no job completes on it, none is called without end, and each says why."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.results import check_resource, completed
from tests.support.stack import VENDORS, Stack, running, unique

Files = dict[tuple[str, str], tuple[str, str]]
"""Key and text by vendor and what it answers."""

ATTEMPTS = 2
"""SEGMENT_ATTEMPTS of the stack that these tests share."""

BAD: Mapping[str, Mapping[str, Any]] = {
    "empty": {},
    "no-content": {},
    "json": {},
    "html": {},
    "text": {},
    "null": {},
    "truncated": {},
    "silent": {},
    "cut": {"framing": "close"},
    "png": {"fault": "wrong-container", "container": "png"},
    "zip": {"fault": "wrong-container", "container": "zip"},
    "false content type": {"fault": "json", "content_type": "audio/wav"},
}
"""Faults of the emulators that give a 200 without good audio, and their settings."""


def dropped_with(stack: Stack, vendor: str, name: str, **fault: Any) -> tuple[str, str]:
    """Drop a text about which the vendor will misbehave; returns its key and the text."""
    text = unique(f"The answer to this is {name}")
    mark = text[-14:-1]
    stack.emulator(vendor).play(fault.pop("fault", name), match=mark, **{"times": None, **fault})
    key = f"bad answers/{vendor}/{name} {mark}.txt"
    stack.drop(key, text, vendor=vendor)
    return key, text


def failed(stack: Stack, key: str, *, seconds: float = 90) -> tuple[dict[str, Any], str]:
    """The failed job of a drop and its page."""
    page = stack.page(key, seconds=seconds)
    (job_id,) = re.findall(r"job_\w+", page)
    job = stack.job(job_id)
    check_resource(job)
    assert job["status"] == "failed"
    assert (job["audio"], job["subtitles"]) == (None, None)
    assert {found for found in stack.objects() if found.startswith(f"{key}.")} == {f"{key}.error.md"}
    return job, page


def creations(stack: Stack, vendor: str, text: str) -> int:
    return len([each for each in stack.emulator(vendor).requests(text) if each["method"] == "POST"])


ONCE: Mapping[str, Mapping[str, Any]] = {
    "a page, once": {"fault": "html", "times": 1},
    "another container": {"fault": "wrong-container", "container": "flac"},
    "throttled, once": {"fault": "throttled", "times": 1, "headers": {"Retry-After": "3"}},
    "a failure, once": {"fault": "server-error", "times": 1},
    "failures": {"fault": "server-error"},
    "a refusal": {"fault": "status", "status": 400},
    "a redirect": {"fault": "redirect"},
    "a reset, once": {"fault": "reset", "times": 1},
    "a lost answer, once": {"fault": "lost", "times": 1},
    "a failed job": {"fault": "job-failed", "reason": "The accent lost its voice."},
}
"""Other answers, and their settings; the last is Creatify's alone."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on which a job has twenty seconds."""
    folder = tmp_path_factory.mktemp("impatient")
    with running(folder, LEASE_SECONDS="6", JOB_DEADLINE_SECONDS="20", SEGMENT_ATTEMPTS="2") as up:
        yield up


STUCK = {
    ("convai", "unauthorized"): "vendor-unauthorized",
    ("voiceai", "unauthorized"): "vendor-unauthorized",
    ("convai", "quota"): "vendor-quota-exhausted",
    ("voiceai", "quota"): "vendor-quota-exhausted",
    ("voiceai", "throttled"): "vendor-throttled",
    ("creatify", "job-stuck"): "deadline-exceeded",
    ("creatify", "job-unknown-status"): "deadline-exceeded",
    ("creatify", "job-without-address"): "deadline-exceeded",
}
"""What is wrong for as long as anybody waits, and the code of the problem in the end. A vendor that refuses a key is
called for nobody, so that one whose jobs are to be stuck refuses none."""


REFUSED: Mapping[str, list[str]] = {
    vendor: [name for other, name in STUCK if other == vendor and not name.startswith("job-")] for vendor in VENDORS
}


@pytest.fixture(scope="module")
def stuck(impatient: Stack) -> Files:
    """Jobs that only their deadline ends, on functions that have started: a slow machine takes long over that."""
    warm = [impatient.post(text=unique(), vendor=vendor, format="wav")["id"] for vendor in VENDORS]
    for each in warm:
        impatient.ended(each)
    return {each: dropped_with(impatient, *each) for each in STUCK}


@pytest.fixture(scope="module")
def asked(stack: Stack, stuck: Files) -> Files:
    """Every answer from every vendor, all under way at once, while what is stuck is stuck."""
    return {
        (vendor, name): dropped_with(stack, vendor, name, **settings)
        for vendor in reversed(VENDORS)  # the one that takes longest first
        for name, settings in {**BAD, **ONCE}.items()
        if vendor == "creatify" or name != "a failed job"
    }


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_200_without_good_audio_never_completes(stack: Stack, asked: Files, vendor: str, name: str) -> None:
    """C8 to C10, C14, C19."""
    key, text = asked[vendor, name]

    job, page = failed(stack, key)

    calls = creations(stack, vendor, text)
    assert 1 <= calls <= ATTEMPTS
    assert job["cost"]["vendor_calls"] == calls
    assert job["problem"]["vendor"] == vendor
    codes = ("vendor-misbehaved", "vendor-gone", "unsupported-container", "vendor-job-failed")
    assert job["problem"]["code"] in codes
    assert job["problem"]["detail"]
    assert vendor in page
    assert text not in page


def test_a_bad_answer_is_asked_for_once_more(stack: Stack, asked: Files) -> None:
    """C8: what was bought for nothing is in the manifest."""
    key, text = asked["voiceai", "a page, once"]

    job = stack.job(stack.dropped(key)["job"]["id"])

    result = completed(stack, job, text, base=key)
    assert [attempt["outcome"] for attempt in result.attempts] == ["settled", "settled"]
    assert result.attempts[0]["problem"] == "vendor-gone"
    assert job["cost"]["vendor_calls"] == creations(stack, "voiceai", text) == 2


def test_audio_in_another_container_than_was_asked_for_is_converted(stack: Stack, asked: Files) -> None:
    """C9."""
    key, text = asked["convai", "another container"]

    job = stack.job(stack.dropped(key)["job"]["id"])

    assert completed(stack, job, text, base=key).manifest["segments"][0]["audio"]["container"] == "flac"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_throttled_segment_returns_after_the_delay_the_vendor_asked_for(
    stack: Stack, asked: Files, vendor: str
) -> None:
    """C3: and pays once."""
    key, text = asked[vendor, "throttled, once"]

    job = stack.job(stack.dropped(key)["job"]["id"])

    result = completed(stack, job, text, base=key)
    first, second = [each["at"] for each in stack.emulator(vendor).requests(text) if each["method"] == "POST"]
    # Everything goes wrong with this vendor here, so its gate may hold the segment back for longer than it asked for.
    assert 2.9 < second - first < 100
    assert result.job["cost"]["vendor_calls"] == 1
    assert len(stack.emulator(vendor).purchases(text)) == 1


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_that_fails_for_a_moment_costs_nothing_more(stack: Stack, asked: Files, vendor: str) -> None:
    """C4."""
    key, text = asked[vendor, "a failure, once"]

    job = stack.job(stack.dropped(key)["job"]["id"])

    result = completed(stack, job, text, base=key)
    assert [attempt["outcome"] for attempt in result.attempts] == ["released", "settled"]
    assert len(stack.emulator(vendor).purchases(text)) == 1


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_that_goes_on_failing_is_given_up(stack: Stack, asked: Files, vendor: str) -> None:
    """C4, C22: nothing was bought, and the page says so."""
    key, text = asked[vendor, "failures"]

    job, _ = failed(stack, key)

    assert creations(stack, vendor, text) == ATTEMPTS
    assert stack.emulator(vendor).purchases(text) == []
    assert job["problem"]["vendor"] == vendor


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_request_that_the_vendor_refuses_is_not_repeated(stack: Stack, asked: Files, vendor: str) -> None:
    key, text = asked[vendor, "a refusal"]

    job, _ = failed(stack, key)

    assert creations(stack, vendor, text) == 1
    assert job["problem"]["code"] == "vendor-rejected"


def test_a_redirect_is_not_followed_with_our_key(stack: Stack, asked: Files) -> None:
    """C13."""
    key, _ = asked["voiceai", "a redirect"]

    failed(stack, key)

    elsewhere = [each for each in stack.emulator("voiceai").requests() if each["path"] == "/elsewhere"]
    assert elsewhere == []


@pytest.mark.parametrize("fault", ["a reset, once", "a lost answer, once"])
def test_an_answer_that_is_lost_is_an_ambiguous_purchase_and_flagged(stack: Stack, asked: Files, fault: str) -> None:
    """C2: at most one more is made."""
    key, text = asked["voiceai", fault]

    job = stack.job(stack.dropped(key)["job"]["id"])

    result = completed(stack, job, text, base=key)
    assert [attempt["outcome"] for attempt in result.attempts] == ["ambiguous", "settled"]
    assert job["cost"]["vendor_calls"] == 2
    assert creations(stack, "voiceai", text) == 2


def test_a_job_whose_create_answer_was_lost_is_found_again(stack: Stack, asked: Files) -> None:
    """C18: Creatify knows our callback address, so nothing is bought twice and nothing is ambiguous."""
    key, text = asked["creatify", "a lost answer, once"]

    job = stack.job(stack.dropped(key)["job"]["id"])

    result = completed(stack, job, text, base=key)
    assert [attempt["outcome"] for attempt in result.attempts] == ["settled"]
    assert len(stack.emulator("creatify").purchases(text)) == creations(stack, "creatify", text) == 1


def test_a_job_that_fails_at_the_vendor_says_why(stack: Stack, asked: Files) -> None:
    key, text = asked["creatify", "a failed job"]

    job, page = failed(stack, key)

    assert job["problem"]["code"] == "vendor-job-failed"
    assert "The accent lost its voice." in page
    assert creations(stack, "creatify", text) <= ATTEMPTS


# --- what only its deadline ends ---


@pytest.mark.parametrize(("vendor", "name"), list(STUCK))
def test_what_nobody_mends_ends_at_the_deadline_and_says_what_is_wrong(
    impatient: Stack, stuck: Files, vendor: str, name: str
) -> None:
    """C5, C7, C17, I14."""
    key, text = stuck[vendor, name]

    job, page = failed(impatient, key)

    # Of several things that are wrong with a vendor, the first that is met keeps the others from being met.
    wrong = {STUCK[vendor, name]} if name.startswith("job-") else {STUCK[vendor, each] for each in REFUSED[vendor]}
    assert job["problem"]["code"] in wrong
    assert f"`{job['problem']['code']}`" in page
    if vendor != "creatify" or not name.startswith("job"):
        assert impatient.emulator(vendor).purchases(text) == []
        assert creations(impatient, vendor, text) <= 10
    else:
        assert creations(impatient, vendor, text) == 1
    lasted = _epoch(job["updated_at"]) - _epoch(job["created_at"])
    assert 19 < lasted < 40


def _epoch(stamp: str) -> float:
    return time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
