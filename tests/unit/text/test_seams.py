"""What a reader would make a pause for between two pieces of a text."""

import time

import pytest

from speech.text.cutting import cut
from speech.text.seams import Between, seams


def kinds(text: str, limit: int = 20) -> list[str]:
    return [each.kind for each in between(text, limit)]


def between(text: str, limit: int = 20) -> list[Between]:
    return seams(text, [(each.start, each.end) for each in cut(text, limit=limit)])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("This is said first. And then this is.", "sentence"),
        ("Is this said first?) And then this is.", "sentence"),
        ("你好你好你好你好你好你好。再见再见再见再见再见。", "sentence"),
        ("„Das war es jetzt.“ Dann ging er doch.", "sentence"),
        ("»Das war es jetzt.« Dann ging er doch.", "sentence"),
        ("Es war im Haus.[12] Dann ging er doch.", "sentence"),
        ("Πού πας, παιδί μου; Πάω στο σπίτι μου.", "sentence"),
        ("ខ្ញុំស្រឡាញ់ប្រទេស។ ខ្ញុំស្រឡាញ់ប្រទេស។", "sentence"),
        ("„Gehst du heim?“, fragte er heute.", "clause"),
        ("This is said first, and then this is.", "clause"),
        ("This is said first – and then this is.", "clause"),
        ("This was said before and then this is.", "continues"),
        ("Thisissaidinasinglewordwithoutend", "continues"),
        ("This is said first.\n\nAnd then this is.", "paragraph"),
        ("This is said first\n- and then this is", "paragraph"),
        ("This is said first.\n# Then comes this.", "before-heading"),
        ("# This is said first.\nAnd then this is.", "after-heading"),
        ("# This is said\n# And then this is.", "before-heading"),
        ("# This is said first, and then this is.", "clause"),
    ],
)
def test_what_lies_between_two_pieces_says_what_pause_there_is(text: str, kind: str) -> None:
    assert kinds(text) == ["beginning", kind, "end"]


def test_a_mark_says_how_long_and_several_say_it_together() -> None:
    text = "[pause:2s]\n\nOne. [pause:1s][pause:500ms]\n\n# Two\n\n[pause:0s] Three.\n[pause:3s]"

    assert between(text) == [Between("pause", 2.0), Between("pause", 1.5), Between("pause", 0.0), Between("pause", 3.0)]


def test_pieces_of_an_earlier_release_that_hold_directions_have_seams_all_the_same() -> None:
    text = "# One\n\nText [pause:1s] goes on. And on."

    assert [each.kind for each in seams(text, [(0, 31), (32, len(text))])] == ["beginning", "sentence", "end"]


def test_what_was_left_out_between_two_pieces_is_a_pause_like_the_paragraphs_around_it() -> None:
    assert [each.kind for each in seams("One.\n\n-----\n\nTwo.", [(0, 4), (13, 17)])] == [
        "beginning",
        "paragraph",
        "end",
    ]


def test_a_text_that_only_the_vendor_has_begins_and_ends() -> None:
    assert [each.kind for each in seams("", [(0, 0)])] == ["beginning", "end"]


@pytest.mark.parametrize("text", ["word " * 50_000, "# a\n[pause:1ms]b\n" * 5_000])
def test_the_seams_of_a_long_text_are_found_in_linear_time(text: str) -> None:
    spans = [(each.start, each.end) for each in cut(text, limit=100)]
    before = time.process_time()

    assert len(seams(text, spans)) == len(spans) + 1

    assert time.process_time() - before < 2  # under 0.5 on a quiet machine
