"""Directions in a text: headings and pauses steer the reading and are not read out."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.errors import InvalidRequest
from speech.text.cutting import cut
from speech.text.reading import SOUNDS
from speech.text.script import Heading, Pause, check_script, read_script


def pieces(text: str, limit: int = 500) -> list[str]:
    return [each.text for each in cut(text, limit=limit)]


def titles(text: str) -> list[tuple[int, str]]:
    return [(each.level, each.title) for each in read_script(text).headings]


def test_a_heading_has_its_place_its_level_and_its_title() -> None:
    text = "Före.\n\n## The  Second 👍 One ##  \nText."

    script = read_script(text)

    [heading] = script.headings
    assert heading == Heading(start=10, end=27, level=2, title="The Second 👍 One")
    assert text[heading.start : heading.end] == "The  Second 👍 One"
    assert pieces(text) == ["Före.", "The  Second 👍 One", "Text."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# One", [(1, "One")]),
        ("###### Six", [(6, "Six")]),
        ("   # Indented a little", [(1, "Indented a little")]),
        ("#\tTab", [(1, "Tab")]),
        ("# C#", [(1, "C#")]),
        ("# C #", [(1, "C")]),
        ("# One\n# Two\n\n# Three", [(1, "One"), (1, "Two"), (1, "Three")]),
        ("# Before [pause:1s] after", [(1, "Before after")]),
        ("# # Twice", [(1, "# Twice")]),
    ],
)
def test_headings_are_those_of_markdown(text: str, expected: list[tuple[int, str]]) -> None:
    assert titles(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "#hashtag of the day",
        "####### Seven",
        "We are # 1 here.",
        "    # a comment in code",
        "\t# a comment in code",
        "```\n# a comment in code\n```",
        "~~~python\n# a comment\n```\n# another\n~~~",
        "#",
        "# ",
        "# ***",
        "## ##",
        "A line\u2003# with a wide space",
    ],
)
def test_what_looks_like_a_heading_and_is_none_is_text(text: str) -> None:
    assert titles(text) == []
    assert not read_script(text).unspoken


def test_a_fence_that_is_never_closed_hides_nothing() -> None:
    assert titles("# One\n```\n# Two\n\n# Three") == [(1, "One"), (1, "Two"), (1, "Three")]


@pytest.mark.parametrize(
    ("mark", "seconds"),
    [
        ("[pause:1.5s]", 1.5),
        ("[pause:800ms]", 0.8),
        ("[Pause: 2 s]", 2.0),
        ("[pause:0,25s]", 0.25),
        ("[PAUSE:30S]", 30.0),
        ("[pause:0s]", 0.0),
    ],
)
def test_a_mark_asks_for_a_pause_and_is_not_spoken(mark: str, seconds: float) -> None:
    text = f"One {mark} two."

    assert read_script(text).pauses == (Pause(4, 4 + len(mark), seconds),)
    assert pieces(text) == ["One", "two."]
    check_script(text)


@pytest.mark.parametrize(
    ("mark", "named"),
    [
        ("[pause:]", "`[pause:]`"),
        ("[pause:1]", "`[pause:1]`"),
        ("[pause:2min]", "`[pause:2min]`"),
        ("[pause:-1s]", "`[pause:-1s]`"),
        ("[pause:30.1s]", "`[pause:30.1s]`"),
        ("[pause:1s", "begins with `[pause:`"),
        ("[pause:until my friend is back]", "begins with `[pause:`"),
        ("[pause:٣s]", "begins with `[pause:`"),
    ],
)
def test_a_mark_that_cannot_be_followed_is_refused_by_its_line_and_never_by_somebodys_words(
    mark: str, named: str
) -> None:
    text = f"Hello [pause:1s] there.\n\n{mark} More."

    with pytest.raises(InvalidRequest) as refused:
        check_script(text)

    assert "line 3" in refused.value.detail
    assert named in refused.value.detail
    assert "friend" not in refused.value.detail
    assert [each.field for each in refused.value.errors] == ["text"]


def test_an_hour_of_pauses_is_taken_and_more_is_not() -> None:
    check_script("A" + "[pause:30s]" * 120)
    with pytest.raises(InvalidRequest, match="60 minutes"):
        check_script("A" + "[pause:30s]" * 121)


def test_words_in_brackets_are_text() -> None:
    text = "Wait [pause]. Then [a pause: 1s]."

    check_script(text)
    assert pieces(text) == [text]


def test_a_heading_is_a_piece_of_its_own_however_much_would_fit() -> None:
    assert pieces("# One\nFirst.\n\n## Two\n\n### Three\n\nThird.") == ["One", "First.", "Two", "Three", "Third."]


def test_a_heading_longer_than_the_limit_is_cut_like_anything_else() -> None:
    parts = pieces("# " + "word " * 30 + "\n\nText.", 60)

    assert [each.split() for each in parts[:-1]] == [["word"] * 12, ["word"] * 12, ["word"] * 6]
    assert parts[-1] == "Text."


def test_what_makes_no_sound_between_two_marks_is_left_out_rather_than_carried_across_one() -> None:
    assert pieces("One.[pause:1s]...[pause:2s]- two.") == ["One.", "- two."]


def test_a_longer_title_moves_no_cut_elsewhere() -> None:
    text = "\n\n".join(f"# Chapter {n}\n\n" + f"It says {n} things. " * 90 for n in range(20))

    before, after = pieces(text), pieces(text.replace("Chapter 7", "Chapter 7, in which it rains"))

    assert [each for each in after if each not in before] == ["Chapter 7, in which it rains"]


SCRIPTS = st.lists(
    st.sampled_from(
        [
            "One two. ",
            "three, ",
            "é漢",
            "\n",
            "\n\n",
            "# ",
            "## ",
            " ##",
            "#",
            "[pause:1s]",
            "[pause:x]",
            "```\n",
            "…",
            "\u0301",
        ]
    ),
    max_size=60,
).map("".join)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(text=SCRIPTS, limit=st.integers(3, 60))
def test_every_text_is_spoken_but_for_its_directions(text: str, limit: int) -> None:
    script = read_script(text)
    heard = "".join(text[a:b] for a, b in script.blocks(len(text)))

    found = cut(text, limit=limit)

    assert script.characters(len(text)) == len(heard)
    assert list(script.unspoken) == sorted(script.unspoken)
    assert [each for each in "".join(piece.text for piece in found) if SOUNDS.match(each)] == [
        each for each in heard if SOUNDS.match(each)
    ]
    for piece in found:
        assert piece.text == text.encode()[piece.byte_start : piece.byte_end].decode()
        assert not any(a < piece.end and piece.start < b for a, b in script.unspoken)
    for heading in script.headings:
        assert not any(
            piece.start < heading.start < piece.end or piece.start < heading.end < piece.end for piece in found
        )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word[pause:1ms] " * 31_000, id="marks"),
        pytest.param("# Title\n" * 60_000, id="headings"),
        pytest.param("# a [pause:1ms]\n" * 30_000, id="marks in headings"),
        pytest.param("[pause:" * 70_000 + "a", id="marks without an end"),
        pytest.param("#" * 500_000 + "a", id="hashes"),
        pytest.param("# a" + " #" * 500_000, id="one title of hashes"),
        pytest.param("# " + " " * 500_000 + "a", id="spaces"),
        pytest.param("```\n# a\n" * 60_000, id="fences"),
        pytest.param("```\n" + "~~~\n# a\n" * 60_000, id="a fence never closed"),
    ],
)
def test_half_a_million_characters_of_directions_are_read_and_cut_in_linear_time(text: str) -> None:
    before = time.process_time()

    read_script(text)
    cut(text, limit=500)

    assert time.process_time() - before < 3  # under 1 on a quiet machine
