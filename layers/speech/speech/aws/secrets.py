"""Vendor keys and the signing key, read when needed and kept for a few minutes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from speech.aws.clock import SystemClock
from speech.aws.faults import code_of, translated
from speech.errors import StoreUnavailable
from speech.ports import Clock
from speech.settings import BadSettings

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

MAX_AGE_MS = 300_000
FRESH_AGE_MS = 5_000
"""A read past the cache is not repeated sooner: a vendor that refuses our key must not become a storm here."""

CURRENT = "AWSCURRENT"
PREVIOUS = "AWSPREVIOUS"
"""What Secrets Manager calls the value of a secret, and the one that it had before."""

GRACE_MS = 3_600_000
"""How old the last good value may grow while the store is down."""


@dataclass(frozen=True, slots=True)
class _Cached:
    value: str
    read_at: int
    tried_at: int


class SecretsKeys:
    """Ages go by the wall clock: a restored environment has a new one, and its monotonic clock does not."""

    def __init__(
        self, client: "SecretsManagerClient", *, vendor_secret: str, signing_secret: str, clock: Clock | None = None
    ) -> None:
        """The secrets by ARN or name."""
        self._client = client
        self._vendor_secret = vendor_secret
        self._signing_secret = signing_secret
        self._clock = clock or SystemClock()
        self._cache: dict[tuple[str, str], _Cached] = {}
        self._lock = Lock()

    def vendor_keys(self, *, fresh: bool = False) -> Mapping[str, str]:
        return _names_and_keys(self._read(self._vendor_secret, FRESH_AGE_MS if fresh else MAX_AGE_MS))

    def signing_key(self) -> bytes:
        return self._read(self._signing_secret, MAX_AGE_MS).encode()

    def signing_keys(self) -> Iterator[bytes]:
        yield self.signing_key()
        # Who sends something that is not genuine must not learn from the answer how the secret store is doing.
        try:
            previous = self._read(self._signing_secret, MAX_AGE_MS, PREVIOUS)
        except (StoreUnavailable, ClientError):
            previous = ""
            # Nor must a flood of such become a flood of reads: it is not tried again at once.
            self._cache[self._signing_secret, PREVIOUS] = _Cached("", read_at=0, tried_at=self._clock.now())
        if previous:
            yield previous.encode()

    def _read(self, secret: str, max_age: int, stage: str = CURRENT) -> str:
        with self._lock:
            now = self._clock.now()
            cached = self._cache.get((secret, stage))
            if cached is not None and (
                0 <= now - cached.read_at < max_age or 0 <= now - cached.tried_at < FRESH_AGE_MS
            ):
                return cached.value
            try:
                value = self._fetch(secret, stage)
            except (StoreUnavailable, ClientError, BadSettings):
                if cached is None or not 0 <= now - cached.read_at < GRACE_MS:
                    raise
                self._cache[secret, stage] = replace(cached, tried_at=now)
                return cached.value
            self._cache[secret, stage] = _Cached(value, read_at=now, tried_at=now)
            return value

    def _fetch(self, secret: str, stage: str) -> str:
        if stage == PREVIOUS:
            return self._fetch_previous(secret)
        with translated():
            value = self._client.get_secret_value(SecretId=secret).get("SecretString", "")
        if secret == self._vendor_secret:
            _names_and_keys(value)
        elif not value:
            raise BadSettings("The signing secret is empty.")
        return value

    def _fetch_previous(self, secret: str) -> str:
        """Empty for a secret that was never rotated."""
        try:
            with translated():
                return self._client.get_secret_value(SecretId=secret, VersionStage=PREVIOUS).get("SecretString", "")
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            return ""


def _names_and_keys(value: str) -> dict[str, str]:
    """The vendor secret as names and keys. Raises BadSettings, which quotes nothing of it."""
    try:
        keys = json.loads(value)
    except ValueError:
        keys = None
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        # Without a cause: a JSON error's document is the secret.
        raise BadSettings("The vendor secret must be a JSON object of strings.")
    return keys
