"""Server-sent events are read alike however they were written and wherever the network cut them."""

import pytest

from speech.vendors.events import Event, EventReader

EXPECTED = [Event("generating", '{"stage": "für é 日本"}'), Event("message", "two\nlines"), Event("ping", "pong")]
LINES = [
    ": a comment",
    "event: generating",
    'data: {"stage": "für é 日本"}',
    "id: 7",
    "retry: 10",
    "",
    "data:two",
    "data: lines",
    "",
    "event: nothing",
    "",
    "",
    ":",
    "event: ping",
    "data: pong",
    "",
    "",
]


def stream(line_end: str) -> bytes:
    return line_end.join(LINES).encode()


def read(*pieces: bytes) -> list[Event]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.read(piece)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_c16_any_line_end_and_several_events_in_one_piece(line_end: str) -> None:
    assert read(stream(line_end)) == EXPECTED


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_c16_pieces_are_cut_anywhere_also_inside_a_character_and_between_cr_and_lf(line_end: str, size: int) -> None:
    whole = stream(line_end)

    assert read(*(whole[start : start + size] for start in range(0, len(whole), size))) == EXPECTED


def test_c16_an_event_that_was_cut_off_is_none() -> None:
    assert read(b"event: completed\ndata: {}\n") == []
    assert read(b"event: completed\ndata: {}") == []


def test_c16_a_byte_order_mark_and_bytes_that_are_no_text_do_no_harm() -> None:
    assert read(b"\xef\xbb\xbfdata: a\n\n", b"\xff\xfe: x\n", b"data: \xff\n\n") == [
        Event("message", "a"),
        Event("message", "�"),
    ]


def test_an_empty_piece_between_cr_and_lf_does_not_make_an_empty_line() -> None:
    assert read(b"data: a\r", b"", b"\ndata: b\r\n\r\n") == [Event("message", "a\nb")]
