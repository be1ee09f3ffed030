"""A job is cancelled while its vendor works, and jobs are erased: on the laptop cloud, as a client does it (F6, F7)."""

import json
import time
import uuid
from typing import Any

import httpx

from tests.support.results import completed
from tests.support.stack import Stack, unique, wait_for

STILL_SECONDS = 4.0
"""How long to look whether anything is bought after a cancel: many times what a short segment takes here."""


def cancel(stack: Stack, job_id: str) -> dict[str, Any]:
    answer = stack.api.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def versions(stack: Stack, needle: str) -> list[str]:
    """Every version of every result whose key holds this."""
    pages = stack.s3.get_paginator("list_object_versions").paginate(Bucket=stack.facts["audio_bucket"])
    return [each["Key"] for page in pages for each in page.get("Versions", ()) if needle in each["Key"]]


def test_f6_i11_after_the_answer_to_a_cancel_nothing_more_is_bought(stack: Stack) -> None:
    """A long text with hundreds of segments, of which some have been spoken by then."""
    mark = uuid.uuid4().hex
    text = " ".join(f"This is sentence {number} of a long text, {mark}. " * 6 for number in range(60))
    emulator = stack.emulator("voiceai")
    before = len(emulator.sold())
    job = stack.post(text=text, vendor="voiceai")
    assert job["segments"]["total"] > 30
    wait_for(lambda: len(emulator.sold()) > before + 2, seconds=60, what="the first segments are spoken")

    cancelled = cancel(stack, job["id"])
    asked = len([each for each in emulator.requests() if mark in json.dumps(each["body"], ensure_ascii=False)])
    again = cancel(stack, job["id"])

    deadline = time.monotonic() + STILL_SECONDS
    wait_for(lambda: time.monotonic() > deadline, seconds=60, what="time to pass")
    later = len([each for each in emulator.requests() if mark in json.dumps(each["body"], ensure_ascii=False)])
    under_way = 3  # as many as the stack lets work at this vendor at once had begun, and may have been on the wire
    assert (cancelled["status"], again["status"]) == ("cancelled", "cancelled")
    assert later <= asked + under_way < job["segments"]["total"]
    assert stack.job(job["id"])["status"] == "cancelled"
    assert versions(stack, job["id"]) == []


def test_f6_a_job_whose_vendor_works_on_it_is_cancelled_and_its_result_is_not_fetched(stack: Stack) -> None:
    text = unique("A text that takes its time")
    emulator = stack.emulator("creatify")
    emulator.switch(hold=True)
    try:
        job = stack.post(text=text, vendor="creatify")
        wait_for(lambda: emulator.requests(text), seconds=30, what="the vendor's job")
        cancelled = cancel(stack, job["id"])
    finally:
        emulator.switch(hold=False)

    assert cancelled["status"] == "cancelled"
    assert stack.job(job["id"])["status"] == "cancelled"
    assert versions(stack, job["id"]) == []


def test_f7_an_erased_drop_is_gone_from_every_bucket_and_its_file_is_not(stack: Stack) -> None:
    """T20: in all versions; and when the last look is over, its rows are a tombstone."""
    text, key = unique("A secret"), f"erased/{unique('x')[-13:-1]}.txt"
    stack.drop(key, text)
    job = stack.dropped(key)["job"]
    kept = completed(stack, stack.job(job["id"]), text, base=key)
    assert kept.job["status"] == "completed"

    answers = [stack.api.delete(f"/v1/jobs/{job['id']}").status_code for _ in range(2)]

    gone = stack.api.get(f"/v1/jobs/{job['id']}")
    assert answers == [204, 204]
    assert (gone.status_code, gone.json()["code"]) == (404, "job-not-found")
    assert versions(stack, key) == []
    assert stack.s3.get_object(Bucket=stack.facts["texts_bucket"], Key=key)["Body"].read() == text.encode()
    wait_for(lambda: rows(stack, job["id"]) == {"job", "progress", "delivery"}, seconds=90, what="only a tombstone")
    assert stack.jobs_in_table(key) == []


def rows(stack: Stack, job_id: str) -> set[str]:
    """What kinds of rows there are of a job."""
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.facts["jobs_table"])
    return {row["sk"]["S"] for page in pages for row in page["Items"] if row["pk"]["S"].endswith(job_id)}


def test_f7_what_two_jobs_share_stays_until_both_are_erased(stack: Stack) -> None:
    text = unique("What two of them say")
    first, second = (stack.ended(stack.post(text=text, vendor="voiceai")["id"]) for _ in range(2))
    assert len(stack.emulator("voiceai").purchases(text)) == 1

    stack.api.delete(f"/v1/jobs/{first['id']}")
    third = stack.ended(stack.post(text=text, vendor="voiceai")["id"])
    for job in (second, third):
        stack.api.delete(f"/v1/jobs/{job['id']}")
    fourth = stack.ended(stack.post(text=text, vendor="voiceai")["id"])

    assert (third["status"], third["cost"]["vendor_calls"]) == ("completed", 0)
    assert (fourth["status"], fourth["cost"]["vendor_calls"]) == ("completed", 1)
    assert len(stack.emulator("voiceai").purchases(text)) == 2


def test_f7_the_key_of_an_erased_request_is_answered_with_a_problem(stack: Stack) -> None:
    """A14."""
    request = {"json": {"text": unique(), "vendor": "voiceai"}, "headers": {"Idempotency-Key": uuid.uuid4().hex}}
    job = stack.api.post("/v1/jobs", **request).json()  # type: ignore[arg-type]  # both are what httpx takes
    stack.ended(job["id"])
    stack.api.delete(f"/v1/jobs/{job['id']}")

    again = stack.api.post("/v1/jobs", **request)  # type: ignore[arg-type]  # as above

    assert (again.status_code, again.json()["code"]) == (409, "job-erased")


def test_i13_t12_a_link_of_an_erased_job_leads_nowhere(stack: Stack) -> None:
    job = stack.ended(stack.post(text=unique(), vendor="voiceai")["id"])
    assert stack.fetch(job["audio"]["url"])

    stack.api.delete(f"/v1/jobs/{job['id']}")

    assert httpx.get(job["audio"]["url"], trust_env=False).status_code in (403, 404)
