"""Captions have at most two lines of 42 columns, break where the sense allows it, and lose nothing."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from speech.audio.captions import LINE, captions, width


def test_what_fits_into_a_line_stays_on_it() -> None:
    assert captions("A line of forty-two columns fits as it is.") == ["A line of forty-two columns fits as it is."]


def test_a_longer_one_is_broken_after_a_clause_near_its_middle() -> None:
    text = "When the rain had stopped at last, they went down to the harbour."

    assert captions(text) == ["When the rain had stopped at last,\nthey went down to the harbour."]


def test_without_a_clause_two_lines_are_as_even_as_can_be() -> None:
    [caption] = captions("The old lighthouse keeper climbed two hundred steps every evening")

    first, second = caption.split("\n")
    assert abs(len(first) - len(second)) <= 6


def test_more_than_two_lines_become_several_captions_that_end_with_a_clause() -> None:
    text = (
        "The committee had met every Thursday for eleven years, and nobody could say what for; "
        "on that evening it resolved to plant a tree in the square, and it was planted on Monday."
    )

    made = captions(text)

    assert len(made) > 2
    assert all(each.endswith((",", ";", ".")) for each in made)


def test_wide_characters_take_two_columns_and_no_line_end_is_put_where_no_space_was() -> None:
    made = captions("春天来了，花园里的花都开了，孩子们在草地上奔跑，笑声传得很远很远，连山那边的人也听得见。")

    assert all("\n" not in each for each in made)
    assert all(width(each) <= LINE for each in made)
    assert made[0].endswith("，")


def test_a_caption_of_thai_begins_with_no_vowel_that_belongs_to_the_letter_before() -> None:
    text = "ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอนหรือวรรณยุกต์เช่นเดียวกับภาษาจีนและออกเสียงแยกคำต่อคำ"

    for cut_off in range(40):
        made = captions("ก" * cut_off + text)

        assert len(made) > 1
        assert not any(regex.match(r"[\p{M}\u0e30\u0e32\u0e33]", each) for each in made)
        assert not any(regex.search(r"[\u0e40-\u0e44]$", each) for each in made)


def test_what_is_written_above_or_below_a_letter_takes_no_column() -> None:
    assert width("ที่นี่") == 2
    assert width("हिन्दी") == 5
    assert captions("👩‍👩‍👧‍👦" * 40)[0] == "👩‍👩‍👧‍👦" * 5


texts = st.text(st.sampled_from("aé漢👨‍\u0301.,!? —x"), min_size=1, max_size=300) | st.text(max_size=200)


@given(texts)
def test_every_text_keeps_its_characters_and_every_line_its_width(text: str) -> None:
    folded = " ".join(text.split())

    made = captions(folded)

    assert "".join("".join(made).split()) == "".join(folded.split())
    for caption in made:
        lines = caption.split("\n")
        assert len(lines) <= 2
        assert all(width(line) <= LINE for line in lines)


@pytest.mark.parametrize("text", ["x" * 100_000, "word " * 20_000, "漢" * 50_000])
def test_a_text_without_sentences_takes_linear_time(text: str) -> None:
    assert "".join("".join(captions(text.strip())).split()) == "".join(text.split())
