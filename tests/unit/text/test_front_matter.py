"""Options in YAML front matter are found, other front matter is not spoken, and hostile YAML is harmless."""

import contextlib
import json
import time

import pytest

from speech.errors import InvalidRequest
from speech.text.reading import split_front_matter


def split(front_matter: str) -> tuple[dict[str, object], str]:
    return split_front_matter(f"---\n{front_matter}\n---\nHello.\n")


def refusal_of(front_matter: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        split(front_matter)
    assert "voicedrop" in refusal.value.detail
    return refusal.value


def test_options_are_read_and_the_rest_of_the_front_matter_is_not_spoken() -> None:
    options, text = split("title: A day\nvoicedrop:\n  voice: alice\n  speed: 1.5\n  formats: [mp3, wav]")

    assert options == {"voice": "alice", "speed": 1.5, "formats": ["mp3", "wav"]}
    assert text == "Hello.\n"


@pytest.mark.parametrize("front_matter", ["title: x\ndate: 2024-01-01", "", "# only a comment", "voicedrop: {}"])
def test_front_matter_without_options_gives_none(front_matter: str) -> None:
    assert split(front_matter) == ({}, "Hello.\n")


@pytest.mark.parametrize(
    "text",
    [
        "Hello.",
        "---",
        "---\nHello.",
        "---\nvoicedrop: {voice: alice}\nnever closed",
        "---\nnot: [yaml\n---\nHello.",
        "---\n- a list\n---\nHello.",
        "---\nIt was night.\n---\nIt was day.",
        "----\na: b\n----\n",
        "\n---\na: b\n---\nHello.",
        "---\na: b\n---x\n",
        "--- a: b\n---\n",
    ],
)
def test_a_rule_that_opens_no_front_matter_is_text(text: str) -> None:
    assert split_front_matter(text) == ({}, text)


@pytest.mark.parametrize(
    "text",
    [
        "---\r\nvoicedrop: {a: b}\r\n---\r\nHello.",
        "\ufeff---\nvoicedrop: {a: b}\n--- \nHello.",
        '---\n"voicedrop": {a: b}\n---\nHello.',
    ],
)
def test_line_ends_marks_and_quotes_do_not_hide_the_options(text: str) -> None:
    assert split_front_matter(text) == ({"a": "b"}, "Hello.")


def test_front_matter_may_be_all_there_is() -> None:
    assert split_front_matter("---\nvoicedrop: {a: b}\n---") == ({"a": "b"}, "")


def test_values_are_those_of_json_and_norwegian_is_not_false() -> None:
    options, _ = split(
        "voicedrop:\n  a: 3\n  b: -0.5\n  c: true\n  d: ~\n  e: '5'\n  f: no\n  g: 2024-01-01\n  h: 1:30\n  i: 010\n"
        "  j: .inf\n  k: 0x1F\n  l: 2024-01-01T10:00:00Z\n  m: {n: [off]}\n  1: one\n  null: none"
    )

    assert options == {
        "a": 3,
        "b": -0.5,
        "c": True,
        "d": None,
        "e": "5",
        "f": "no",
        "g": "2024-01-01",
        "h": "1:30",
        "i": 10,
        "j": ".inf",
        "k": "0x1F",
        "l": "2024-01-01T10:00:00Z",
        "m": {"n": ["off"]},
        "1": "one",
        "null": "none",
    }


@pytest.mark.parametrize("value", ["loud", "[a, b]", "", "3", "'{}'"])
def test_options_that_are_no_mapping_are_refused_by_field(value: str) -> None:
    refusal = refusal_of(f"voicedrop: {value}")

    assert [each.field for each in refusal.errors] == ["voicedrop"]
    assert "mapping" in refusal.errors[0].message


@pytest.mark.parametrize(
    ("front_matter", "field"),
    [
        ("voicedrop: [", "voicedrop"),
        ("voicedrop:\n\tvoice: alice", "voicedrop"),
        ("voicedrop: {a: 1}\nvoicedrop: {b: 2}", "voicedrop"),
        ("voicedrop:\n  a: 1\n  a: 2", "voicedrop.a"),
        ("voicedrop:\n  [a]: b", "voicedrop"),
        ("voicedrop:\n  ? {a: b}\n  : c", "voicedrop"),
        ("voicedrop:\n  a: !!binary aGk=", "voicedrop.a"),
        ("voicedrop:\n  a: !mine x", "voicedrop.a"),
        ("voicedrop: !!python/object/apply:os.getcwd []", "voicedrop"),
        ('voicedrop:\n  a: "\\ud800"', "voicedrop.a"),
        ('voicedrop:\n  a: {b: "\\0"}', "voicedrop.a.b"),
        ('voicedrop:\n  a: "\\UFFFFFFFF"', "voicedrop"),
    ],
)
def test_options_that_cannot_be_read_are_refused_by_field(front_matter: str, field: str) -> None:
    refusal = refusal_of(front_matter)

    assert [each.field for each in refusal.errors] == [field]


def test_front_matter_above_64_kb_is_refused_only_when_it_has_options() -> None:
    filler = "notes: |\n" + "  lorem ipsum\n" * 5_000

    refusal = refusal_of(filler + "voicedrop: {voice: alice}")
    options, text = split(filler)

    assert "64 KB" in refusal.errors[0].message
    assert options == {}
    assert text.startswith("---\nnotes")


BOMB = "a0: &a0 [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40))
MERGES = "a0: &a0 {k: v}\n" + "\n".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 40))


@pytest.mark.parametrize(
    "front_matter",
    [
        pytest.param(BOMB, id="aliases"),
        pytest.param(BOMB + "\nvoicedrop:\n  a: *a39", id="aliases in the options"),
        pytest.param(MERGES, id="merges"),
        pytest.param(MERGES + "\nvoicedrop: *a39", id="merges in the options"),
        pytest.param("voicedrop: &v {a: *v}", id="a loop"),
        pytest.param("a: " + "[" * 60_000, id="deep lists"),
        pytest.param("voicedrop: " + "[" * 60_000, id="deep lists in the options"),
        pytest.param("voicedrop:\n" + "\n".join(" " * i + "a:" for i in range(1, 330)), id="deep mappings"),
        pytest.param("? " * 30_000, id="deep keys"),
        pytest.param("- " * 30_000, id="deep items"),
        pytest.param("voicedrop:\n" + "".join(f" k{i}: v\n" for i in range(5_000)), id="many options"),
        pytest.param("voicedrop:\n  a: " + "9" * 60_000, id="a huge number"),
        pytest.param("voicedrop:\n  a: " + "9" * 30_000 + ".5e99999", id="a huge fraction"),
        pytest.param("voicedrop:\n  a: 0x" + "f" * 60_000, id="a huge hexadecimal"),
        pytest.param("voicedrop:\n  a: " + "1:" * 30_000 + "1", id="a huge base 60"),
        pytest.param("voicedrop:\n  a: 9999-99-99", id="no such day"),
        pytest.param("x: {" + "a: b, " * 10_000 + "}", id="wide"),
        pytest.param("&" * 60_000, id="anchors"),
        pytest.param("a: !" + "!" * 60_000, id="tags"),
        pytest.param("a: >\n" + " \n" * 30_000, id="blank lines"),
        pytest.param("%YAML 9.9", id="a directive"),
        pytest.param("a: \x07", id="a control"),
        pytest.param("a: \ud800", id="half a character"),
    ],
)
def test_hostile_yaml_neither_crashes_nor_hangs(front_matter: str) -> None:
    before = time.process_time()
    options: dict[str, object] = {}

    with contextlib.suppress(InvalidRequest):
        options, _ = split(front_matter)

    assert len(json.dumps(options)) < 100_000
    assert time.process_time() - before < 10


def test_a_book_that_opens_with_a_rule_is_searched_quickly() -> None:
    book = "---\n" + "It was a dark night.\n" * 50_000
    before = time.process_time()

    assert split_front_matter(book) == ({}, book)
    assert split_front_matter(book + "---\nThe end.")[0] == {}
    assert time.process_time() - before < 5
