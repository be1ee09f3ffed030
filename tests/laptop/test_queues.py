"""Queues are polled, and messages answered for, as by Lambda's event source mappings."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
import boto3
import pytest

from local.queues import Poller, Sqs, failed_items, record
from local.runtime import Pool, Result
from local.template import QueueSource

Handler = Callable[[dict[str, Any]], Awaitable[Any]]


@dataclass
class FakePool:
    """Takes events as a pool does and lets the test be the function."""

    handler: Handler
    batches: list[list[str]] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def invoke(self, event: bytes) -> Result:
        records = json.loads(event)["Records"]
        self.batches.append([each["body"] for each in records])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return Result(json.dumps(await self.handler({"Records": records})).encode())
        except ValueError as error:
            return Result(json.dumps({"errorMessage": str(error)}).encode(), failed=True)
        finally:
            self.running -= 1

    @property
    def bodies(self) -> list[str]:
        return [body for batch in self.batches for body in batch]


@dataclass
class Queue:
    """A queue with dead letters, in moto."""

    client: Any
    url: str
    arn: str
    dead_url: str

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def left(self) -> int:
        """How many messages there are, visible or not."""
        attributes = self.client.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return sum(int(value) for value in attributes.values())

    def dead(self) -> list[str]:
        answer = self.client.receive_message(QueueUrl=self.dead_url, MaxNumberOfMessages=10)
        return [each["Body"] for each in answer.get("Messages", [])]


@pytest.fixture
def queue(moto: str) -> Queue:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    client = session.client("sqs", endpoint_url=moto)
    name = f"q-{uuid.uuid4()}"
    dead_url = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    dead_arn = client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url = client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1", "RedrivePolicy": redrive})[
        "QueueUrl"
    ]
    return Queue(client, url, f"arn:aws:sqs:us-east-1:123456789012:{name}", dead_url)


def poll(
    moto: str, queue: Queue, handler: Handler, until: Callable[[FakePool], bool], *, seconds: float = 30, **source: Any
) -> FakePool:
    """Poll until what is awaited has come."""
    pool = FakePool(handler)
    settings = {"batch_size": 1, "window": 0.0, "partial_failures": True, "concurrency": 2, **source}

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            poller = Poller(
                QueueSource(function="probe", queue_arn=queue.arn, **settings), cast(Pool, pool), Sqs(session, moto)
            )
            polling = asyncio.create_task(poller.run())
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(until, pool):
                    assert not polling.done(), polling.exception()
                    await asyncio.sleep(0.02)
            polling.cancel()

    asyncio.run(main())
    return pool


async def succeed(event: dict[str, Any]) -> None:
    return None


def test_a_message_that_was_worked_on_is_gone(moto: str, queue: Queue) -> None:
    queue.send("one")

    pool = poll(moto, queue, succeed, lambda pool: bool(pool.bodies) and queue.left() == 0)

    assert pool.bodies == ["one"]


def test_only_the_reported_message_of_a_batch_returns(moto: str, queue: Queue) -> None:
    async def report_poison_once(event: dict[str, Any]) -> Any:
        poison = [each for each in event["Records"] if each["body"] == "poison"]
        first = [each for each in poison if each["attributes"]["ApproximateReceiveCount"] == "1"]
        return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in first]}

    queue.send("good", "poison", "fine")
    pool = poll(
        moto,
        queue,
        report_poison_once,
        lambda pool: pool.bodies.count("poison") == 2 and queue.left() == 0,
        batch_size=10,
        concurrency=2,
    )

    assert pool.bodies.count("good") == pool.bodies.count("fine") == 1


def test_without_partial_failures_the_answer_does_not_matter(moto: str, queue: Queue) -> None:
    async def report_all(event: dict[str, Any]) -> Any:
        return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in event["Records"]]}

    queue.send("one")
    pool = poll(
        moto,
        queue,
        report_all,
        lambda pool: bool(pool.bodies) and queue.left() == 0,
        partial_failures=False,
    )

    assert pool.bodies == ["one"]


def test_a_failed_message_returns_after_its_visibility_and_dies_after_its_last_receive(moto: str, queue: Queue) -> None:
    times: list[float] = []

    async def fail(event: dict[str, Any]) -> None:
        times.append(asyncio.get_running_loop().time())
        raise ValueError("always")

    queue.send("cursed")
    dead: list[str] = []

    def died(_: FakePool) -> bool:
        dead.extend(queue.dead())
        return bool(dead)

    pool = poll(moto, queue, fail, died)

    assert dead == ["cursed"]
    assert pool.bodies == ["cursed", "cursed"]
    assert times[1] - times[0] >= 0.9


def test_no_more_invocations_run_than_the_source_allows(moto: str, queue: Queue) -> None:
    async def work(event: dict[str, Any]) -> None:
        await asyncio.sleep(0.1)

    queue.send(*map(str, range(6)))
    pool = poll(moto, queue, work, lambda pool: len(pool.bodies) >= 6 and queue.left() == 0, concurrency=2)

    assert sorted(set(pool.bodies)) == list("012345")
    assert pool.most == 2


def test_a_queue_whose_messages_have_groups_is_shared_between_them(moto: str, queue: Queue) -> None:
    for number in range(8):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=f"book {number}", MessageGroupId="book")
    queue.client.send_message(QueueUrl=queue.url, MessageBody="a sentence", MessageGroupId="sentence")

    first, second, third = (
        queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=1)["Messages"][0]["Body"] for _ in range(3)
    )

    assert [first, second, third] == ["book 0", "a sentence", "book 1"]


def test_a_window_gathers_what_comes_until_the_batch_is_full(moto: str, queue: Queue) -> None:
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "30"})
    queue.send("one")
    queue.client.send_message(QueueUrl=queue.url, MessageBody="two", DelaySeconds=1)
    pool = poll(moto, queue, succeed, lambda pool: bool(pool.batches), batch_size=2, window=5.0)

    assert pool.batches == [["one", "two"]]


def test_a_record_has_the_shape_that_functions_know(moto: str, queue: Queue) -> None:
    seen: list[dict[str, Any]] = []

    async def keep(event: dict[str, Any]) -> None:
        seen.extend(event["Records"])

    queue.client.send_message(
        QueueUrl=queue.url,
        MessageBody="hello",
        MessageAttributes={"colour": {"DataType": "String", "StringValue": "blue"}},
    )
    poll(moto, queue, keep, lambda pool: bool(seen))

    (each,) = seen
    assert set(each) == {
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfBody",
        "md5OfMessageAttributes",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    }
    assert set(each["attributes"]) >= {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    }
    assert each["messageAttributes"]["colour"] == {
        "dataType": "String",
        "stringValue": "blue",
        "stringListValues": [],
        "binaryListValues": [],
    }
    assert each["eventSourceARN"] == queue.arn


@pytest.mark.parametrize("payload", [b"null", b"{}", b'{"batchItemFailures": []}', b'{"batchItemFailures": null}'])
def test_an_answer_without_failures_is_success(payload: bytes) -> None:
    assert failed_items(payload, [{"MessageId": "a"}]) == set()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b'"text"',
        b"[1]",
        b'{"batchItemFailures": [{"itemIdentifier": ""}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "b"}]}',
        b'{"batchItemFailures": [{"id": "a"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": ["a"]}]}',
    ],
)
def test_an_answer_that_lambda_would_not_understand_fails_the_batch(payload: bytes) -> None:
    assert failed_items(payload, [{"MessageId": "a"}]) == {"a"}


def test_a_message_without_attributes_has_no_digest_of_them() -> None:
    message = {"MessageId": "a", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "m"}

    assert record(message, "arn")["messageAttributes"] == {}
    assert "md5OfMessageAttributes" not in record(message, "arn")
