"""Pieces for vendors: near the limit, cut where a reader would draw breath, and nothing lost."""

import re
import time
from random import Random

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.text.cutting import Piece, cut, sentences
from speech.text.reading import SOUNDS

FAMILY = "👨‍👩‍👧‍👦"


def texts(text: str, limit: int, language: str | None = None) -> list[str]:
    return [each.text for each in cut(text, limit=limit, language=language)]


def unspaced(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("limit", [500, 2_000, 8_000])
def test_a_text_of_exactly_the_limit_is_one_piece_and_one_more_makes_two(limit: int) -> None:
    text = ("Word " * limit)[: limit - 1] + "."

    assert texts(text, limit) == [text]
    assert len(cut(text[:-1] + "x.", limit=limit)) == 2


def test_offsets_count_code_points_and_bytes_of_utf_8() -> None:
    text = "  Hé. 漢字。\n\n👍 ok. "

    pieces = cut(text, limit=9)

    assert pieces == [
        Piece(start=2, end=9, byte_start=2, byte_end=16, text="Hé. 漢字。"),
        Piece(start=11, end=16, byte_start=18, byte_end=26, text="👍 ok."),
    ]
    for each in pieces:
        assert text[each.start : each.end] == each.text
        assert text.encode()[each.byte_start : each.byte_end].decode() == each.text


def test_whole_paragraphs_are_packed_while_they_fit() -> None:
    paragraphs = [f"Paragraph {number}. It is short." for number in range(10, 34)]

    pieces = texts("\n\n".join(paragraphs), 100)

    assert "\n\n".join(pieces) == "\n\n".join(paragraphs)
    assert {each.count("\n\n") for each in pieces[:-1]} == {2}


def test_what_fits_into_one_piece_is_one_piece() -> None:
    paragraphs = [f"Paragraph {number}. It is short." for number in range(12)]

    assert texts("\n\n".join(paragraphs), 1_000) == ["\n\n".join(paragraphs)]


def test_a_paragraph_that_does_not_fit_is_cut_between_sentences() -> None:
    text = "The first sentence. The second one, which is longer. A third. And the fourth and last."

    assert texts(text, 60) == [
        "The first sentence. The second one, which is longer.",
        "A third. And the fourth and last.",
    ]


def test_a_heading_goes_with_the_long_paragraph_below_it() -> None:
    text = "Chapter 1\n\n" + "It was a dark and stormy night. " * 5

    pieces = texts(text, 100)

    assert pieces[0].startswith("Chapter 1\n\nIt was a dark")
    assert all(each.endswith("night.") for each in pieces)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four; five six seven, eight nine", ["one two three four;", "five six seven, eight nine"]),
        ("one two three four five, six seven eight nine", ["one two three four five,", "six seven eight nine"]),
        ("one two three four five six seven eight nine", ["one two three four five six", "seven eight nine"]),
        ("oneTwoThreeFourFiveSixSevenEightNine", ["oneTwoThreeFourFiveSixSeven", "EightNine"]),
        (
            "漢字漢字漢字漢字漢字漢字漢字漢字漢字、漢字漢字漢字漢字漢字漢字",
            ["漢字漢字漢字漢字漢字漢字漢字漢字漢字、", "漢字漢字漢字漢字漢字漢字"],
        ),
    ],
)
def test_a_sentence_that_does_not_fit_is_cut_at_a_clause_a_space_or_anywhere(text: str, expected: list[str]) -> None:
    assert texts(text, 27) == expected


def test_numbers_and_abbreviations_are_no_place_to_cut() -> None:
    text = "It costs 1,000,000.50 dollars at 10:30 and so on and so forth until the end"

    for limit in range(22, 60):
        pieces = texts(text, limit)
        assert any("1,000,000.50" in each for each in pieces)
        assert any("10:30" in each for each in pieces)


def test_a_family_is_never_parted() -> None:
    text = f"a{FAMILY}" * 30 + "b🇸🇪🇳🇴" * 30 + "e\u0301" * 30 + "क्षि" * 30

    for limit in range(len(FAMILY) + 1, 40):
        pieces = texts(text, limit)
        assert "".join(pieces) == text
        assert sum(each.count(FAMILY) for each in pieces) == 30
        assert sum(len(regex.findall(r"\X", each)) for each in pieces) == len(regex.findall(r"\X", text))


def test_a_grapheme_longer_than_the_limit_is_the_only_one_to_be_parted() -> None:
    text = "a" + "\u0301" * 25 + " b"

    pieces = cut(text, limit=10)

    assert all(len(each.text) <= 10 for each in pieces)
    assert pieces[0].start == 0
    assert pieces[-1].text.endswith("b")


def test_punctuation_joins_its_neighbour() -> None:
    rule = "\n\n" + "* " * 10 + "\n\n"

    pieces = texts(f"!!! One is here.{rule}Two is here.{rule}", 40)

    assert unspaced("".join(pieces)) == unspaced(f"!!! One is here.{rule}Two is here.{rule}")
    assert all(SOUNDS.search(each) for each in pieces)


def test_a_rule_longer_than_the_limit_is_not_bought() -> None:
    pieces = texts("One is here.\n\n" + "=" * 1_000 + "\n\nTwo is here" + "!" * 500, 100)

    assert pieces == ["One is here.", "Two is here" + "!" * 32]


@pytest.mark.parametrize("text", ["", " \n ", "...", "👍", "-" * 5_000])
def test_a_text_that_makes_no_sound_has_no_pieces(text: str) -> None:
    assert cut(text, limit=100) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_a_mistake_of_the_caller(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        cut("Hello.", limit=limit)


def test_one_line_of_98_000_characters_is_cut_at_sentences() -> None:
    text = ('She said: "It was (so to speak) a day. Nothing moved, nobody spoke." Then it rained. ' * 1_200)[:98_000]

    pieces = texts(text, 2_000)

    assert sum(each.endswith((".", '."')) for each in pieces) >= len(pieces) - 1
    assert sum(map(len, pieces)) > 0.9 * 2_000 * (len(pieces) - 1)


def test_an_edit_in_one_paragraph_moves_no_other_cut() -> None:
    paragraphs = [f"This is paragraph {number}. " + "It has a few sentences. " * 12 for number in range(40)]
    before = texts("\n\n".join(paragraphs), 1_000)
    paragraphs[7] += "One more!"

    after = texts("\n\n".join(paragraphs), 1_000)

    assert len(set(before) - set(after)) == 1


@pytest.mark.parametrize("limit", [500, 2_000, 8_000])
def test_an_edit_moves_the_cuts_around_it_and_no_others(limit: int) -> None:
    draw = Random(limit)
    text = "\n\n".join(
        f"Paragraph {number} begins. " + f"It says {number} things. " * draw.randint(1, 40) for number in range(300)
    )
    before = set(texts(text, limit))
    moved = []
    for _ in range(40):
        at = text.index(". ", draw.randrange(len(text) - 2_000)) + 2
        edited = text[:at] + "Nobody had foreseen that this would be added. " + text[at:]
        moved.append(len(set(texts(edited, limit)) - before))

    assert sum(moved) / len(moved) < 2
    assert max(moved) <= 10


def test_sentences_of_the_pieces_are_the_sentences_of_the_text() -> None:
    text = "\n\n".join(
        f'Dr. Who came at {n} p.m. today. "Why? Oh." She left, e.g. by train. All was well.' for n in range(60)
    )

    whole = sentences(text)
    parts = [(piece.start + a, piece.start + b) for piece in cut(text, limit=500) for a, b in sentences(piece.text)]

    assert parts == whole


PLAIN = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=120)
TRICKY = st.lists(
    st.sampled_from(
        [
            *"abAé漢字कß1 .,;!?…。、\"'()«»“”-*\n\u00a0\u2009\u0301\u200d\u0600",
            "\n\n",
            "  ",
            ". ",
            ' "',
            "क्षि",
            FAMILY,
            "🇸🇪",
        ]
    ),
    max_size=150,
).map("".join)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(text=PLAIN | TRICKY, language=st.sampled_from([None, "en", "zh", "hi", "ar", "sv"]))
def test_every_text_is_covered_by_its_sentences(text: str, language: str | None) -> None:
    position = 0

    for start, end in sentences(text, language=language):
        assert position <= start < end
        assert not text[position:start].strip()
        position = end

    assert not text[position:].strip()


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(text=PLAIN | TRICKY, limit=st.integers(1, 90), language=st.sampled_from([None, "en", "zh", "hi"]))
def test_every_text_is_cut_in_order_within_the_limit_and_between_graphemes(
    text: str, limit: int, language: str | None
) -> None:
    graphemes = [each.span() for each in regex.finditer(r"\X", text)]
    edges = {edge for span in graphemes for edge in span}
    longest_grapheme = max((end - start for start, end in graphemes), default=0)
    longest_silence = max(map(len, re.split(SOUNDS, text)))

    pieces = cut(text, limit=limit, language=language)

    assert pieces == cut(text, limit=limit, language=language)
    position = 0
    for each in pieces:
        assert position <= each.start < each.end
        assert each.text == text[each.start : each.end]
        assert each.text == text.encode()[each.byte_start : each.byte_end].decode()
        assert 0 < len(each.text) <= limit
        assert SOUNDS.search(each.text)
        assert not SOUNDS.search(text, position, each.start)
        if longest_grapheme <= limit:
            assert {each.start, each.end} <= edges
        position = each.end
    assert not SOUNDS.search(text, position)
    if pieces and longest_silence + longest_grapheme < min(limit // 2, 32):
        assert unspaced("".join(each.text for each in pieces)) == unspaced(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Hello there, said the fox. " * 37_000, id="one long paragraph"),
        pytest.param("word " * 200_000, id="no punctuation"),
        pytest.param("x" * 1_000_000, id="no space"),
        pytest.param("漢" * 1_000_000, id="ideographs"),
        pytest.param("«Aa. " * 200_000, id="open quotes"),
        pytest.param("a\n\n" * 333_000, id="paragraphs"),
        pytest.param("*\n\n" * 333_000 + "a", id="rules"),
        pytest.param("a" + " " * 1_000_000 + "b", id="spaces"),
        pytest.param("a" + "\u0301" * 1_000_000, id="one grapheme"),
        pytest.param("🇸🇪" * 500_000 + "a", id="flags"),
        pytest.param("a" + "." * 1_000_000 + "b", id="dots"),
    ],
)
def test_a_million_characters_are_cut_in_linear_time(text: str) -> None:
    before = time.process_time()

    cut(text, limit=500)

    assert time.process_time() - before < 6  # under 2 on a quiet machine, most under 0.5: docs/cutting.md
