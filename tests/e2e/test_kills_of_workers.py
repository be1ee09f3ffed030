"""`kill -9` of what works on a job, at any moment: the job ends as it should, and what may be paid twice is flagged."""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.results import Spoken, accounted_for, completed
from tests.support.stack import Stack, kill, unique
from tests.support.tone_vendors import Asked, ToneVendors, as_heard, heard


class Once:
    """Kills every process of a function the first time that the vendor gets to a point about a text."""

    def __init__(self, stack: Stack, function: str, concerns: Callable[[Any], bool]) -> None:
        self._stack, self._function, self._concerns = stack, function, concerns
        self._lock = threading.Lock()
        self.killed: list[int] = []

    def __call__(self, about: Any) -> None:
        with self._lock:
            if not self.killed and self._concerns(about):
                self.killed = [pid for pid in self._stack.pids(self._function) if kill(pid)]


def speak(stack: Stack, text: str, **request: Any) -> Spoken:
    return completed(stack, stack.ended(stack.post(text=text, format="wav", **request)["id"]), text)


# --- start_segment ---


@pytest.mark.parametrize("vendor", ["convai", "voiceai"])
def test_killed_while_the_vendor_speaks(mortal: Stack, mortal_tones: ToneVendors, vendor: str) -> None:
    """B5: bought once more, and flagged."""
    text = unique()
    mortal_tones[vendor].on_sale = once = Once(mortal, "start_segment", lambda sold: sold == text)

    result = speak(mortal, text, vendor=vendor)

    assert once.killed
    assert result.outcomes == ["ambiguous", "settled"]
    accounted_for(result, mortal_tones[vendor].sales(text), text)


@pytest.mark.parametrize("delay", [0.0, 0.02])
def test_killed_with_the_answer_in_hand(mortal: Stack, mortal_tones: ToneVendors, delay: float) -> None:
    """B6, B8: whatever was stored by then is not bought again."""
    text = unique()
    once = Once(mortal, "start_segment", lambda _: True)

    def after(asked: Asked) -> None:
        if asked.body and asked.body.get("text") == text:
            time.sleep(delay)  # how far the work has come when it dies is what is varied
            once(asked)

    mortal_tones.voiceai.after_answer = after

    result = speak(mortal, text)

    assert once.killed
    accounted_for(result, mortal_tones.voiceai.sales(text), text)


@pytest.mark.parametrize("moment", ["before_answer", "after_answer"])
def test_killed_while_it_creates_a_job_at_the_vendor(mortal: Stack, mortal_tones: ToneVendors, moment: str) -> None:
    """B9: the vendor knows our address, so the job is adopted and nothing is bought again."""
    text = unique()
    once = Once(mortal, "start_segment", lambda asked: bool(asked.body) and asked.body.get("script") == text)
    setattr(mortal_tones.creatify, moment, once)

    result = speak(mortal, text, vendor="creatify")

    assert once.killed
    assert result.outcomes == ["settled"]
    accounted_for(result, mortal_tones.creatify.sales(text), text)


def test_killed_before_it_has_called_anybody(mortal: Stack, mortal_tones: ToneVendors) -> None:
    """B4: at the moment at which it begins."""
    text = unique()
    watch = mortal.watch("start_segment")
    job = mortal.post(text=text, format="wav")

    killed = kill(watch.started())

    result = completed(mortal, mortal.ended(job["id"]), text)
    assert killed
    assert heard(result.audio) == as_heard(text)
    assert 1 <= len(mortal_tones.voiceai.sales(text)) <= result.job["cost"]["vendor_calls"]
    assert result.outcomes[-1] == "settled"


# --- check_segment, vendor_callback ---


@pytest.mark.parametrize("path", ["/api/text_to_speech/", "/files/"])
@pytest.mark.parametrize("moment", ["before_answer", "after_answer"])
def test_killed_while_it_checks(mortal: Stack, mortal_tones: ToneVendors, moment: str, path: str) -> None:
    text = unique()

    def is_about_the_job(asked: Asked) -> bool:
        ids = [job.id for job in mortal_tones.creatify.jobs.values() if job.script == text]
        return asked.method == "GET" and asked.path.startswith(path) and any(each in asked.path for each in ids)

    once = Once(mortal, "check_segment", is_about_the_job)
    setattr(mortal_tones.creatify, moment, once)

    result = speak(mortal, text, vendor="creatify")

    assert once.killed
    assert result.outcomes == ["settled"]
    accounted_for(result, mortal_tones.creatify.sales(text), text)


def test_killed_while_the_vendor_reports(mortal: Stack, mortal_tones: ToneVendors) -> None:
    """B10: the vendor hears no thanks, and polling finds the result."""
    text = unique()
    watch = mortal.watch("vendor_callback")
    job = mortal.post(text=text, vendor="creatify", format="wav")

    killed = kill(watch.started())

    result = completed(mortal, mortal.ended(job["id"]), text)
    assert killed
    assert result.outcomes == ["settled"]
    accounted_for(result, mortal_tones.creatify.sales(text), text)


# --- assemble_audio ---


@pytest.mark.parametrize("delays", [(0.0,), (0.1, 0.4)])
def test_killed_while_it_joins(mortal: Stack, mortal_tones: ToneVendors, delays: tuple[float, ...]) -> None:
    """B12: joined again, to the same file, for nothing."""
    mark = uuid.uuid4().hex[:12]
    text = " ".join(f"Sentence {number} of {mark} takes its moment to be joined." for number in range(80))
    watch = mortal.watch("assemble_audio")
    job = mortal.post(text=text, format="flac")

    for number, delay in enumerate(delays):
        pid = watch.started(after=number, seconds=60)
        time.sleep(delay)  # how far the work has come when it dies is what is varied
        kill(pid)

    result = completed(mortal, mortal.ended(job["id"]), text)
    assert heard(result.audio) == as_heard(text)
    assert set(result.outcomes) == {"settled"}
    assert (
        len(mortal_tones.voiceai.sales(mark)) == result.job["cost"]["vendor_calls"] == result.job["segments"]["total"]
    )
