"""The same against vendor servers that were started apart: every character is heard in the audio, in order, once."""

import io
from typing import Any

import pytest
import soundfile

from tests.support.results import Spoken, completed
from tests.support.stack import VENDORS, Stack, unique
from tests.support.tone_vendors import ToneVendors, as_heard, heard

WAYS = ("drop", "post", "message")
LONG = 30_000


def long_text(mark: str) -> str:
    """A text of 30,000 characters in which every sentence is another."""
    text = ""
    for number in range(LONG):
        sentence = f"{mark} sentence {number} says {number * 7919 % 9973}, and then it ends."
        sentence += " " if number % 11 else "\n\n"
        if len(text) + len(sentence) > LONG:
            break
        text += sentence
    return f"{text}{'z' * (LONG - len(text) - 1)}."


@pytest.fixture(scope="module")
def long_jobs(tone_stack: Stack) -> dict[tuple[str, str], tuple[str, str]]:
    """Six long jobs under way: id and text by vendor and format."""
    jobs = {}
    for vendor in VENDORS:
        for container in ("wav", "mp3"):
            text = long_text(f"{vendor} {container}")
            request: dict[str, Any] = {"text": text, "vendor": vendor, "format": container}
            if container == "mp3":
                request["sample_rate"] = 16_000  # encoding MP3 is what takes long
            jobs[vendor, container] = (tone_stack.post(**request)["id"], text)
    return jobs


def spoken(stack: Stack, vendor: str, way: str, text: str) -> Spoken:
    if way == "drop":
        key = f"from outside/{vendor}.txt"
        stack.drop(key, text, vendor=vendor, format="wav")
        return completed(stack, stack.job(stack.dropped(key)["job"]["id"]), text, base=key)
    request: dict[str, Any] = {"text": text, "vendor": vendor, "format": "wav"}
    job = stack.post(**request) if way == "post" else stack.requested(stack.send(request))
    return completed(stack, stack.ended(job["id"]), text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_text_is_spoken_by_a_server_that_was_given_by_its_address(
    tone_stack: Stack, tones: ToneVendors, vendor: str, way: str
) -> None:
    text = unique(f"Spoken by {vendor} because of a {way}")

    result = spoken(tone_stack, vendor, way, text)

    assert tone_stack.facts["vendors"][vendor] == tones[vendor].url
    assert heard(result.audio) == as_heard(text)
    assert tones[vendor].sales(text) == [text]
    assert [attempt["outcome"] for attempt in result.attempts] == ["settled"]


def test_headings_and_pauses_are_silence_and_nobody_is_asked_to_speak_them(
    tone_stack: Stack, tones: ToneVendors
) -> None:
    name = unique("The harbour")
    text = f"# {name}\n\n{name} at dusk. [pause:1.5s] And {name} at dawn."
    said = [name, f"{name} at dusk.", f"And {name} at dawn."]

    job = tone_stack.ended(tone_stack.post(text=text, vendor="convai", format="wav")["id"])

    result = completed(tone_stack, job, " ".join(said))
    assert heard(result.audio) == as_heard("".join(said))
    assert sorted(tones["convai"].sales(name)) == sorted(said)
    pauses = result.manifest["pauses"]
    assert [(each["why"], round(each["end"] - each["start"], 3)) for each in pauses] == [
        ("after-heading", 0.8),
        ("pause", 1.5),
    ]
    samples, rate = soundfile.read(io.BytesIO(result.audio))
    for each in pauses:
        assert not samples[round(each["start"] * rate) : round(each["end"] * rate)].any()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("container", ["wav", "mp3"])
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_text_of_30000_characters_is_whole_and_in_order(
    tone_stack: Stack,
    tones: ToneVendors,
    long_jobs: dict[tuple[str, str], tuple[str, str]],
    vendor: str,
    container: str,
) -> None:
    """I4: recovered from the audio, not from the manifest."""
    job_id, text = long_jobs[vendor, container]

    result = completed(tone_stack, tone_stack.ended(job_id, seconds=200), text)

    assert heard(result.audio) == as_heard(text)
    assert result.job["characters"] == LONG
    assert {attempt["outcome"] for attempt in result.attempts} == {"settled"}
    sold = tones[vendor].sales(f"{vendor} {container} sentence")
    assert len(sold) == len(set(sold)) == result.job["cost"]["vendor_calls"] == result.job["segments"]["total"]
    assert as_heard("".join(sorted(sold, key=text.index))) == as_heard(text)


def test_no_server_had_to_refuse_anything(
    tone_stack: Stack, tones: ToneVendors, long_jobs: dict[tuple[str, str], tuple[str, str]]
) -> None:
    for job_id, _ in long_jobs.values():
        tone_stack.ended(job_id, seconds=200)

    refused = [(asked.method, asked.path, status) for vendor in tones for asked, status in vendor.refusals]

    assert refused == []
