"""Callback addresses: short, signed, and worthless to whoever forges them (D5 to D9, T5)."""

import base64
import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.callbacks import CallbackToken, callback_url, make_token, read_token
from speech.errors import CallbackNotAuthentic, PayloadTooLarge, StoreUnavailable
from speech.ids import new_job_id
from speech.messages import CheckSegment
from speech.settings import BadSettings
from tests.fakes import JOB_ID, NOW
from tests.support.edge import Edge, event

KEY = b"0123456789abcdef" * 2
EXPIRES = NOW // 1000 + 3_600
LONGEST_GATEWAY = "https://abcdefghij.execute-api.ap-southeast-7.amazonaws.com"
LONGEST_CHINESE_GATEWAY = "https://abcdefghij.execute-api.cn-northwest-1.amazonaws.com.cn"


def a_token(**changes: object) -> str:
    facts = {"job_id": JOB_ID, "segment": 3, "attempt": 2, "expires_at": EXPIRES} | changes
    return make_token(KEY, **facts)  # type: ignore[arg-type]  # each test changes what it is about


def test_a_token_says_which_attempt_of_which_segment_it_is_about() -> None:
    token = a_token()

    assert read_token(KEY, token, NOW) == CallbackToken("default", JOB_ID, 3, 2, EXPIRES)
    assert a_token() == token


def test_a_token_of_another_tenant_names_it() -> None:
    assert read_token(KEY, a_token(tenant="acme"), NOW).tenant == "acme"


@pytest.mark.parametrize(
    "base", [LONGEST_GATEWAY, LONGEST_CHINESE_GATEWAY, "https://callbacks.speech.example-media.com"]
)
def test_the_whole_address_fits_into_200_characters_in_every_region(base: str) -> None:
    """T5"""
    url = callback_url(
        base, key=KEY, vendor="creatify", job_id=new_job_id(NOW), segment=999_999, attempt=99, expires_at=2**34
    )

    assert url.startswith(f"{base}/callbacks/creatify/")
    assert len(url) <= 160  # the rest is for whoever has a longer name
    assert url.isascii()


def test_a_base_that_leaves_no_room_is_a_fault_of_the_settings_and_not_a_silent_one() -> None:
    """T5"""
    with pytest.raises(BadSettings, match="CALLBACK_BASE_URL"):
        callback_url(
            f"https://{'x' * 200}", key=KEY, vendor="creatify", job_id=JOB_ID, segment=0, attempt=1, expires_at=EXPIRES
        )


def test_a_token_is_good_until_it_expires() -> None:
    """T19"""
    token = a_token()

    assert read_token(KEY, token, EXPIRES * 1000 - 1)
    with pytest.raises(CallbackNotAuthentic):
        read_token(KEY, token, EXPIRES * 1000)


def test_a_token_of_another_key_is_refused() -> None:
    """D5"""
    with pytest.raises(CallbackNotAuthentic):
        read_token(b"another key" * 3, a_token(), NOW)


def test_ten_thousand_forgeries_are_refused_before_anything_is_touched(edge: Edge) -> None:
    """T5, T18, D5"""
    rng = random.Random(4711)
    genuine = a_token()
    letters = string.ascii_letters + string.digits + "-_"

    for number in range(10_000):
        if number % 2:
            forged = "".join(rng.choices(letters, k=rng.randrange(0, 120)))
        else:
            at = rng.randrange(len(genuine))
            forged = genuine[:at] + rng.choice(letters.replace(genuine[at], "")) + genuine[at + 1 :]
        with pytest.raises(CallbackNotAuthentic):
            edge.vendor_callback(forged, {}, lambda: pytest.fail("the body was read"))

    assert edge.store.calls == []
    assert edge.dispatcher.calls == []


@given(st.integers(0, 59), st.integers(1, 255))
def test_no_bit_of_a_token_may_differ(at: int, mask: int) -> None:
    """D5"""
    raw = bytearray(base64.urlsafe_b64decode(a_token() + "=="))
    raw[at % len(raw)] ^= mask

    with pytest.raises(CallbackNotAuthentic):
        read_token(KEY, base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode(), NOW)


@given(st.text(max_size=250))
def test_any_text_in_place_of_a_token_is_refused_alike(token: str) -> None:
    """D5"""
    with pytest.raises(CallbackNotAuthentic) as refused:
        read_token(KEY, token, NOW)

    assert refused.value.detail == CallbackNotAuthentic().detail


def test_a_second_spelling_of_a_genuine_token_is_refused() -> None:
    """D5"""
    token = a_token()
    last = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    sibling = token[:-1] + last[last.index(token[-1]) ^ 1]
    same_bytes = [token + "=", token + "A", token + "\n", f" {token}"]
    if base64.urlsafe_b64decode(sibling + "==") == base64.urlsafe_b64decode(token + "=="):
        same_bytes.append(sibling)

    for spelling in same_bytes:
        with pytest.raises(CallbackNotAuthentic):
            read_token(KEY, spelling, NOW)


def a_callback(token: str, **changes: object) -> dict[str, object]:
    return event("creatify_callback") | {"pathParameters": {"token": token}} | changes


def test_a_genuine_callback_makes_the_check_happen_now(edge: Edge) -> None:
    """D1"""
    answer = edge.call("vendor_callback", a_callback(a_token()))

    assert (answer["statusCode"], answer["body"]) == (204, "")
    assert edge.dispatcher.on("checks") == [
        CheckSegment("default", JOB_ID, segment=3, attempt=2, hint="3fa85f64-5717-4562-b3fc-2c963f66afa6")
    ]
    assert edge.dispatcher.sent[0].delay == 0
    assert edge.store.calls == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        '{"id": 5}',
        '{"id": null, "status": "dancing"}',
        '{"status": "done", "video_output": "http://169.254.169.254/"}',
        "id=x&status=done",
        "<xml/>",
        "\u0000\ud800",
        json.dumps({"id": "x" * 9_000}),
        json.dumps({"id": "a\nb"}),
        "[" * 30_000,
        "9" * 10_000,
    ],
)
def test_a_genuine_token_with_a_strange_body_is_still_a_reason_to_check(edge: Edge, body: str) -> None:
    """D6, D8"""
    answer = edge.call("vendor_callback", a_callback(a_token(), body=body))

    assert answer["statusCode"] == 204
    [message] = edge.dispatcher.on("checks")
    assert isinstance(message, CheckSegment)
    assert message.hint in (None, "x")


def test_a_body_that_is_not_really_base_64_is_no_harm(edge: Edge) -> None:
    """D8"""
    answer = edge.call("vendor_callback", a_callback(a_token(), body="%%%", isBase64Encoded=True))

    assert answer["statusCode"] == 204


def test_a_huge_body_is_refused_but_only_with_a_genuine_token(edge: Edge) -> None:
    """D8"""
    huge = "x" * (64 * 1024 + 1)

    genuine = edge.call("vendor_callback", a_callback(a_token(), body=huge))
    forged = edge.call("vendor_callback", a_callback("AAAA", body=huge))

    assert (genuine["statusCode"], forged["statusCode"]) == (413, 404)
    assert edge.dispatcher.sent == []
    with pytest.raises(PayloadTooLarge):
        edge.vendor_callback(a_token(), {}, huge.encode)


def test_every_callback_that_is_not_genuine_gets_the_same_404(edge: Edge) -> None:
    """D5, D7"""
    expired = a_token(expires_at=NOW // 1000)
    others = make_token(b"x" * 32, job_id=JOB_ID, segment=3, attempt=2, expires_at=EXPIRES)
    answers = [
        edge.call("vendor_callback", a_callback(token))
        for token in (expired, others, "", "x", a_token()[:-1], "é" * 50)
    ]
    answers.append(edge.call("vendor_callback", event("creatify_callback")))
    answers.append(edge.call("vendor_callback", a_callback("x") | {"pathParameters": None}))

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["statusCode"] == 404
    assert json.loads(answers[0]["body"])["code"] == "not-found"


def test_a_queue_that_is_down_asks_the_vendor_to_come_again(edge: Edge) -> None:
    """D9"""
    edge.dispatcher.failing = StoreUnavailable("The queue is busy.")

    answer = edge.call("vendor_callback", a_callback(a_token()))

    assert answer["statusCode"] == 503
    assert "Retry-After" in answer["headers"]


def test_e7_a_callback_that_was_signed_before_the_key_was_rotated_is_genuine(edge: Edge) -> None:
    token = a_token()
    edge.keys.rotate(b"fedcba9876543210" * 2)

    edge.vendor_callback(token, {}, lambda: b"")

    assert edge.dispatcher.on("checks") == [CheckSegment("default", JOB_ID, 3, 2)]
    edge.keys.rotate(b"0000000000000000" * 2)
    with pytest.raises(CallbackNotAuthentic):
        edge.vendor_callback(token, {}, lambda: b"")
