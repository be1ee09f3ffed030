"""An error as data: the one shape that the API, the job record and `.error.md` share (RFC 9457)."""

from typing import Any

from speech.errors import SpeechError, VendorError

Problem = dict[str, Any]

CONTENT_TYPE = "application/problem+json"


def problem_from(error: SpeechError, *, job_id: str | None = None, instance: str | None = None) -> Problem:
    """Render an error. Keys: type, title, status, detail, instance, code, retryable, vendor, job_id, errors."""
    return {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "retryable": error.retryable,
        "vendor": error.vendor if isinstance(error, VendorError) else None,
        "job_id": job_id,
        "errors": [{"field": each.field, "message": each.message} for each in error.errors],
    }
