"""JSON from strangers is read strictly, and whatever is wrong with it is theirs to mend (A10)."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.errors import NotJson
from speech.strictjson import MAX_DEPTH, strict_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "line 1, column 2"),
        (b'{"a": 1,}', "line 1"),
        (b"{'a': 1}", "line 1, column 2"),
        (b"{}{}", "Extra data at line 1, column 3"),
        (b'{"a": 1, "a": 2}', '"a" appears twice'),
        (b'{"x": {"a": 1, "a": 1}}', '"a" appears twice'),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"9" * 5_000, "digits"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 50_000, "nested"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested"),
        (b'"\xff"', "byte 1"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'{"text": "a\\udc00"}', "`text`"),
        (b'{"\\ud83d": 1}', "surrogate"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b'"a\x00"', "line 1"),
        (b"\x00", "line 1"),
        (b"text=hello", "line 1"),
    ],
)
def test_what_is_not_json_is_refused_and_the_place_is_named(body: bytes, says: str) -> None:
    """A10"""
    with pytest.raises(NotJson) as refused:
        strict_json(body)

    assert says in refused.value.detail


@given(VALUES)
def test_json_is_read_as_it_was_meant(value: Any) -> None:
    assert strict_json(json.dumps(value).encode()) == value
    assert strict_json(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(st.binary(max_size=200) | st.text('{}[]",:\\u0dD8e1+-. \n', max_size=60).map(str.encode))
def test_any_bytes_are_json_or_refused_and_nothing_else(body: bytes) -> None:
    """A10"""
    try:
        value: object = strict_json(body)
    except NotJson as error:
        value = error.detail

    assert json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def test_depth_is_counted_outside_of_strings_only() -> None:
    value = ["[" * 1000, "\\" * 9 + '"' + "{" * 1000, [[]] * 50]

    assert strict_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"[]" * 20 + b'"' + b'\\"' * 2_000_000,
        b"[" * 30 + b'"' * 3_999_000,
        b'["' + b"\\u005b" * 600_000 + b'"]',
        b'{"a":' + b"[]," * 1_300_000,
    ],
    ids=["unclosed", "quotes", "escapes", "brackets"],
)
def test_four_megabytes_of_malice_take_no_longer_than_four_of_text(body: bytes) -> None:
    """A10"""
    started = time.process_time()

    with suppress(NotJson):
        strict_json(body)

    assert time.process_time() - started < 5


def test_a_byte_order_mark_before_json_is_no_fault() -> None:
    assert strict_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
