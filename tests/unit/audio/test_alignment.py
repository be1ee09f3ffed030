"""Cues begin where sentences are heard to begin, as far as pauses can tell."""

import time
from itertools import pairwise
from statistics import median

import numpy
import pytest
from numpy.typing import NDArray

from local.emulators.voice import Speaker
from speech.audio.alignment import onsets
from speech.audio.pauses import PauseFinder

RATE = 16_000


def tone(seconds: float, *, level: float = 0.3) -> NDArray[numpy.float32]:
    at = numpy.arange(round(seconds * RATE)) / RATE
    return (level * numpy.sin(2 * numpy.pi * 220 * at)).astype(numpy.float32)


def pauses_of(samples: NDArray[numpy.float32], *, block: int = 65_536) -> list[tuple[float, float]]:
    finder = PauseFinder(RATE)
    for start in range(0, len(samples), block):
        finder.add(samples[start : start + block])
    return finder.pauses()


def test_pauses_are_found_to_a_hundredth_of_a_second_whatever_the_blocks() -> None:
    speech = numpy.concatenate([tone(1.0), tone(0.4, level=0.001), tone(0.7), tone(0.05, level=0.0), tone(0.5)])

    for block in (7, 160, 1_000, 65_536):
        [(start, end)] = pauses_of(speech, block=block)
        assert start == pytest.approx(1.0, abs=0.011)
        assert end == pytest.approx(1.4, abs=0.011)


def test_quiet_speech_has_the_same_pauses_as_loud_speech() -> None:
    speech = numpy.concatenate([tone(1.0), numpy.zeros(8_000, numpy.float32), tone(1.0)])

    assert pauses_of(speech) == pauses_of(speech * numpy.float32(0.02)) != []


def test_audio_shorter_than_a_window_and_no_audio_have_no_pause() -> None:
    assert pauses_of(tone(0.005)) == pauses_of(tone(0.0)) == []


def test_without_pauses_time_is_shared_in_proportion_to_characters() -> None:
    assert onsets([10, 30, 60], [], 2.0, 12.0) == [3.0, 6.0]
    assert onsets([5], [], 0.0, 1.0) == []
    assert onsets([], [], 0.0, 1.0) == []


def test_each_part_begins_after_the_pause_that_fits_and_not_after_a_short_one_beside_it() -> None:
    pauses = [(1.9, 2.05), (2.4, 3.0), (5.1, 5.7)]

    found = onsets([24, 23, 30], pauses, 0.0, 8.8)

    assert found == [3.0, 5.7]


def test_silence_around_the_speech_is_not_counted_as_speech() -> None:
    assert onsets([10, 10], [(0.0, 2.0), (4.0, 6.0)], 0.0, 6.0) == [pytest.approx(3.0)]


def test_onsets_never_go_back_and_stay_inside() -> None:
    draw = numpy.random.default_rng(5)
    for _ in range(200):
        edges = numpy.sort(draw.uniform(0, 20, size=2 * draw.integers(0, 12)))
        pauses = [(float(a), float(b)) for a, b in edges.reshape(-1, 2)]
        lengths = [int(each) for each in draw.integers(0, 80, size=draw.integers(1, 9))]

        found = onsets(lengths, pauses, 1.0, 19.0)

        assert len(found) == len(lengths) - 1
        assert all(a <= b for a, b in pairwise([1.0, *found, 19.0]))


def test_a_segment_of_thousands_of_pauses_is_followed_in_seconds_and_where_they_are() -> None:
    """Numbers that are read one by one, with a pause after each: half an hour, in lines of 27."""
    pauses = [(0.7 * number - 0.2, 0.7 * number) for number in range(1, 2_700)]
    before = time.process_time()

    found = onsets([27] * 100, pauses, 0.0, 0.7 * 2_700 - 0.2)

    assert time.process_time() - before < 3  # 0.1 on a quiet machine, where all pauses against all took 12
    assert found == pytest.approx([0.7 * 27 * part for part in range(1, 100)], abs=0.001)


SENTENCES = (
    "The harbour was quiet when the last boat came in.",
    "Nobody spoke.",
    "A cold wind had risen over the bay, and the men pulled their collars up, tied the ropes and went home.",
    "Where had she gone?",
    "It was, as the old keeper used to say, a night for staying indoors; but the lamp had to be lit.",
    "He climbed two hundred steps.",
    "From up there the town looked small, no more than a handful of yellow lights.",
    "Then it began to snow.",
)


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "pl"])
def test_sentences_of_a_voice_begin_about_where_they_are_heard(language: str) -> None:
    spoken = [Speaker().speak(each, language=language) for each in SENTENCES]
    finder = PauseFinder(spoken[0].sample_rate)
    finder.add(numpy.concatenate([each.pcm for each in spoken]).astype(numpy.float32) / numpy.float32(32_768))
    truth = numpy.cumsum([each.seconds for each in spoken])
    characters = [len(each) for each in SENTENCES]

    found = onsets(characters, finder.pauses(), 0.0, float(truth[-1]))

    off = [abs(a - b) for a, b in zip(found, truth, strict=False)]
    assert median(off) < 0.03
    assert max(off) < 0.8  # where the voice makes no pause, there is none to be found
