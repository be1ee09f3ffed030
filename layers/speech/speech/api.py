"""What the functions behind the HTTP API share: bodies read safely, and every error answered as a problem."""

import base64
import binascii
import json
import math
import traceback
from collections.abc import Mapping
from typing import Any

from speech.errors import NotJson, PayloadTooLarge, SpeechError, UnsupportedMediaType
from speech.observability import count, logger
from speech.problems import CONTENT_TYPE, problem_from

MAX_BODY_BYTES = 4_000_000
RETRY_SECONDS = 2
"""When to come back: for the state of a job, and after a moment in which AWS was busy."""

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=63072000",
}
"""On every answer: what is in it is for one reader at one time."""

NOTHING_HERE = "There is nothing at this address."


def body_bytes(event: Mapping[str, Any]) -> bytes:
    """The request's body as it was sent. Raises NotJson when the gateway's own wrapping is broken."""
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise NotJson("The body could not be decoded from base 64.") from error


def json_body(event: Mapping[str, Any]) -> object:
    """The request's body as JSON. Raises UnsupportedMediaType, PayloadTooLarge or NotJson."""
    from speech.strictjson import strict_json

    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('" ')
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType("Send the header `Content-Type: application/json` and a JSON body in UTF-8.")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("Send the body as it is, without a Content-Encoding.")
    body = body_bytes(event)
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge(f"The body has {len(body):,} bytes; at most {MAX_BODY_BYTES:,} are taken.")
    return strict_json(body)


def refusal(error: SpeechError) -> tuple[int, dict[str, str], str]:
    """An error as status, headers and body."""
    headers = {**HEADERS, "Content-Type": CONTENT_TYPE}
    if error.status == 503:
        headers["Retry-After"] = str(math.ceil(getattr(error, "retry_after", None) or RETRY_SECONDS))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="voicedrop"'
    return error.status, headers, json.dumps(problem_from(error), separators=(",", ":"))


def problem(error: SpeechError) -> dict[str, Any]:
    """An error as a whole answer in the gateway's format 2.0."""
    status, headers, body = refusal(error)
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def done() -> dict[str, Any]:
    """204, in the gateway's format 2.0."""
    return {"statusCode": 204, "headers": dict(HEADERS), "body": "", "isBase64Encoded": False}


def bug(error: Exception) -> SpeechError:
    """An exception nobody foresaw, as an error that says nothing; where it happened goes to the log."""
    # Neither the event nor the exception's own words: either may quote what a client sent.
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("request failed", extra={"error": type(error).__name__, "where": where})
    count("ApiBugs")
    return SpeechError("The request could not be handled. It is safe to send it again.")
