"""API keys: `tts_<env>_<id>_<secret>`, shown once, kept only as a keyed hash."""

import hmac
import re
import secrets
from collections.abc import Iterable

from speech.ports import ApiKeyRecord
from speech.settings import TENANT

READ = "jobs:read"
WRITE = "jobs:write"
SCOPES = (WRITE, READ)

_TOKEN = re.compile(r"tts_[a-z0-9]{1,16}_([a-z0-9]{16})_[0-9a-f]{64}", re.ASCII)


def new_key(
    *, pepper: bytes, env: str, scopes: Iterable[str] = SCOPES, now: int, tenant: str = TENANT
) -> tuple[str, ApiKeyRecord]:
    """A key to hand out, and what to keep of it. `now` is in epoch milliseconds."""
    name = re.sub(r"[^a-z0-9]", "", env.lower())[:16] or "x"
    key_id = secrets.token_hex(8)
    token = f"tts_{name}_{key_id}_{secrets.token_hex(32)}"
    record = ApiKeyRecord(
        tenant=tenant, key_id=key_id, secret_hash=_hash(pepper, token), scopes=tuple(scopes), created_at=now
    )
    return token, record


def key_id_of(token: str) -> str | None:
    """The public part of a key, or None when it is not one of ours."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match else None


def check_key(token: str, record: ApiKeyRecord | None, pepper: bytes) -> bool:
    """Whether this token is that key, and is not disabled. Takes as long whatever is wrong with it."""
    given = _hash(pepper, token)
    kept = record.secret_hash if record else "0" * len(given)
    same = hmac.compare_digest(given.encode(), kept.encode())
    return same and record is not None and not record.disabled


def _hash(pepper: bytes, token: str) -> str:
    return hmac.digest(pepper, b"voicedrop api key\0" + token.encode("utf-8", "replace"), "sha256").hex()
