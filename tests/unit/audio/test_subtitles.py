"""Subtitles: exact at the edges, in order, complete, and readable by others."""

import io
import re
from itertools import pairwise

import pytest
import srt  # type: ignore[import-untyped] # the library brings no types
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from speech.audio.subtitles import Cue, Spoken, cues, to_srt, to_vtt


def spoken(text: str, start: float, end: float) -> Spoken:
    """A segment whose sentences end at full stops."""
    spans = [match.span() for match in re.finditer(r"[^.]+\.?\s*", text)]
    return Spoken(text, spans, start, end)


def bare(text: str) -> str:
    return "".join(text.split())


def test_each_sentence_has_a_cue_and_time_in_proportion_to_its_characters() -> None:
    made = cues([spoken("Twelve chars. Twelve chars. And twenty-six characters.", 1.0, 5.0)])

    assert made == [
        Cue(1000, 2000, "Twelve chars."),
        Cue(2000, 3000, "Twelve chars."),
        Cue(3000, 5000, "And twenty-six characters."),
    ]


def test_edges_of_segments_are_exact() -> None:
    made = cues([spoken("One. Two.", 0.0, 1.2344), spoken("Three.", 1.2344, 2.0), spoken("Four. Five.", 2.5, 3.9999)])

    assert (made[0].start_ms, made[1].end_ms) == (0, 1234)
    assert (made[2].start_ms, made[2].end_ms) == (1234, 2000)
    assert (made[3].start_ms, made[4].end_ms) == (2500, 4000)


def test_white_space_is_folded_and_nothing_between_sentences_is_lost() -> None:
    text = "  « One »\r\n\r\nis here.\u00a0 Two\tis\u2003there. — the end"
    made = cues([Spoken(text, [(4, 18), (23, 36)], 0.0, 3.0)])

    assert " ".join(cue.text for cue in made) == " ".join(text.split())


def test_a_segment_without_sentences_is_one_cue() -> None:
    assert cues([Spoken("Just so", [], 0.0, 1.0)]) == [Cue(0, 1000, "Just so")]


def test_a_segment_of_white_space_has_no_cue() -> None:
    assert cues([Spoken(" \n ", [(0, 3)], 0.0, 1.0), spoken("So.", 1.0, 2.0)]) == [Cue(1000, 2000, "So.")]


def test_a_sentence_without_time_of_its_own_joins_a_neighbour() -> None:
    assert cues([spoken("A. Bcdefghijk.", 0.0, 0.001)]) == [Cue(0, 1, "A. Bcdefghijk.")]
    assert cues([spoken("No time.", 1.0, 1.0), spoken("Some.", 1.0, 2.0)]) == [Cue(1000, 2000, "No time. Some.")]
    assert cues([spoken("Some.", 1.0, 2.0), spoken("No time.", 2.0, 2.0)]) == [Cue(1000, 2000, "Some. No time.")]


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
lengths = st.one_of(st.just(0.0), st.floats(0.0005, 0.01), st.floats(0.1, 20.0))


@given(st.lists(st.tuples(words, st.lists(st.integers(0, 40), max_size=6), lengths, lengths), max_size=8))
def test_cues_are_ordered_never_empty_and_hold_the_whole_text(
    parts: list[tuple[str, list[int], float, float]],
) -> None:
    segments, at = [], 0.0
    for text, cuts, length, pause in parts:
        edges = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
        segments.append(Spoken(text, list(pairwise(edges)), at, at + length))
        at += length + pause

    made = cues(segments)

    assert all(cue.start_ms < cue.end_ms for cue in made)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(made))
    if made:
        assert bare("".join(cue.text for cue in made)) == bare("".join(segment.text for segment in segments))
        assert made[-1].end_ms <= round(at * 1000)


AWKWARD = [
    Cue(0, 1, "Tom & Jerry < 3 > 2 &amp; <b>so</b> {\\an8}"),
    Cue(1, 61_002, "an arrow --> and another -->"),
    Cue(3_600_000, 3_600_001, "WEBVTT"),
    Cue(3_600_001, 359_999_999, "NOTE this"),
    Cue(360_000_000, 363_723_004, "a hundred hours: 😀 å क्षि"),
    Cue(400_000_000, 400_000_001, "12\n\n\n00:00:01,000 --> 00:00:02,000\r\n\r\nx"),
]


def test_an_independent_reader_finds_the_same_cues_in_srt() -> None:
    read = list(srt.parse(to_srt(AWKWARD)))

    assert [cue.index for cue in read] == [1, 2, 3, 4, 5, 6]
    assert [(cue.start.total_seconds(), cue.end.total_seconds()) for cue in read] == [
        (cue.start_ms / 1000, cue.end_ms / 1000) for cue in AWKWARD
    ]
    assert read[0].content == AWKWARD[0].text
    assert read[1].content == "an arrow → and another →"
    assert read[5].content == "12\n00:00:01,000 → 00:00:02,000\nx"


def test_an_independent_reader_finds_the_same_cues_in_webvtt() -> None:
    read = webvtt.from_buffer(io.StringIO(to_vtt(AWKWARD))).captions

    assert len(read) == len(AWKWARD)
    assert [cue.start_in_seconds for cue in read] == [cue.start_ms // 1000 for cue in AWKWARD]
    assert [cue.raw_text for cue in read][:2] == [
        "Tom &amp; Jerry &lt; 3 > 2 &amp;amp; &lt;b>so&lt;/b> {\\an8}",
        "an arrow → and another →",
    ]
    assert read[4].start == "100:00:00.000"
    assert read[5].raw_text == "12\n00:00:01,000 → 00:00:02,000\nx"


def test_files_use_line_feeds_and_have_no_blank_line_inside_a_cue() -> None:
    for text in (to_vtt(AWKWARD), to_srt(AWKWARD)):
        assert "\r" not in text
        assert "\n\n\n" not in text
        assert text.endswith("\n")
    assert to_vtt(AWKWARD).count("-->") == to_srt(AWKWARD).count("-->") == len(AWKWARD)


def test_a_cue_without_text_is_left_out_and_srt_counts_on() -> None:
    some = [Cue(0, 1, "a"), Cue(1, 2, " \n "), Cue(2, 3, "b")]

    assert to_srt(some) == "1\n00:00:00,000 --> 00:00:00,001\na\n\n2\n00:00:00,002 --> 00:00:00,003\nb\n"
    assert to_vtt(some) == "WEBVTT\n\n00:00:00.000 --> 00:00:00.001\na\n\n00:00:00.002 --> 00:00:00.003\nb\n"


@pytest.mark.parametrize("write", [to_vtt, to_srt])
def test_five_thousand_cues_of_any_text_are_read_back(write: object) -> None:
    some = [Cue(i * 1000, i * 1000 + 999, f"Sentence {i} --> <{i}>") for i in range(5_000)]
    assert callable(write)

    text = write(some)

    reader = len(webvtt.from_buffer(io.StringIO(text)).captions) if write is to_vtt else len(list(srt.parse(text)))
    assert reader == 5_000
