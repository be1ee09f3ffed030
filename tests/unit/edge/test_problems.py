"""A problem fits into a row and into an answer, whatever a sender made up."""

import json

from speech.errors import FieldError, InvalidRequest
from speech.problems import problem_from


def test_a10_a_body_with_a_mistake_in_every_field_is_answered_within_bounds() -> None:
    errors = [FieldError("f" * 5_000, "m" * 5_000)] * 300_000

    problem = problem_from(InvalidRequest("d" * 1_000_000, errors=errors))

    assert len(json.dumps(problem)) < 100_000
    assert problem["errors"][0]["field"].startswith("fff")


def test_a10_a11_a_problem_is_as_small_where_it_is_kept_however_it_is_spelled() -> None:
    """A row spells what is not ASCII out: a sign may take twelve bytes there."""
    errors = [FieldError("\U0001f600" * 200, "\U0001f600" * 1_000)] * 50

    problem = problem_from(InvalidRequest("\U0001f600" * 4_000, errors=errors))

    assert len(json.dumps(problem)) < 40_000
    assert problem["errors"]
    assert problem["detail"]
