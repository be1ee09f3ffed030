"""An error as data: the one shape that the API, the job record and `.error.md` share (RFC 9457)."""

from typing import Any

from speech.errors import SpeechError, VendorError

Problem = dict[str, Any]

CONTENT_TYPE = "application/problem+json"

MOST_ERRORS = 50
LONGEST_DETAIL = 4_000
LONGEST_FIELD = 200
LONGEST_MESSAGE = 1_000
"""A problem fits into a row and into an answer, however much is wrong with what a sender made up."""


def problem_from(error: SpeechError, *, job_id: str | None = None, instance: str | None = None) -> Problem:
    """Render an error. Keys: type, title, status, detail, instance, code, retryable, vendor, job_id, errors."""
    return {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail[:LONGEST_DETAIL],
        "instance": instance,
        "code": error.code,
        "retryable": error.retryable,
        "vendor": error.vendor if isinstance(error, VendorError) else None,
        "job_id": job_id,
        "errors": [
            {"field": each.field[:LONGEST_FIELD], "message": each.message[:LONGEST_MESSAGE]}
            for each in error.errors[:MOST_ERRORS]
        ],
    }
