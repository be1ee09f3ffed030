"""The queues. They carry ids, and whatever they lose is sent again from the rows.

Messages to a vendor carry their job as the message group, which makes a standard queue fair: SQS hands out those of
jobs that have taken little of the queue's time before those of one that has taken much. No sentence waits for a book.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from speech.aws.faults import translated
from speech.errors import StoreUnavailable
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, Message, StartSegment

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_DELAY_SECONDS = 900
MESSAGES_PER_CALL = 10


class SqsDispatcher:
    """`queue_urls`: a vendor's name, checks, assembly or deliveries → the address of its queue."""

    def __init__(self, client: "SQSClient", queue_urls: Mapping[str, str]) -> None:
        self._client = client
        self._queue_urls = queue_urls

    def start(self, vendor: str, messages: Sequence[StartSegment], *, delay: float = 0) -> None:
        refused = 0
        for first in range(0, len(messages), MESSAGES_PER_CALL):
            refused += self._send_fairly(vendor, messages[first : first + MESSAGES_PER_CALL], delay)
        if refused:
            raise StoreUnavailable(f"{refused} of {len(messages)} messages were not taken by the queue.")

    def check(self, message: CheckSegment, *, delay: float = 0) -> None:
        self._send("checks", message, delay)

    def assemble(self, message: AssembleAudio) -> None:
        self._send("assembly", message)

    def deliver(self, message: DeliverEvent) -> None:
        self._send("deliveries", message)

    def _send(self, queue: str, message: Message, delay: float = 0) -> None:
        with translated():
            self._client.send_message(
                QueueUrl=self._queue_urls[queue], MessageBody=message.to_json(), DelaySeconds=whole_seconds(delay)
            )

    def _send_fairly(self, queue: str, messages: Sequence[Message], delay: float) -> int:
        """At most ten messages in one call, each in the group of its job; returns how many of them were refused."""
        url, seconds = self._queue_urls[queue], whole_seconds(delay)
        if len(messages) == 1:
            (only,) = messages
            with translated():
                self._client.send_message(
                    QueueUrl=url, MessageBody=only.to_json(), DelaySeconds=seconds, MessageGroupId=only.job_id
                )
            return 0
        with translated():
            answer = self._client.send_message_batch(
                QueueUrl=url,
                Entries=[
                    {
                        "Id": str(position),
                        "MessageBody": message.to_json(),
                        "DelaySeconds": seconds,
                        "MessageGroupId": message.job_id,
                    }
                    for position, message in enumerate(messages)
                ],
            )
        return len(answer.get("Failed", []))


def whole_seconds(delay: float) -> int:
    """Rounded up, so that nothing arrives before it is wanted, and cut to what a queue can hold back."""
    return min(max(math.ceil(delay), 0), LONGEST_DELAY_SECONDS)
