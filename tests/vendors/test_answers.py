"""Reading answers: delays, plain non-audio, and which of a vendor's words may be repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.errors import (
    VendorError,
    VendorQuotaExhausted,
    VendorRejected,
    VendorTextTooLong,
    VendorThrottled,
    VendorUnavailable,
)
from speech.vendors.answers import opens_like_text, parsed, request_id, retry_after, safe_message, told_too_long
from speech.vendors.base import Reply

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("1.5", 1.5),
        ("0", 1),
        ("0.2", 1),
        ("901", 900),
        ("999999999999", 900),
        ("9" * 400, None),
        ("Fri, 15 Jan 2027 08:01:40 GMT", 100),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 1),
        ("Fri, 15 Jan 2027 23:00:00 GMT", 900),
        ("Friday", None),
        ("", None),
        ("-5", None),
        ("+5", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("٣٠", None),
        ("30, 60", None),
        ("30s", None),
        ("Fri, 99 Jan 2027 08:01:40 GMT", None),
        ("Fri, 15 Jan 99999 08:01:40 GMT", None),
    ],
)
def test_c3_every_form_of_retry_after_is_read_or_ignored(header: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": header}, NOW) == seconds


def test_c3_no_header_is_no_delay() -> None:
    assert retry_after({}, NOW) is None


@pytest.mark.parametrize(
    "body",
    [b"", b" \r\n", b"null\n", b"{}", b"[]", b"<html>", b"\xef\xbb\xbf{", b"Internal error", "Fehler: ü".encode()],
)
def test_c8_text_is_told_from_audio(body: bytes) -> None:
    assert opens_like_text(body)


@pytest.mark.parametrize(
    "body",
    [
        b"RIFF\x24\x00\x00\x00WAVE",
        b"ID3\x04\x00",
        b"\xff\xfb\x90\x64",
        b"OggS\x00\x02",
        b"fLaC\x00\x00",
        b"\x1f\x8b\x08",
    ],
)
def test_c8_audio_is_not_taken_for_text(body: bytes) -> None:
    assert not opens_like_text(body)


@given(st.text(min_size=600, max_size=1200, alphabet=st.characters(min_codepoint=0x20, exclude_categories=["Cs"])))
def test_c8_a_character_that_our_own_look_cuts_is_still_text(text: str) -> None:
    assert opens_like_text(text.encode())


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"\xff\xfe", b"", b"{"])
def test_a10_hostile_json_is_no_json(body: bytes) -> None:
    assert parsed(body) is None


def test_a_request_id_that_is_none_is_not_kept() -> None:
    def id_of(value: str) -> str | None:
        return request_id(Reply(200, {"x-request-id": value}, b""))

    assert id_of("req_01HZ-a.b:c") == "req_01HZ-a.b:c"
    assert id_of("") is None
    assert id_of("two words") is None
    assert id_of("x" * 129) is None


@pytest.mark.parametrize(
    "message", ["Voice not found", "Insufficient credits to generate speech", "This field is required."]
)
def test_an_ordinary_message_is_repeated_even_when_the_text_has_its_words(message: str) -> None:
    said = safe_message(message, secrets=("The voice was not found in this field, it is required to credit speech.",))

    assert said == message.rstrip(".") + "."


@pytest.mark.parametrize(
    "message",
    [
        None,
        "",
        "   ",
        "x" * 201,
        "see https://example.com/?sig=1",
        "back\\slash",
        "mail@example.com",
        "<b>no</b>",
        '{"a": 1}',
        "a" * 31,
        "ünïcode",
        "zero\x00",
        "the word is swordfish",
        "SWORDFISH!",
        "key sk_live_4711",
        "token 4711",
    ],
)
def test_i17_a_message_that_may_quote_us_is_not_repeated(message: str | None) -> None:
    assert safe_message(message, secrets=("Tell nobody: swordfish.", "sk_live_4711")) is None


@given(
    secret=st.from_regex(r"[a-z0-9]{12,20}", fullmatch=True), before=st.text(max_size=20), after=st.text(max_size=20)
)
def test_i17_no_wrapping_carries_a_secret_word_out(secret: str, before: str, after: str) -> None:
    said = safe_message(f"{before} {secret} {after}", secrets=(f"Some text with {secret} in it.",))

    assert said is None


def rejected(kind: type[VendorError] = VendorRejected) -> VendorError:
    return kind("No.", vendor="acme", vendor_status=400, vendor_code="c-1", request_id="r-1")


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("Text too long", None),
        ("Too many characters.", None),
        ("Exceeds the character limit", None),
        ("text: must be at most 2,000 characters for this voice engine", 2000),
        ("The maximum is 600 characters.", 600),
        ("Limited to 500 characters", 500),
    ],
)
def test_a_final_refusal_for_the_texts_length_says_so_and_keeps_its_facts(message: str, limit: int | None) -> None:
    told = told_too_long(rejected(), message)

    assert isinstance(told, VendorTextTooLong)
    assert (told.limit, told.detail) == (limit, "No.")
    assert (told.vendor, told.vendor_status, told.vendor_code, told.request_id) == ("acme", 400, "c-1", "r-1")


@pytest.mark.parametrize("message", [None, "", "Voice not found", "characters", "Rate limit exceeded", "Not at most"])
def test_any_other_refusal_stays_what_it_is(message: str | None) -> None:
    refused = rejected()

    assert told_too_long(refused, message) is refused


@pytest.mark.parametrize("kind", [VendorThrottled, VendorQuotaExhausted, VendorUnavailable])
def test_what_may_pass_is_not_cut_in_pieces(kind: type[VendorError]) -> None:
    refused = rejected(kind)

    assert told_too_long(refused, "You have reached your character limit") is refused
