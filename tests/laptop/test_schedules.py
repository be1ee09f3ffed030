"""Schedules invoke asynchronously: failures are tried again, and then told to somebody."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any, cast

from local.queues import Sqs
from local.runtime import Pool, Result
from local.schedules import event, invoke_async, run
from local.template import Function, Schedule
from tests.laptop.probe import PROBE, until

SCHEDULE = Schedule(function="probe", arn="arn:aws:events:us-east-1:123456789012:rule", seconds=0.02)


@dataclass
class FakePool:
    function: Function
    failed: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)

    async def invoke(self, payload: bytes) -> Result:
        self.events.append(json.loads(payload))
        return Result(b'{"errorType": "ValueError"}', failed=self.failed)


@dataclass
class FakeSqs:
    sent: list[tuple[str, str]] = field(default_factory=list)

    async def send(self, arn: str, body: str) -> None:
        self.sent.append((arn, body))


def fire(pool: FakePool, sqs: FakeSqs, payload: str = '{"a": 1}') -> None:
    asyncio.run(invoke_async(cast(Pool, pool), cast(Sqs, sqs), payload))


def test_a_schedule_fires_again_and_again() -> None:
    pool = FakePool(PROBE)

    async def main() -> None:
        firing = asyncio.create_task(run(SCHEDULE, cast(Pool, pool), cast(Sqs, FakeSqs())))
        await until(lambda: len(pool.events) >= 3)
        firing.cancel()

    asyncio.run(main())

    assert pool.events[0]["detail-type"] == "Scheduled Event"
    assert pool.events[0]["resources"] == [SCHEDULE.arn]
    assert len({each["id"] for each in pool.events}) == len(pool.events)


def test_a_failed_firing_is_tried_again_and_then_told_to_its_destination() -> None:
    pool = FakePool(replace(PROBE, async_retries=1, on_failure="arn:failures", dead_letters="arn:dead"), failed=True)
    sqs = FakeSqs()

    fire(pool, sqs)

    assert pool.events == [{"a": 1}, {"a": 1}]
    assert sqs.sent[0] == ("arn:dead", '{"a": 1}')
    arn, body = sqs.sent[1]
    assert arn == "arn:failures"
    assert json.loads(body)["requestContext"]["condition"] == "RetriesExhausted"
    assert json.loads(body)["responsePayload"] == {"errorType": "ValueError"}


def test_a_firing_that_works_is_told_to_nobody() -> None:
    pool = FakePool(replace(PROBE, on_failure="arn:failures"))
    sqs = FakeSqs()

    fire(pool, sqs)

    assert len(pool.events) == 1
    assert sqs.sent == []


def test_an_event_names_its_rule_and_no_detail() -> None:
    assert event(SCHEDULE)["detail"] == {}
