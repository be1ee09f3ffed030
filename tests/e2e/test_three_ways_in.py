"""Every vendor by every way in: the same job, the same files, and each segment bought once."""

from collections.abc import Mapping
from typing import ClassVar

import pytest

from tests.support.results import Spoken, check_resource, completed
from tests.support.stack import VENDORS, Stack, unique, wait_for

WAYS = ("drop", "post", "message")


@pytest.fixture(scope="module")
def texts() -> dict[tuple[str, str], str]:
    return {
        (vendor, way): unique(f"The {vendor} voice speaks, and it was asked by {way}. Here is a second sentence")
        for vendor in VENDORS
        for way in WAYS
    }


@pytest.fixture(scope="module")
def asked(stack: Stack, texts: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Nine jobs under way, each by the name under which its way in knows it."""
    known = {}
    for (vendor, way), text in texts.items():
        if way == "drop":
            known[vendor, way] = f"three ways/{vendor}.txt"
            stack.drop(known[vendor, way], text, vendor=vendor)
        elif way == "post":
            known[vendor, way] = stack.post(text=text, vendor=vendor, metadata={"way": way})["id"]
        else:
            known[vendor, way] = stack.send({"text": text, "vendor": vendor, "request_id": f"ways-{vendor}"})
    return known


def spoken(stack: Stack, way: str, name: str, text: str) -> Spoken:
    if way == "drop":
        job = stack.job(stack.dropped(name)["job"]["id"])
        return completed(stack, job, text, base=name)
    job_id = name if way == "post" else stack.requested(name)["id"]
    return completed(stack, stack.ended(job_id), text)


@pytest.mark.proves("creatify: price", "creatify: answer field credits_used")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_text_becomes_audio(
    stack: Stack, texts: dict[tuple[str, str], str], asked: dict[tuple[str, str], str], vendor: str, way: str
) -> None:
    text = texts[vendor, way]

    result = spoken(stack, way, asked[vendor, way], text)

    assert result.job["vendor"] == vendor
    assert result.job["characters"] == len(text)
    assert result.job["format"] == "mp3"
    assert [attempt["outcome"] for attempt in result.attempts] == ["settled"]
    assert result.job["cost"]["vendor_calls"] == 1
    assert result.job["cost"]["amount"] is None
    bought = stack.emulator(vendor).purchases(text)
    assert len(bought) == 1
    assert result.job["cost"]["credits"] == (bought[0]["credits"] if vendor == "creatify" else None)


def test_a_job_says_where_it_came_from(stack: Stack, asked: dict[tuple[str, str], str]) -> None:
    dropped = stack.job(stack.dropped(asked["voiceai", "drop"])["job"]["id"])
    posted = stack.ended(asked["voiceai", "post"])
    sent = stack.requested(asked["voiceai", "message"])

    sources = [dropped["source"], posted["source"], sent["source"]]

    assert [each["type"] for each in sources] == ["upload", "api", "message"]
    assert sources[0]["bucket"] == stack.facts["texts_bucket"]
    assert sources[0]["key"] == asked["voiceai", "drop"]
    assert sources[0]["version_id"]
    assert (dropped["request_id"], posted["request_id"], sent["request_id"]) == (None, None, "ways-voiceai")
    assert posted["metadata"] == {"way": "post"}


def test_the_results_of_a_drop_lie_under_its_name_and_nothing_else_does(
    stack: Stack, asked: dict[tuple[str, str], str]
) -> None:
    for vendor in VENDORS:
        stack.dropped(asked[vendor, "drop"])

    found = {key for key in stack.objects() if key.startswith("three ways/")}

    assert found == {
        f"three ways/{vendor}.txt.{suffix}" for vendor in VENDORS for suffix in ("mp3", "vtt", "srt", "manifest.json")
    }


def test_the_dropped_file_is_left_as_it_was(
    stack: Stack, texts: dict[tuple[str, str], str], asked: dict[tuple[str, str], str]
) -> None:
    key = asked["convai", "drop"]
    stack.dropped(key)

    versions = stack.s3.list_object_versions(Bucket=stack.facts["texts_bucket"], Prefix=key)

    assert len(versions["Versions"]) == 1
    assert "DeleteMarkers" not in versions
    kept = stack.s3.get_object(Bucket=stack.facts["texts_bucket"], Key=key)["Body"].read()
    assert kept.decode() == texts["convai", "drop"]


@pytest.mark.parametrize("vendor", ["convai", "voiceai"])
def test_a_text_beyond_the_limit_is_bought_piece_by_piece_and_each_piece_once(stack: Stack, vendor: str) -> None:
    limit = {"convai": 2000, "voiceai": 500}[vendor]
    sentence = "Segment {} of this text goes on for about sixty characters, no more."
    lines = [sentence.format(number) for number in range(round(1.1 * limit) // len(sentence))]
    text = unique(" ".join(lines))
    before = len(stack.emulator(vendor).sold())

    result = completed(stack, stack.ended(stack.post(text=text, vendor=vendor, format="wav")["id"]), text)

    assert result.job["segments"]["total"] == 2
    assert [each["outcome"] for each in result.attempts] == ["settled"] * 2
    bought = stack.emulator(vendor).sold()[before:]
    assert sorted(each["characters"] for each in bought) == sorted(
        each["characters"] for each in result.manifest["segments"]
    )
    assert all(each["characters"] <= limit for each in bought)


def test_a_job_has_the_same_keys_from_the_first_answer_on(stack: Stack) -> None:
    text = unique()

    answer = stack.api.post("/v1/jobs", json={"text": text})

    job = answer.json()
    check_resource(job)
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["retry-after"].isdigit()
    assert job["status"] in ("accepted", "synthesizing")
    assert (job["audio"], job["subtitles"], job["problem"]) == (None, None, None)
    assert stack.ended(job["id"])["status"] == "completed"
    assert "retry-after" not in stack.api.get(f"/v1/jobs/{job['id']}").headers


def test_what_the_api_says_of_the_vendors_is_what_they_were_asked(stack: Stack) -> None:
    said = stack.api.get("/v1/vendors").json()["vendors"]

    names = {each.get("name") or each.get("id") for each in said} if isinstance(said, list) else set(said)

    assert names == set(stack.facts["vendors"])


def test_the_webhook_of_a_job_is_told_once_it_has_ended(stack: Stack, asked: dict[tuple[str, str], str]) -> None:
    from tests.support.tone_vendors import Answer, Asked, ToneVendor

    class Customer(ToneVendor):
        name = "customer"
        heard: ClassVar[list[Asked]] = []

        def answer(self, asked: Asked) -> Answer:
            self.heard.append(asked)
            return Answer(200, "text/plain", b"thank you")

    with Customer() as customer:
        job = stack.ended(stack.post(text=unique(), webhook_url=f"{customer.url}/hook")["id"])
        told: Asked = wait_for(lambda: customer.heard[0] if customer.heard else None, seconds=30, what="the webhook")

    assert (told.method, told.path) == ("POST", "/hook")
    assert told.body["type"] == "job.completed"
    assert told.body["data"]["id"] == job["id"]
    assert told.body["data"]["audio"]["url"] is None
    assert told.headers["webhook-id"] == f"{job['id']}.completed"
    assert told.headers["webhook-signature"].startswith("v1,")


def test_no_vendor_was_sent_what_it_does_not_document(stack: Stack, asked: dict[tuple[str, str], str]) -> None:
    for (_, way), name in asked.items():
        if way == "post":
            stack.ended(name)

    strange = {vendor: stack.emulator(vendor).undocumented() for vendor in VENDORS}

    assert strange == {vendor: [] for vendor in VENDORS}


def test_logs_hold_no_text_no_key_and_no_link(
    stack: Stack, texts: dict[tuple[str, str], str], asked: dict[tuple[str, str], str]
) -> None:
    """I17."""
    for (_, way), name in asked.items():
        if way == "post":
            stack.ended(name)

    logs = stack.logs()

    everything = "\n".join(logs.values())
    assert any("job ended" in log for log in logs.values())
    for secret in ("X-Amz-Signature", stack.facts["api_key"], stack.facts["api_key"].split("_")[-1], "/callbacks/"):
        assert secret not in everything
    for text in texts.values():
        assert text[:40] not in everything
        assert text[-14:-1] not in everything
    assert [name for name, log in logs.items() if "Traceback" in log] == []
