"""Forged callbacks: the same 404 for all, and no table, bucket, queue, secret or vendor is asked (D5, T5, T18)."""

import base64
import json
import string
from collections.abc import Callable, Mapping
from io import StringIO
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from speech.callbacks import callback_url, make_token
from speech.ids import new_job_id
from speech.settings import TENANT
from tests.fakes import JOB_ID
from tests.support.cloud import SIGNING_SECRET, Cloud
from tests.support.edge import event
from tests.support.prove import proven

KEY = SIGNING_SECRET.encode()
FORGERIES = 10_000
READS_OF_KEYS = ("GetSecretValue", "GetSecretValue")
"""The signing key, and the one before it was replaced: read by the first that needs them, and kept for minutes."""

LETTERS = string.ascii_letters + string.digits + "-_"


def a_genuine_token(rng: Random, **changes: Any) -> str:
    facts: dict[str, Any] = {
        "job_id": new_job_id(rng.randrange(2**47)),
        "segment": rng.randrange(2**20),
        "attempt": rng.randrange(1, 9),
        "expires_at": 2**33,
    }
    return make_token(changes.pop("key", KEY), **{**facts, **changes})


def _raw(token: str) -> bytearray:
    return bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def a_bit_flipped(rng: Random) -> str:
    raw = _raw(a_genuine_token(rng))
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return _written(bytes(raw))


def cut_off(rng: Random) -> str:
    token = a_genuine_token(rng)
    return token[: rng.randrange(len(token))]


def made_longer(rng: Random) -> str:
    raw = bytes(_raw(a_genuine_token(rng)))
    at = rng.randrange(len(raw) + 1)
    return _written(raw[:at] + rng.randbytes(rng.randrange(1, 60)) + raw[at:])


def expired(rng: Random) -> str:
    return a_genuine_token(rng, expires_at=rng.randrange(1, 1_700_000_000))


def of_another_key(rng: Random) -> str:
    return a_genuine_token(rng, key=rng.choice((b"", KEY[:-1], KEY + b"s", rng.randbytes(32))))


def a_splice(rng: Random) -> str:
    """What one token says, under the seal of another: another job, segment, attempt, expiry or tenant."""
    one, other = _raw(a_genuine_token(rng)), _raw(a_genuine_token(rng, tenant="acme"))
    return _written(bytes(one[:-16] + other[-16:]))


def rewritten(rng: Random) -> str:
    """A genuine token of which one field says something else."""
    raw = _raw(a_genuine_token(rng))
    first, last = rng.choice(((0, 1), (1, 2), (2, 10), (10, 26), (26, 30), (30, 32)))
    before = bytes(raw[first:last])
    while bytes(raw[first:last]) == before:
        raw[first:last] = rng.randbytes(last - first)
    return _written(bytes(raw))


def another_spelling(rng: Random) -> str:
    token = a_genuine_token(rng)
    strange = rng.choice(
        ("=", "==", " ", "\n", "\x00", "/", "+", "%41", "é", "A", "//", "/../", "?", "#", ".", "\u200b")
    )
    at = rng.choice((0, len(token), rng.randrange(len(token))))
    return token[:at] + strange + token[at:]


def nonsense(rng: Random) -> str:
    return rng.choice(
        (
            "".join(rng.choices(LETTERS, k=rng.randrange(0, 250))),
            "".join(chr(rng.randrange(1, 0xD800)) for _ in range(rng.randrange(1, 90))),
            rng.choice(("", "../../v1/jobs", "%2e%2e", "null", "0", "x" * 9_000, "' OR 1=1", "\ud800", "{token}")),
            _written(rng.randbytes(rng.choice((0, 15, 16, 17, 47, 48, 49, 64)))),
        )
    )


def of_the_first_bytes_only(rng: Random) -> str:
    """All that can be guessed, and a seal that is zeros, or as good as."""
    payload = bytes(_raw(a_genuine_token(rng)))[:-16]
    return _written(payload + rng.choice((bytes(16), b"\xff" * 16, payload[:16], rng.randbytes(16), b"")))


FORGERS: tuple[Callable[[Random], str], ...] = (
    a_bit_flipped,
    cut_off,
    made_longer,
    expired,
    of_another_key,
    a_splice,
    rewritten,
    another_spelling,
    nonsense,
    of_the_first_bytes_only,
)


def a_callback(token: str, rng: Random) -> dict[str, Any]:
    """A forged callback as the gateway hands it over, with whatever body and headers."""
    body: Any = rng.choice(
        (
            '{"id": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "status": "done", "video_output": "http://169.254.169.254/"}',
            *("", "{", "[" * 5_000, "\x00", "id=x&status=done", "%%%", None),
        )
    )
    changes = {
        "pathParameters": rng.choice(({"token": token}, {"token": token}, {"token": token, "proxy": "x"})),
        "rawPath": f"/callbacks/creatify/{token}",
        "body": body,
        "isBase64Encoded": rng.random() < 0.2,
        "headers": rng.choice((None, {}, {"content-type": "x" * 5_000}, {"content-length": "-1"}, {"x": "\x00"})),
    }
    return {**event("creatify_callback"), **changes}


def operations(cloud: Cloud) -> list[str]:
    return [call.operation for call in cloud.calls]


def test_d5_t5_t18_t19_ten_thousand_forgeries_get_one_answer_and_touch_nothing(cloud: Cloud, log: StringIO) -> None:
    """I10."""
    refused = cloud.call("vendor_callback", a_callback("x", Random(0)))
    assert operations(cloud) == [*READS_OF_KEYS]
    cloud.calls.clear()
    vendors = cloud.services.vendor
    cloud.services.vendor = lambda *_, **__: pytest.fail("a vendor was asked")  # type: ignore[method-assign]  # a trap

    for number in range(FORGERIES):
        rng = Random(f"callback/{number}")
        token = FORGERS[number % len(FORGERS)](rng)
        answer = cloud.call("vendor_callback", a_callback(token, rng))
        assert answer == refused, (number, FORGERS[number % len(FORGERS)].__name__)

    assert cloud.calls == []
    assert refused["statusCode"] == 404
    assert json.loads(refused["body"])["code"] == "not-found"
    assert "Traceback" not in log.getvalue()
    cloud.services.vendor = vendors  # type: ignore[method-assign]  # as it was
    proven("forged-callbacks", forgeries=FORGERIES, answers=1, calls=0)


def test_t18_a_key_that_cannot_be_read_makes_no_flood_of_reads_out_of_a_flood_of_forgeries(cloud: Cloud) -> None:
    tries = []

    def forbid(params: Mapping[str, Any], **_: Any) -> None:
        if b"AWSPREVIOUS" in params["body"]:
            tries.append(1)
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")

    events, name = cloud.clients.secrets.meta.events, "before-call.secretsmanager.GetSecretValue"
    events.register(name, forbid)
    try:
        answers = [cloud.call("vendor_callback", a_callback("x", Random(0))) for _ in range(20)]
    finally:
        events.unregister(name, forbid)

    assert {answer["statusCode"] for answer in answers} == {404}
    assert len(tries) == 1


def test_d5_the_forgers_begin_with_what_is_genuine(cloud: Cloud) -> None:
    """Had they not, their forgeries would prove nothing."""
    answer = cloud.call("vendor_callback", a_callback(a_genuine_token(Random(1)), Random(2)))

    assert answer["statusCode"] == 204
    assert operations(cloud) == ["GetSecretValue", "SendMessage"]


def test_d8_t18_a_body_beyond_64_kb_is_413_with_a_genuine_token_and_404_without(cloud: Cloud) -> None:
    huge = {"body": "x" * (64 * 1024 + 1), "isBase64Encoded": False}

    genuine = cloud.call("vendor_callback", {**a_callback(a_genuine_token(Random(1)), Random(0)), **huge})
    forged = cloud.call("vendor_callback", {**a_callback("x", Random(0)), **huge})

    assert (genuine["statusCode"], forged["statusCode"]) == (413, 404)
    assert operations(cloud) == [*READS_OF_KEYS]


def test_d7_a_genuine_callback_about_a_job_that_is_gone_is_taken_and_makes_no_row(cloud: Cloud) -> None:
    cloud.call("vendor_callback", a_callback(a_genuine_token(Random(1)), Random(0)))

    answer = cloud.call("check_segment", {"Records": cloud.take("checks")})

    assert answer == {"batchItemFailures": []}
    assert cloud.rows() == []


def _regions() -> list[tuple[str, str]]:
    """Every region that the SDK knows, with the suffix of its partition."""
    import boto3

    session = boto3.session.Session()
    return [
        (region, {"aws-cn": "amazonaws.com.cn"}.get(partition, "amazonaws.com"))
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("apigatewayv2", partition_name=partition)
    ]


def test_t5_the_whole_address_has_at_most_200_characters_in_every_region() -> None:
    regions = _regions()
    assert len(regions) > 25
    longest = 0
    for region, suffix in regions:
        url = callback_url(
            f"https://abcdefghij.execute-api.{region}.{suffix}",
            key=KEY,
            vendor="creatify",
            job_id=JOB_ID,
            segment=2**32 - 1,
            attempt=2**16 - 1,
            expires_at=2**64 - 1,
            tenant=TENANT,
        )
        longest = max(longest, len(url))
    assert longest <= 200
