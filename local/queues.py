"""Poll the queues as Lambda's event source mappings do, and answer for what the function did with each message.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
A message that failed is left alone: it comes back when its visibility timeout ends, and moto moves it to the
dead letters when it has been received too often.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import aiohttp

from local.runtime import CONCURRENCY, Pool
from local.template import ACCOUNT, REGION, QueueSource

LONG_POLL_SECONDS = 20
RECEIVE_LIMIT = 10
"""SQS hands out this many messages at once, at most."""

Message = dict[str, Any]


class SqsError(aiohttp.ClientError):
    """SQS answered with an error."""


class Sqs:
    """The three calls a poller makes, in the JSON protocol of SQS. moto accepts any signature."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str) -> None:
        self._session = session
        self._endpoint = endpoint

    def url(self, arn: str) -> str:
        return f"{self._endpoint}/{ACCOUNT}/{arn.rpartition(':')[2]}"

    async def receive(self, arn: str, count: int, wait: int) -> list[Message]:
        answer = await self._call(
            "ReceiveMessage",
            QueueUrl=self.url(arn),
            MaxNumberOfMessages=min(count, RECEIVE_LIMIT),
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[Message] = answer.get("Messages", [])
        return messages

    async def delete(self, arn: str, messages: Sequence[Message]) -> None:
        for first in range(0, len(messages), RECEIVE_LIMIT):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages[first : first + RECEIVE_LIMIT])
            ]
            await self._call("DeleteMessageBatch", QueueUrl=self.url(arn), Entries=entries)

    async def send(self, arn: str, body: str) -> None:
        await self._call("SendMessage", QueueUrl=self.url(arn), MessageBody=body)

    async def _call(self, action: str, **parameters: Any) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20200101/{REGION}/sqs/aws4_request",
        }
        async with self._session.post(self._endpoint, json=parameters, headers=headers) as answer:
            if answer.status != 200:
                raise SqsError(f"{action} was answered with {answer.status}: {(await answer.text())[:200]}")
            body: dict[str, Any] = await answer.json(content_type=None)
            return body


class Poller:
    """One event source mapping."""

    def __init__(self, source: QueueSource, pool: Pool, sqs: Sqs) -> None:
        self._source = source
        self._pool = pool
        self._sqs = sqs
        self._slots = asyncio.Semaphore(source.concurrency or CONCURRENCY)

    async def run(self) -> None:
        """Poll until cancelled. A message is received only when there is an invocation free to take it."""
        async with asyncio.TaskGroup() as batches:
            while True:
                await self._slots.acquire()
                try:
                    messages = await self._gather()
                except (aiohttp.ClientError, TimeoutError) as error:  # if moto is gone for good, the stack notices
                    print(f"Polling {self._source.queue_arn}: {error!r}", file=sys.stderr)
                    messages = []
                    await asyncio.sleep(0.5)
                if messages:
                    batches.create_task(self._handle(messages)).add_done_callback(lambda _: self._slots.release())
                else:
                    self._slots.release()

    async def _gather(self) -> list[Message]:
        """A batch: what is there, and with a window what comes until it closes or the batch is full."""
        source = self._source
        messages = await self._sqs.receive(source.queue_arn, source.batch_size, LONG_POLL_SECONDS)
        clock = asyncio.get_running_loop().time
        closes = clock() + source.window
        while messages and len(messages) < source.batch_size and (left := closes - clock()) > 0:
            missing = source.batch_size - len(messages)
            messages += await self._sqs.receive(source.queue_arn, missing, max(1, min(LONG_POLL_SECONDS, round(left))))
        return messages

    async def _handle(self, messages: list[Message]) -> None:
        event = {"Records": [record(message, self._source.queue_arn) for message in messages]}
        result = await self._pool.invoke(json.dumps(event).encode())
        if result.failed:
            return
        failed = failed_items(result.payload, messages) if self._source.partial_failures else set()
        done = [message for message in messages if message["MessageId"] not in failed]
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # not deleted is delivered again
            await self._sqs.delete(self._source.queue_arn, done)


def record(message: Message, arn: str) -> dict[str, Any]:
    """A message as a function sees it. https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
    names = {
        "StringValue": "stringValue",
        "BinaryValue": "binaryValue",
        "DataType": "dataType",
    }
    attributes = {
        name: {names[key]: value for key, value in attribute.items() if key in names}
        | {"stringListValues": [], "binaryListValues": []}
        for name, attribute in message.get("MessageAttributes", {}).items()
    }
    digest = {"md5OfMessageAttributes": message["MD5OfMessageAttributes"]} if attributes else {}
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        **digest,
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    }


def failed_items(payload: bytes, messages: Sequence[Message]) -> set[str]:
    """Which messages the function reported. An answer that Lambda would not understand fails all of them."""
    everything = {message["MessageId"] for message in messages}
    try:
        answer = json.loads(payload)
        failures = (answer or {}).get("batchItemFailures") or []
        reported = {each["itemIdentifier"] for each in failures}
        understood = reported <= everything
    except (ValueError, TypeError, KeyError, AttributeError):
        understood = False
    return reported if understood else everything
