"""How long the audio of a segment may be: as long as its words take at the speed that was asked for."""

import json
from dataclasses import replace

import pytest

from speech.jobs import JobStatus
from speech.text.reading import spoken_bounds
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


def a_long_text(number: int) -> str:
    return (
        f"Of all the evenings beside the harbour, number {number} was the longest that anyone there could remember. "
        * 2
    )


@pytest.mark.parametrize("second", [1.0, 0.4])
def test_c10_audio_far_shorter_than_the_voice_usually_takes_is_refused_once(second: float) -> None:
    """Less than half a segment passes the limits that hold for every voice, not those of one that is known. What is
    as short again is as short as its text.
    """
    texts = [a_long_text(number) for number in range(10)]
    world = World()
    world.a_synthesizing_job(*texts)
    world.vendor.starts = [AudioReady(spoken(len(text))) for text in texts[:9]]
    world.vendor.starts += [AudioReady(spoken(round(len(texts[9]) * part))) for part in (0.4, second)]

    world.run(seconds=60)

    assert world.job().status is JobStatus.COMPLETED
    assert [world.segment(index).calls for index in range(10)] == [1] * 9 + [2]
    assert [attempt.verdict for attempt in world.segment(9).attempts] == ["implausible-duration", None]
    audio = world.segment(9).audio
    assert audio is not None
    assert audio.seconds == pytest.approx(len(texts[9]) * second / 15, abs=0.1)


@pytest.mark.parametrize("speed", [0.25, 3.0])
def test_a_voice_at_another_speed_is_another_voice(speed: float) -> None:
    world = World()
    world.a_synthesizing_job(*(a_long_text(number) for number in range(9)))
    world.run(seconds=60)
    world.a_synthesizing_job(a_long_text(9), id="another-job", spec=a_spec(vendor="scripted", speed=speed))
    world.vendor.starts = [AudioReady(spoken(round(len(a_long_text(9)) / speed)))]

    world.run(seconds=60)

    assert {job.status for job in world.store.jobs()} == {JobStatus.COMPLETED}
    assert len(world.vendor.requests) == 10


def test_prose_is_not_held_against_numbers() -> None:
    """A text of numbers takes several times as long as its signs would; neither kind is refused after the other."""
    numbers = ["1,234 5,678 9,012 " * 12 + str(number) for number in range(9)]
    prose = [a_long_text(number) for number in range(9)]
    world = World()
    for name, texts, pace in (("job-1", numbers, 4), ("job-2", prose, 1), ("job-3", numbers, 4)):
        job = world.a_synthesizing_job(*(f"{text} {name}" for text in texts), id=name)
        for row in world.store.segments(job.tenant, job.id):
            sounds, read_out = spoken_bounds(f"{texts[row.index]} {name}")
            world.store.put(replace(row, sounds=sounds, read_out=read_out))
        world.vendor.starts = [AudioReady(spoken(pace * len(text), rate=8_000)) for text in texts]
        world.run(seconds=60)

    assert len(world.vendor.requests) == 27


def test_the_verdict_stands_in_the_manifest() -> None:
    world = World()
    world.a_synthesizing_job(SENTENCE)
    whole = spoken(len(SENTENCE))
    world.vendor.starts = [AudioReady(whole[:-100]), AudioReady(whole[:40] + b"\xff\xff\xff\xff" + whole[44:])]

    world.run(seconds=60)

    manifest = next(found.data for key, found in world.results.objects.items() if key.endswith("manifest.json"))
    [segment] = json.loads(manifest)["segments"]
    assert [attempt["verdict"] for attempt in segment["attempts"]] == ["truncated", None]
    audio = segment["audio"]
    assert (audio["container"], audio["codec"], audio["repairs"]) == ("wav", "pcm_s16", ["sizes-corrected"])
    assert audio["loudness_dbfs"] == pytest.approx(-13.5, abs=0.1)
    assert audio["characters_per_second"] == pytest.approx(15, abs=0.1)
