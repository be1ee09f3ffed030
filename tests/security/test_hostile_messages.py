"""Hostile messages on the requests queue: each is acknowledged and is one job, or the job it was before."""

import json
from collections import Counter
from io import StringIO
from random import Random

import pytest

from speech.ids import derived_job_id
from speech.jobs import JobStatus
from speech.settings import TENANT
from tests.security.conftest import A_WORLD, Costs, all_ends_well, worlds
from tests.support import hostile
from tests.support.cloud import Cloud, a_cloud, a_record
from tests.support.edge import Edge

SEED = "messages"
ALL_MESSAGES = 6_000
A_BATCH = 10


def play(cloud: Cloud, messages: list[hostile.Message]) -> None:
    """Hand over a batch, of which nothing may come back."""
    cloud.calls.clear()
    records = [a_record(each.body, each.message_id) for each in messages]

    answer = cloud.call("ingest_message", {"Records": records})

    assert answer == {"batchItemFailures": []}, [each.kind for each in messages]


def job_of(cloud: Cloud, message: hostile.Message) -> JobStatus:
    """The state of the job of a message, under its own name or the one that SQS gave it."""
    names = [message.message_id]
    try:
        value = json.loads(message.body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and isinstance(value.get("request_id"), str):
        names.append(value["request_id"])
    found = [cloud.services.store.get(TENANT, derived_job_id(TENANT, "message", name)) for name in names]
    (job,) = {each.id: each for each in found if each is not None}.values()
    if job.status is JobStatus.FAILED:
        assert job.problem is not None
        assert job.problem["code"]
        assert job.problem["detail"]
    return job.status


@pytest.mark.parametrize("world", worlds(ALL_MESSAGES))
def test_a11_a15_whatever_a_message_says_it_is_one_job_that_ends(
    world: int, costs: Costs, played: Counter[str], log: StringIO
) -> None:
    outcomes: Counter[JobStatus] = Counter()
    first = world * A_WORLD
    with a_cloud() as cloud:
        numbers = range(first, first + A_WORLD)
        every = [(number, *hostile.made(hostile.MESSAGES, SEED, number)) for number in numbers]
        messages = [hostile.Message(kind, body, f"message-{number}") for number, kind, body in every]
        for at in range(0, len(messages), A_BATCH):
            batch = messages[at : at + A_BATCH]
            with costs.of(f"{[each.kind for each in batch]} {first + at}", seconds=10):
                play(cloud, batch)
        for message in messages:
            outcomes[job_of(cloud, message)] += 1
        cloud.give_vendors_a_voice()
        all_ends_well(cloud, log, complaint="message failed")

    played.update({f"{status} job": number for status, number in outcomes.items()})


@pytest.mark.parametrize("number", range(6))
def test_a11_a_message_as_large_as_they_come_is_a_job_too(costs: Costs, number: int) -> None:
    edge = Edge()  # moto copies its whole table for each of the rows that a text of a million characters has
    body = hostile.BODIES["huge"](Random(number))

    with costs.of(f"huge {number}", seconds=10, megabytes=400):
        edge.ingest_message(body, "message-1")

    assert edge.only_job()
