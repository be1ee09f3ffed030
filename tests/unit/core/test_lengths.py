"""How long audio may become, and who is told when it may not: before anything is bought, and before it is joined."""

from dataclasses import replace

import pytest

from speech.audio import tagging
from speech.audio.join import FORMATS
from speech.audio.picture import MAX_BYTES
from speech.audio.tags import MAX_CHAPTER_TITLE, MAX_CHAPTERS, MAX_TITLE, Cover, Mark, Tags
from speech.errors import ProcessingFailed, TextTooLong
from speech.jobs import JobStatus
from speech.lengths import HOURS, WAV_TAGS_BYTES, longest_seconds, require_fit, require_room, slow_seconds
from tests.fakes import a_segment, a_spec, some_audio
from tests.support.world import World

HOUR = 3_600
RATES = (8_000, 24_000, 48_000)
SENTENCE = "The harbour master counts the boats at dusk. "


def a_text(characters: int, sentence: str = SENTENCE) -> str:
    return (sentence * (characters // len(sentence) + 1))[:characters]


@pytest.mark.parametrize("format", sorted(FORMATS))
@pytest.mark.parametrize("rate", RATES)
def test_every_format_knows_its_longest_audio_and_but_wav_that_is_fifteen_hours(format: str, rate: int) -> None:
    assert set(HOURS) == set(FORMATS)
    assert longest_seconds(format, rate) >= (12 if format == "wav" else 15) * HOUR


def test_the_longest_wav_has_sizes_that_fit_its_header() -> None:
    for rate in RATES:
        assert 2 * rate * longest_seconds("wav", rate) < 2**32


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"wav"}))
@pytest.mark.parametrize("rate", [None, 8_000, 48_000])
def test_a_million_characters_are_taken_in_every_format_but_wav(format: str, rate: int | None) -> None:
    require_room(a_text(1_000_000), a_spec(format=format, sample_rate=rate), silence=600)


@pytest.mark.parametrize(("rate", "characters"), [(None, 530_000), (48_000, 530_000), (24_000, 1_000_000)])
def test_a_wav_takes_what_its_rate_leaves_room_for(rate: int | None, characters: int) -> None:
    require_room(a_text(characters), a_spec(format="wav", sample_rate=rate), silence=0)


def test_what_a_wav_may_not_hold_is_refused_with_the_format_that_does() -> None:
    with pytest.raises(TextTooLong) as refused:
        require_room(a_text(600_000), a_spec(format="wav", sample_rate=48_000), silence=0)

    assert "holds 12.4 at 48,000 Hz; choose flac, or send the text in parts" in refused.value.detail
    assert [each.field for each in refused.value.errors] == ["text", "format"]


def test_signs_take_longer_than_letters_and_so_does_slow_speech() -> None:
    letters, signs = a_text(12_000), a_text(12_000, "港の親方は日暮れに船を数える。")

    assert slow_seconds(letters, None) == 1_000
    assert slow_seconds(signs, None) == 3_000
    assert slow_seconds(letters, 0.5) == 2_000
    assert slow_seconds(letters, 2.0) == 1_000  # not every vendor keeps to it
    with pytest.raises(TextTooLong, match="70 hours of audio"):
        require_room(signs * 84, a_spec(), silence=0)


def test_what_no_format_holds_has_to_be_sent_in_parts() -> None:
    with pytest.raises(TextTooLong) as refused:
        require_room(a_text(1_000_000), a_spec(speed=0.5), silence=0)

    assert [each.field for each in refused.value.errors] == ["text"]
    assert "46.3 hours" in refused.value.detail


def test_silence_that_a_text_asks_for_counts() -> None:
    text = a_text(530_000)

    with pytest.raises(TextTooLong):
        require_room(text, a_spec(format="wav"), silence=HOUR)


def test_a_short_text_is_not_even_counted() -> None:
    require_room(a_text(10_000), a_spec(format="wav", speed=0.01), silence=0)


def test_audio_that_became_too_long_is_not_joined_and_is_kept() -> None:
    rows = [
        replace(a_segment(index=at), audio=replace(some_audio(), frames=HOUR * 24_000, sample_rate=24_000))
        for at in range(25)
    ]

    require_fit(rows[:24], a_spec(format="wav"), silence=0)
    with pytest.raises(ProcessingFailed, match=r"25 hours long; .* Ask for flac: what was spoken is kept"):
        require_fit(rows, a_spec(format="wav"), silence=0)
    with pytest.raises(ProcessingFailed, match=r"holds 12.4\. Ask for flac"):
        require_fit(rows[:13], a_spec(format="wav", sample_rate=48_000), silence=0)
    with pytest.raises(ProcessingFailed, match=r"Send the text in parts"):
        require_fit(rows, a_spec(format="mp3"), silence=6 * HOUR)


def test_a_job_whose_audio_became_too_long_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.audio.join.MAX_WAV_BYTES", WAV_TAGS_BYTES + 1_000)
    world = World()
    world.a_synthesizing_job("One. ", "Two.", spec=a_spec(vendor="scripted", format="wav"))

    world.run()

    failed = world.job()
    assert failed.status is JobStatus.FAILED
    assert failed.problem is not None
    assert "Ask for flac" in failed.problem["detail"]
    assert all(each.audio is not None for each in world.store.segments(failed.tenant, failed.id))


def test_what_a_wav_says_about_itself_fits_beside_its_longest_audio() -> None:
    cover = Cover("image/png", 1, 1, bytes(MAX_BYTES))
    marks = tuple(Mark(0, "😀" * MAX_CHAPTER_TITLE) for _ in range(MAX_CHAPTERS))

    assert (
        tagging.room("wav", Tags(title="脚" * MAX_TITLE, author="脚" * MAX_TITLE, cover=cover, marks=marks))
        < WAV_TAGS_BYTES
    )
