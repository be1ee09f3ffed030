"""How long the audio of a segment may be: as long as its words take at the speed that was asked for."""

import json

import pytest

from speech.jobs import JobStatus
from speech.vendors.base import AudioReady
from tests.fakes import a_spec
from tests.support.world import World, spoken

SENTENCE = "The sun is up and the birds are singing in the trees beside the house."


@pytest.mark.parametrize("speed", [0.1, 0.5, 1.0, 5.0])
def test_speech_of_any_speed_that_was_asked_for_is_plausible(speed: float) -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE, spec=a_spec(vendor="scripted", speed=speed))
    world.vendor.starts = [AudioReady(spoken(round(len(SENTENCE) / speed)))]

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1


@pytest.mark.parametrize(("speed", "seconds"), [(None, 60), (None, 0.5), (5.0, 60), (0.1, 0.5)])
def test_c12_speech_that_cannot_be_of_that_speed_is_not_taken(speed: float | None, seconds: float) -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE, spec=a_spec(vendor="scripted", speed=speed))
    world.vendor.starts = [AudioReady(spoken(round(seconds * 15)))]

    world.run()

    assert world.job().status is JobStatus.SYNTHESIZING
    assert (world.segment().problem or {})["code"] == "vendor-misbehaved"


@pytest.mark.parametrize("seconds", [0.2, 600])
def test_words_that_only_the_vendor_knows_may_take_any_time_and_have_no_subtitles(seconds: float) -> None:
    world = World()
    message = {"message_id": "6f8ca7a8-1c5a-4b1e-9d5c-0d7f3a2b1c4e"}
    job = world.a_synthesizing_job("", spec=a_spec(vendor="scripted", format="wav", vendor_options=message))
    world.vendor.starts = [AudioReady(spoken(round(seconds * 15), rate=8000))]

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert [request.text for request in world.vendor.requests] == [""]
    assert world.vendor.requests[0].options == message
    results = {key.partition(".")[2]: found.data for key, found in world.results.objects.items()}
    assert (results["vtt"], results["srt"]) == (b"WEBVTT\n", b"")
    [segment] = json.loads(results["manifest.json"])["segments"]
    assert segment["characters"] == 0
    assert segment["end"] == pytest.approx(seconds)
    assert job.segments_total == 1
