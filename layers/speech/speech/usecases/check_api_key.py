"""Find out whose API key a request carries, and whether that key may do what is asked."""

from dataclasses import dataclass, field

from speech.apikeys import check_key, key_id_of
from speech.errors import Forbidden, Unauthenticated
from speech.ports import ApiKeyRecord, Clock, JobStore, Keys
from speech.settings import TENANT

CACHE_MS = 60_000
MAX_CACHED = 1_000


@dataclass(frozen=True, slots=True)
class CheckApiKey:
    store: JobStore
    keys: Keys
    clock: Clock
    _cache: dict[str, tuple[int, ApiKeyRecord]] = field(default_factory=dict)

    def __call__(self, authorization: str | None, scope: str) -> ApiKeyRecord:
        """The key of an Authorization header. Raises Unauthenticated, the same for every fault, or Forbidden."""
        kind, _, token = (authorization or "").partition(" ")
        token = token.strip()
        key_id = key_id_of(token) if kind.lower() == "bearer" else None
        record = self._record(key_id) if key_id else None
        if not any(check_key(token, record, key) for key in self.keys.signing_keys()) or record is None:
            raise Unauthenticated("Send the header `Authorization: Bearer <API key>` with a key of this stack.")
        if scope not in record.scopes:
            raise Forbidden(f"This API key does not have the scope {scope}.")
        return record

    def _record(self, key_id: str) -> ApiKeyRecord | None:
        """Read at most once a minute: for so long a key that was taken away may still work."""
        now = self.clock.now()
        read_at, known = self._cache.get(key_id, (0, None))
        if known is not None and 0 <= now - read_at < CACHE_MS:
            return known
        record = self.store.api_key(TENANT, key_id)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        if record is not None:
            self._cache[key_id] = now, record
        return record
