"""Creatify's webhook early, late, twice, reordered, forged or missing: the same end, and one job bought."""

import uuid
from typing import Any

import pytest

from tests.support.results import Spoken, completed
from tests.support.stack import Stack, wait_for
from tests.support.tone_vendors import Told, ToneVendors, as_heard, heard

MANNERS = ("final", "early", "late", "twice", "reordered", "forged", "missing")


@pytest.fixture(scope="module")
def asked(tone_stack: Stack, tones: ToneVendors) -> dict[str, tuple[str, str, str]]:
    """A job for each manner, all under way: its id, its text and the mark in the text."""
    jobs = {}
    for manner in MANNERS:
        mark = f"mark {uuid.uuid4().hex[:8]}"
        tones.creatify.manners[mark] = manner
        text = f"The webhook of this one is {manner}, {mark}."
        jobs[manner] = (tone_stack.post(text=text, vendor="creatify", format="wav")["id"], text, mark)
    return jobs


def told_about(tones: ToneVendors, mark: str) -> list[Told]:
    ids = {job.id for job in tones.creatify.jobs.values() if mark in job.script}
    return [each for each in tones.creatify.told if each.job_id in ids]


def outline(result: Spoken) -> dict[str, Any]:
    """What is the same of two jobs that went the same way, whatever they said."""
    return {
        "status": result.job["status"],
        "segments": result.job["segments"],
        "cost": result.job["cost"],
        "problem": result.job["problem"],
        "outcomes": [(attempt["number"], attempt["outcome"], attempt["problem"]) for attempt in result.attempts],
    }


@pytest.mark.proves(
    "creatify: delivery webhook",
    "creatify: delivery repeated webhooks",
    "creatify: answer field credits_used",
)
@pytest.mark.parametrize("manner", MANNERS)
def test_whatever_the_webhook_does_the_end_is_the_same(
    tone_stack: Stack, tones: ToneVendors, asked: dict[str, tuple[str, str, str]], manner: str
) -> None:
    """I9, D1 to D5."""
    plain_id, plain_text, _ = asked["final"]
    job_id, text, mark = asked[manner]

    result = completed(tone_stack, tone_stack.ended(job_id), text)

    assert heard(result.audio) == as_heard(text)
    assert tones.creatify.sales(mark) == [text]
    assert outline(result) == outline(completed(tone_stack, tone_stack.ended(plain_id), plain_text))
    assert result.attempts[0]["outcome"] == "settled"
    assert result.job["cost"]["credits"] == 1


@pytest.mark.proves("creatify: delivery repeated webhooks", "creatify: webhook field status")
@pytest.mark.parametrize(
    ("manner", "about"),
    [
        ("final", ["done"]),
        ("early", ["done"]),
        ("twice", ["done"] * 3),
        ("reordered", ["done", "running", "pending", "in_queue"]),
    ],
)
def test_every_genuine_webhook_is_thanked_for(
    tone_stack: Stack, tones: ToneVendors, asked: dict[str, tuple[str, str, str]], manner: str, about: list[str]
) -> None:
    """D2, D3."""
    job_id, _, mark = asked[manner]
    tone_stack.ended(job_id)

    told = wait_for(
        lambda: found if len(found := told_about(tones, mark)) >= len(about) else None, seconds=20, what="webhooks"
    )

    assert [(each.about, each.status) for each in told] == [(each, 204) for each in about]


def test_a_webhook_after_the_end_changes_nothing(
    tone_stack: Stack, tones: ToneVendors, asked: dict[str, tuple[str, str, str]]
) -> None:
    """D10: not the job, and not what the vendor is asked."""
    job_id, _, mark = asked["late"]
    before = tone_stack.ended(job_id)
    (job,) = [job for job in tones.creatify.jobs.values() if mark in job.script]
    reads, watch = job.reads, tone_stack.watch("check_segment")

    told = [tones.creatify.tell(mark, about)[0].status for about in ("done", "failed", "running", "something new")]

    watch.worked(4)
    assert told == [204] * 4
    assert _without_links(tone_stack.job(job_id)) == _without_links(before)
    assert job.reads == reads
    assert tones.creatify.sales(mark) == [job.script]


@pytest.mark.proves("creatify: webhook field video_output")
def test_a_forged_webhook_is_nowhere_and_a_lying_one_is_not_believed(
    tone_stack: Stack, tones: ToneVendors, asked: dict[str, tuple[str, str, str]]
) -> None:
    """D5, D6, I10."""
    job_id, _, mark = asked["forged"]
    tone_stack.ended(job_id)

    told = told_about(tones, mark)

    assert [each.status for each in told if each.about == "no token"] == [404] * 4
    assert [each.status for each in told if each.about == "lie"] == [204] * 3
    assert tones.creatify.trapped == []


def test_every_address_that_was_not_signed_gets_the_same_answer(tone_stack: Stack) -> None:
    """D5: and nothing is looked up before."""
    watch = tone_stack.watch("check_segment")
    tokens = ("x", "A" * 60, "A" * 4000, "..", "%2e%2e", "a/b", "ü", "A" * 59 + "=")

    answers = [tone_stack.api.post(f"/callbacks/creatify/{token}", json={"id": "x"}) for token in tokens]
    others = [
        tone_stack.api.post("/callbacks/creatify/AAAA", content=body, headers={"Content-Type": kind})
        for body, kind in ((b"\xff\x00", "image/png"), (b"a=b", "application/x-www-form-urlencoded"), (b"", "x"))
    ]

    assert {answer.status_code for answer in answers + others} == {404}
    assert len({_said(answer.json()) for answer in answers[:3] + others}) == 1
    assert watch.starts() == []


def _said(problem: dict[str, Any]) -> str:
    return str({name: value for name, value in problem.items() if name != "instance"})


def _without_links(job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "audio": {**job["audio"], "url": None}, "subtitles": None}
