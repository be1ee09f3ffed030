"""An error as data: the one shape that the API, the job record and `.error.md` share (RFC 9457)."""

import json
from collections.abc import Sequence
from typing import Any

from speech.errors import FieldError, SpeechError, VendorError

Problem = dict[str, Any]

CONTENT_TYPE = "application/problem+json"

MOST_ERRORS = 50
LONGEST_DETAIL = 4_000
LONGEST_FIELD = 200
LONGEST_MESSAGE = 1_000
MOST_BYTES = 16_384
"""A problem fits into a row and into an answer, however much is wrong with what a sender made up."""


def problem_from(error: SpeechError, *, job_id: str | None = None, instance: str | None = None) -> Problem:
    """Render an error. Keys: type, title, status, detail, instance, code, retryable, vendor, job_id, errors."""
    return {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": _clipped(error.detail, LONGEST_DETAIL),
        "instance": instance,
        "code": error.code,
        "retryable": error.retryable,
        "vendor": error.vendor if isinstance(error, VendorError) else None,
        "job_id": job_id,
        "errors": _errors(error.errors),
    }


def _errors(found: Sequence[FieldError]) -> list[dict[str, str]]:
    """As many as fit."""
    shown: list[dict[str, str]] = []
    left = MOST_BYTES
    for each in found[:MOST_ERRORS]:
        entry = {"field": each.field[:LONGEST_FIELD], "message": each.message[:LONGEST_MESSAGE]}
        left -= _bytes(entry)
        if left < 0:
            break
        shown.append(entry)
    return shown


def _clipped(text: str, longest: int) -> str:
    text = text[:longest]
    # Where it is kept, what is not ASCII takes six bytes and more.
    return text if _bytes(text) <= MOST_BYTES else text[: MOST_BYTES // 12]


def _bytes(value: object) -> int:
    return len(json.dumps(value))
