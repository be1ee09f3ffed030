"""Addresses that vendors report to: who may call back about what is in the address, signed.

A token is checked by arithmetic alone, before anything is read from a table, a bucket or a vendor.
Its bytes: version, key id, expiry (epoch seconds), job id, segment, attempt, tenant, then a MAC of 128 bits.
"""

import base64
import hashlib
import hmac
import re
import struct
from typing import NamedTuple

from speech.errors import CallbackNotAuthentic
from speech.ids import job_id_bytes, job_id_from_bytes
from speech.settings import TENANT, BadSettings

MAX_URL = 200
"""Creatify's limit for a webhook address, in characters."""

MAC_BYTES = 16

_VERSION = 1
_HEAD = struct.Struct(">BBQ16sIH")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)


class CallbackToken(NamedTuple):
    """What a genuine token stands for. `expires_at` is in epoch seconds."""

    tenant: str
    job_id: str
    segment: int
    attempt: int
    expires_at: int


def make_token(key: bytes, *, job_id: str, segment: int, attempt: int, expires_at: int, tenant: str = TENANT) -> str:
    """The same attempt always gets the same token. `expires_at` is in epoch seconds."""
    # The tenant that everybody has is not written out: the address must stay short.
    name = b"" if tenant == TENANT else tenant.encode()
    payload = _HEAD.pack(_VERSION, _key_id(key), expires_at, job_id_bytes(job_id), segment, attempt) + name
    return _encode(payload + _mac(key, payload))


def read_token(key: bytes, token: str, now: int) -> CallbackToken:
    """Raises CallbackNotAuthentic, always the same, unless we made this token and it is still good.

    `now` is in epoch milliseconds.
    """
    raw = _decode(token)
    payload, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    genuine = hmac.compare_digest(mac, _mac(key, payload))
    if not genuine or len(payload) < _HEAD.size:
        raise CallbackNotAuthentic
    version, _, expires_at, job, segment, attempt = _HEAD.unpack(payload[: _HEAD.size])
    if version != _VERSION or now >= expires_at * 1000:
        raise CallbackNotAuthentic
    return CallbackToken(
        tenant=payload[_HEAD.size :].decode() or TENANT,
        job_id=job_id_from_bytes(job),
        segment=segment,
        attempt=attempt,
        expires_at=expires_at,
    )


def callback_url(
    base: str,
    *,
    key: bytes,
    vendor: str,
    job_id: str,
    segment: int,
    attempt: int,
    expires_at: int,
    tenant: str = TENANT,
) -> str:
    """The whole address for one attempt. Raises BadSettings when the base leaves no room for it."""
    token = make_token(key, job_id=job_id, segment=segment, attempt=attempt, expires_at=expires_at, tenant=tenant)
    url = f"{base}/callbacks/{vendor}/{token}"
    if len(url) > MAX_URL:
        raise BadSettings(f"CALLBACK_BASE_URL is too long: a callback address may have {MAX_URL} characters in all.")
    return url


def _mac(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, b"voicedrop callback\0" + payload, "sha256")[:MAC_BYTES]


def _key_id(key: bytes) -> int:
    """Which key signed, so that a next one can be told from this one."""
    return hashlib.sha256(b"voicedrop callback key id\0" + key).digest()[0]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(token: str) -> bytes:
    """The bytes of a token; of anything else, bytes that no key has signed."""
    if not _TOKEN.fullmatch(token) or len(token) % 4 == 1:
        return bytes(MAC_BYTES)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    # Base 64 has spare bits at its end: two spellings of one token would otherwise both be genuine.
    return raw if _encode(raw) == token else bytes(MAC_BYTES)
