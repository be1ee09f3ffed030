"""A problem fits into a row and into an answer, whatever a sender made up."""

import json

from speech.errors import FieldError, InvalidRequest
from speech.problems import problem_from


def test_a10_a_body_with_a_mistake_in_every_field_is_answered_within_bounds() -> None:
    errors = [FieldError("f" * 5_000, "m" * 5_000)] * 300_000

    problem = problem_from(InvalidRequest("d" * 1_000_000, errors=errors))

    assert len(json.dumps(problem)) < 100_000
    assert problem["errors"][0]["field"].startswith("fff")
