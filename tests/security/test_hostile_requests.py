"""Hostile requests through the function itself: each gets an answer that says what is wrong with it."""

import json
from collections import Counter
from io import StringIO
from random import Random

import pytest

from speech.settings import TENANT
from tests.security.conftest import A_WORLD, Costs, all_ends_well, worlds
from tests.support import hostile
from tests.support.answers import check_answer
from tests.support.cloud import Cloud, a_cloud
from tests.support.edge import Edge

SEED = "requests"
ALL_REQUESTS = 8_000


def play(cloud: Cloud, token: str, request: hostile.Request) -> int:
    """Send a request; whatever it leaves behind must be what its answer says."""
    cloud.calls.clear()

    answer = cloud.call("jobs_api", request.event(token))

    status = check_answer(answer)
    written = [call.operation for call in cloud.calls if call.writes]
    if status == 202:
        job_id = json.loads(answer["body"])["id"]
        assert cloud.services.store.get(TENANT, job_id) is not None
        assert answer["headers"]["Location"] == f"/v1/jobs/{job_id}"
    elif status >= 400:
        assert written == [], f"{status}, and yet something was written"
    return status


@pytest.mark.parametrize("world", worlds(ALL_REQUESTS))
def test_a8_a10_t1_whatever_is_asked_gets_an_answer_and_never_a_5xx(
    world: int, costs: Costs, played: Counter[str], log: StringIO
) -> None:
    statuses: Counter[int] = Counter()
    with a_cloud() as cloud:
        cloud.give_vendors_a_voice()
        token = cloud.an_api_key()
        first = world * A_WORLD
        for number in range(first, first + A_WORLD):
            kind, request = hostile.made(hostile.REQUESTS, SEED, number)
            with costs.of(f"{kind} {number}", seconds=3):
                statuses[play(cloud, token, request)] += 1
        all_ends_well(cloud, log, complaint="request failed")

    played.update({str(status): number for status, number in statuses.items()})


@pytest.mark.parametrize("number", range(6))
def test_a10_the_largest_bodies_that_pass_the_gateway_take_a_moment_and_bounded_memory(
    costs: Costs, number: int
) -> None:
    edge = Edge()  # moto copies its whole table for each of the rows that a text of a million characters has
    request = hostile.Request("huge", body=hostile.BODIES["huge"](Random(number)).encode())

    with costs.of(f"huge {number}", seconds=10, megabytes=400):
        answer = edge.call("jobs_api", request.event(edge.an_api_key()))

    assert check_answer(answer) in (202, 400, 413, 422)
    assert len(edge.store.jobs()) == (answer["statusCode"] == 202)
