"""A voice's own pace narrows what is believed, once it is known."""

import random

from speech.audio.pace import KNOWN_FROM, MOST_VOICES, Paces


def known(voice: str = "ada", pace: float = 15.0, segments: int = KNOWN_FROM, spread: float = 0.05) -> Paces:
    paces, rng = Paces(), random.Random(1)
    for _ in range(segments):
        paces.learn(voice, characters=300, seconds=300 / pace * rng.uniform(1 - spread, 1 + spread))
    return paces


def unusual(paces: Paces, seconds: float, voice: str = "ada", characters: int = 300, at_most: int = 300) -> bool:
    return paces.is_unusual(voice, characters=characters, at_most=at_most, seconds=seconds)


def test_less_than_half_of_the_time_or_more_than_three_times_as_much_is_unusual() -> None:
    paces = known()

    assert unusual(paces, 9)
    assert unusual(paces, 65)


def test_what_a_voice_may_well_do_is_not() -> None:
    paces = known()

    for seconds in (11, 15, 20, 25, 30, 45, 55):
        assert not unusual(paces, seconds)


def test_a_voice_that_is_not_known_is_never_suspected() -> None:
    assert not unusual(known(segments=KNOWN_FROM - 1), 5)
    assert not unusual(known(), 5, voice="another")


def test_short_texts_are_neither_judged_nor_learned_from() -> None:
    paces = Paces()
    for _ in range(100):
        paces.learn("ada", characters=30, seconds=2)

    assert not unusual(paces, 5)
    assert not unusual(known(), 1, characters=99)


def test_a_number_read_out_may_take_as_long_as_its_words() -> None:
    assert not unusual(known(), 200, at_most=3_000)


def test_an_uneven_voice_is_given_more_room() -> None:
    assert unusual(known(spread=0.02, segments=50), 9)
    assert not unusual(known(spread=0.5, segments=50), 9)


def test_only_so_many_voices_are_remembered() -> None:
    paces = known()
    for number in range(MOST_VOICES):
        paces.learn(f"voice {number}", characters=300, seconds=20)

    assert not unusual(paces, 5)
