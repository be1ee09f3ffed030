"""Make a job of an HTTP request, once for each Idempotency-Key."""

import hashlib
from dataclasses import dataclass

from speech.errors import FieldError
from speech.ids import canonical
from speech.jobs import Source
from speech.usecases.accept_job import API, Accepted, AcceptJob, Arrival

KEY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class PostJob:
    accept: AcceptJob

    def __call__(self, tenant: str, body: object, idempotency_key: str | None) -> Accepted:
        """Raises InvalidRequest and its kin; then there is no job."""
        from speech.requests import JobRequest, Way

        request = JobRequest.parse(body, Way.API)
        key = _checked(idempotency_key)
        arrival = Arrival(
            kind=API,
            source=Source(type=API),
            identity=(key,) if key else (),
            request_id=key,
            digest=hashlib.sha256(canonical(body)).hexdigest() if key else None,
            tenant=tenant,
        )
        return self.accept(arrival, request, request.text or "")


def _checked(key: str | None) -> str | None:
    from speech.requests import MAX_REQUEST_ID, invalid

    if key is None:
        return None
    if not 1 <= len(key) <= MAX_REQUEST_ID or not key.isascii() or not key.isprintable() or not key.strip():
        raise invalid([FieldError(KEY_HEADER, f"must be 1 to {MAX_REQUEST_ID} printable ASCII characters")])
    return key
