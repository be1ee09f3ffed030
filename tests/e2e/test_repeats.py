"""Whatever arrives twice is one job and one purchase; what was spoken before is not bought again."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.results import completed
from tests.support.stack import Stack, unique, wait_for

EVENTS = Path(__file__).parents[2] / "events"


def notification(stack: Stack, key: str, version: str) -> str:
    """The message that S3 sends about a dropped file."""
    from urllib.parse import quote_plus

    event = json.loads(json.loads((EVENTS / "s3_put.json").read_text())["Records"][0]["body"])
    described = event["Records"][0]["s3"]
    described["bucket"]["name"] = stack.facts["texts_bucket"]
    described["object"].update(key=quote_plus(key, safe="/"), versionId=version)
    return json.dumps(event)


def notify(stack: Stack, key: str, version: str, times: int) -> None:
    for _ in range(times):
        stack.sqs.send_message(QueueUrl=stack.queue("UploadsQueue"), MessageBody=notification(stack, key, version))


def test_a_file_that_is_announced_several_times_is_one_job(stack: Stack) -> None:
    """A1: some while it is at work, some long after."""
    text, key = unique(), f"repeats/{uuid.uuid4().hex}.txt"
    version = stack.drop(key, text)
    notify(stack, key, version, 2)
    first = stack.dropped(key)["job"]["id"]

    notify(stack, key, version, 2)

    stack.drained("UploadsQueue")
    assert stack.jobs_in_table(key) == [first]
    assert stack.dropped(key)["job"]["id"] == first
    assert len(stack.emulator("voiceai").purchases(text)) == 1


def test_a_message_that_is_sent_again_with_its_request_id_is_one_job(stack: Stack) -> None:
    text, request_id = unique(), f"order {uuid.uuid4().hex}"
    for _ in range(3):
        stack.send({"text": text, "request_id": request_id})
    first = stack.ended(stack.requested(request_id)["id"])

    stack.send({"text": text, "request_id": request_id})

    stack.drained("RequestsQueue")
    assert [job["id"] for job in stack.jobs_of(request_id)] == [first["id"]]
    assert len(stack.emulator("voiceai").purchases(text)) == 1


def test_messages_without_a_request_id_are_each_a_job(stack: Stack) -> None:
    text = unique()

    ids = [stack.send({"text": text}) for _ in range(2)]

    jobs = [stack.ended(stack.requested(each)["id"]) for each in ids]
    assert jobs[0]["id"] != jobs[1]["id"]
    assert [job["status"] for job in jobs] == ["completed"] * 2


def test_a_request_that_is_repeated_with_its_idempotency_key_is_one_job(stack: Stack) -> None:
    """A8, A9: at once and later."""
    text, headers = unique(), {"Idempotency-Key": f"key-{uuid.uuid4().hex}"}

    def post(_: int) -> Any:
        return stack.api.post("/v1/jobs", json={"text": text}, headers=headers)

    with ThreadPoolExecutor(4) as several:
        answers = list(several.map(post, range(4)))
    answers.append(post(4))

    assert [answer.status_code for answer in answers] == [202] * 5
    (job_id,) = {answer.json()["id"] for answer in answers}
    completed(stack, stack.ended(job_id), text)
    assert post(5).json()["status"] == "completed"
    assert stack.jobs_of(headers["Idempotency-Key"])[0]["id"] == job_id
    assert len(stack.emulator("voiceai").purchases(text)) == 1


def test_an_idempotency_key_with_another_body_is_refused(stack: Stack) -> None:
    """A8."""
    text, headers = unique(), {"Idempotency-Key": f"key-{uuid.uuid4().hex}"}
    stack.api.post("/v1/jobs", json={"text": text}, headers=headers)

    answer = stack.api.post("/v1/jobs", json={"text": f"{text} And more."}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize("vendor", ["convai", "creatify"])
def test_a_file_that_is_dropped_again_is_a_new_job_that_buys_nothing(stack: Stack, vendor: str) -> None:
    text, key = unique(), f"again/{uuid.uuid4().hex}.txt"
    stack.drop(key, text, vendor=vendor)
    first = stack.dropped(key)["job"]

    version = stack.drop(key, text, vendor=vendor)

    again = completed(stack, stack.job(stack.dropped(key, since=version)["job"]["id"]), text, base=key)
    assert again.job["id"] != first["id"]
    assert again.attempts == []
    assert again.job["cost"]["vendor_calls"] == 0
    assert again.job["audio"]["sha256"] == first["audio"]["sha256"]
    assert len(stack.emulator(vendor).purchases(text)) == 1


def test_the_same_text_by_another_way_and_in_another_format_buys_nothing(stack: Stack) -> None:
    text, key = unique(), f"elsewhere/{uuid.uuid4().hex}.txt"
    completed(stack, stack.ended(stack.post(text=text)["id"]), text)

    stack.drop(key, text, format="flac")

    other = completed(stack, stack.job(stack.dropped(key)["job"]["id"]), text, base=key)
    assert other.job["cost"]["vendor_calls"] == 0
    assert len(stack.emulator("voiceai").purchases(text)) == 1


def test_an_edit_costs_what_it_changed(stack: Stack) -> None:
    key = f"edited/{uuid.uuid4().hex}.txt"
    long = "is as long as a paragraph of some weight " * 8
    paragraphs = [unique(f"Paragraph {number} {long}") for number in range(3)]
    stack.drop(key, "\n\n".join(paragraphs))
    stack.dropped(key)
    edited = "\n\n".join([*paragraphs[:2], unique(f"Another end {long}")])

    version = stack.drop(key, edited)

    job = completed(stack, stack.job(stack.dropped(key, since=version)["job"]["id"]), edited, base=key)
    assert job.job["segments"]["total"] == 3
    assert [len(segment["attempts"]) for segment in job.manifest["segments"]] == [0, 0, 1]


def test_a_success_removes_the_page_of_an_earlier_failure(stack: Stack) -> None:
    text, key = unique(), f"mended/{uuid.uuid4().hex}.txt"
    stack.drop(key, b"\x00\x01\x02\x03" * 100)
    stack.page(key)

    stack.drop(key, text)

    wait_for(lambda: f"{key}.manifest.json" in stack.objects(), seconds=60, what="the manifest")
    wait_for(lambda: stack.result(f"{key}.error.md") is None, seconds=20, what="the page is gone")


def test_the_newest_of_two_files_under_one_name_is_the_one_whose_audio_stays(stack: Stack) -> None:
    """A2."""
    key = f"overtaken/{uuid.uuid4().hex}.txt"
    older, newer = unique("An older text that takes longer " * 10), unique("A newer text")
    stack.drop(key, older, vendor="creatify")

    version = stack.drop(key, newer)

    completed(stack, stack.job(stack.dropped(key, since=version)["job"]["id"]), newer, base=key)
    (overtaken,) = set(stack.jobs_in_table(key)) - {stack.dropped(key)["job"]["id"]}
    completed(stack, stack.ended(overtaken), older)
    assert stack.dropped(key)["job"]["source"]["version_id"] == version


def test_previews_by_every_way_in_at_once_buy_the_opening_once_and_the_whole_buys_the_rest(stack: Stack) -> None:
    """I5: three jobs want the same audio at the same moment, and a fourth has it for nothing."""
    text, wish = " ".join(unique() for _ in range(14)), {"preview": {"seconds": 10}}
    key, request_id = f"previews/{uuid.uuid4().hex}.txt", f"preview {uuid.uuid4().hex}"
    stack.send({"text": text, "request_id": request_id, **wish})
    stack.drop(key, text, preview=json.dumps(wish["preview"]))
    posted = stack.api.post("/v1/jobs", json={"text": text, **wish}).json()

    previews = [
        stack.ended(posted["id"]),
        stack.job(stack.dropped(key)["job"]["id"]),
        stack.ended(stack.requested(request_id)["id"]),
    ]
    whole = stack.ended(stack.api.post("/v1/jobs", json={"text": text}).json()["id"])

    assert {job["status"] for job in (*previews, whole)} == {"completed"}
    opening, every = previews[0]["segments"]["total"], whole["segments"]["total"]
    assert 0 < opening < every
    assert sum(job["cost"]["vendor_calls"] for job in previews) == opening
    assert whole["cost"]["vendor_calls"] == every - opening
    said = {"seconds": 10, "of": {"segments": every, "characters": whole["characters"]}}
    assert [job["preview"] for job in (*previews, whole)] == [said, said, said, None]
