"""A file that is changed and dropped again: only what changed is bought, and the job says so."""

import logging

import pytest

from speech.errors import VendorAmbiguous, VendorUnavailable
from speech.policy import Policy
from speech.prices import Price
from speech.resource import in_dollars, rendered_in_words
from speech.segments import SegmentStatus
from tests.support.editing import Desk
from tests.support.world import spoken

NAMES = ("harbour", "lamp", "engine", "window", "garden", "letter", "bridge", "kettle", "meadow", "anchor")
SENTENCES = tuple(f"The {name} of number {at} was quiet." for at, name in enumerate(NAMES))
BOOK = "\n\n".join(" ".join(SENTENCES[at : at + 5]) for at in (0, 5))
PRICE = 0.0001


def a_desk(**prices: Price) -> Desk:
    desk = Desk(limit=50)
    desk.world.policies.put(Policy(prices=prices))
    return desk


def edited(text: str = BOOK) -> str:
    return text.replace("The window of number 3 was quiet.", "The window of number 3 was loud.")


def test_a_changed_file_buys_only_what_changed_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    desk = a_desk(voiceai=Price(per_character=PRICE))
    first = desk.speak(BOOK)

    with caplog.at_level(logging.INFO):
        second = desk.speak(edited())

    assert (first.rendered, second.rendered, second.segments_total) == (10, 1, 10)
    assert desk.sent[10:] == ["The window of number 3 was loud."]
    said = "1 of 10 segments, $0.0032"
    assert desk.manifest()["job"]["rendered"] == {"segments": 1, "of": 10, "summary": said}
    assert [len(each["attempts"]) for each in desk.manifest()["segments"]] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    ended = [record for record in caplog.records if record.message == "job ended"][-1]
    assert vars(ended)["rendered"] == said


def test_the_job_as_it_is_read_says_the_same_and_says_nothing_before_it_has_ended() -> None:
    desk = a_desk()
    desk.speak(BOOK)
    under_way = desk.drop(edited())

    before = desk.edge.read_job.resource(under_way)
    desk.world.run()
    after = desk.edge.read_job.resource(desk.world.job(under_way.id))

    assert before["rendered"] is None
    assert after["rendered"] == {"segments": 1, "of": 10, "summary": "1 of 10 segments, price unknown"}
    assert after["cost"]["amount"] is None


def test_an_old_version_s_audio_stays_as_a_version_of_the_result() -> None:
    desk = a_desk()

    first = desk.speak(BOOK)
    second = desk.speak(edited())

    audio = desk.world.results.versions["book.txt.wav"]
    assert [each.version_id for each in audio] == [
        job.result.versions["wav"] for job in (first, second) if job.result is not None
    ]
    assert audio[0].data != audio[1].data
    for suffix in ("vtt", "srt", "manifest.json"):
        assert len(desk.world.results.versions[f"book.txt.{suffix}"]) == 2


def test_a_file_that_is_dropped_again_unchanged_buys_nothing() -> None:
    desk = a_desk()
    desk.speak(BOOK)

    again = desk.speak(BOOK)

    assert rendered_in_words(again) == "0 of 10 segments, nothing bought"
    assert again.cost is not None
    assert (again.cost.vendor_calls, again.cost.amount) == (0, None)


def test_where_the_price_is_known_nothing_bought_came_to_nothing() -> None:
    desk = a_desk(voiceai=Price(per_character=PRICE))
    desk.speak(BOOK)

    assert rendered_in_words(desk.speak(BOOK)) == "0 of 10 segments, $0.00"


def test_a_segment_that_took_several_calls_is_one_segment() -> None:
    desk = a_desk()
    desk.speak(BOOK)
    desk.world.vendor.starts = [
        VendorUnavailable("down", vendor="voiceai"),
        VendorAmbiguous("cut off", vendor="voiceai"),
    ]

    done = desk.speak(edited())

    assert len(desk.sent) == 13
    assert (done.rendered, done.cost and done.cost.vendor_calls) == (1, 3)


def test_a_segment_that_was_bought_by_a_worker_who_died_before_saying_so_counts() -> None:
    """Its audio is found, not bought again; but it was this job that had it spoken."""
    desk = a_desk()
    desk.speak(BOOK)
    made = desk.drop(edited())
    desk.world.store.fail_next("count", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        desk.world.run()

    desk.world.run_with_sweeps(seconds=900)

    done = desk.world.job(made.id)
    assert (done.rendered, done.segments_total) == (1, 10)


def test_what_another_job_spoke_after_a_call_that_bought_nothing_was_there() -> None:
    desk = a_desk()
    desk.speak(BOOK)
    desk.world.vendor.starts = [VendorUnavailable("down", vendor="voiceai")]
    made = desk.drop(edited())
    desk.world.run()
    (row,) = [row for row in desk.world.store.segments(made.tenant, made.id) if row.attempts]
    assert row.status is SegmentStatus.PENDING
    stored = next(audio for _, audio in desk.world.audio.objects.values())
    desk.world.audio.put_audio(row.audio_key, spoken(33), stored)

    desk.world.run_with_sweeps(seconds=300)

    assert desk.world.job(made.id).rendered == 0


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0.0, "$0.00"), (0.0000012, "$0.000001"), (0.0032, "$0.0032"), (0.019, "$0.02"), (12.5, "$12.50")],
)
def test_a_sum_is_never_shown_as_nothing(amount: float, words: str) -> None:
    assert in_dollars(amount) == words
