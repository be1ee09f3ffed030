"""What every answer of the HTTP API must be, whatever was asked."""

import json
from collections.abc import Mapping
from typing import Any

PROBLEM_KEYS = {"type", "title", "status", "detail", "instance", "code", "retryable", "vendor", "job_id", "errors"}


def check_answer(answer: Mapping[str, Any]) -> int:
    """A whole, sound answer that is nobody's fault but the sender's; returns its status."""
    status = answer["statusCode"]
    assert isinstance(status, int)
    assert 200 <= status < 500, answer.get("body")
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    for name, value in headers.items():
        assert isinstance(value, str)
        assert value.isprintable(), name
        assert value.isascii(), name
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["strict-transport-security"].startswith("max-age=")
    assert not any(name.startswith("access-control-") for name in headers)
    body = answer["body"]
    if status >= 400 and body:
        problem = json.loads(body)
        assert set(problem) == PROBLEM_KEYS
        assert problem["status"] == status
        assert headers["content-type"] == "application/problem+json"
        assert len(body) < 100_000
    elif body:
        json.loads(body)
        assert headers["content-type"] == "application/json"
    return status
