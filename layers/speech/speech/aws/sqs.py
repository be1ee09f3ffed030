"""The queues. They carry ids, and whatever they lose is sent again from the rows."""

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
            refused += self._send_some(vendor, messages[first : first + MESSAGES_PER_CALL], delay)
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

    def _send_some(self, queue: str, messages: Sequence[Message], delay: float) -> int:
        """At most ten messages in one call; returns how many of them were refused."""
        if len(messages) == 1:
            self._send(queue, messages[0], delay)
            return 0
        with translated():
            answer = self._client.send_message_batch(
                QueueUrl=self._queue_urls[queue],
                Entries=[
                    {"Id": str(position), "MessageBody": message.to_json(), "DelaySeconds": whole_seconds(delay)}
                    for position, message in enumerate(messages)
                ],
            )
        return len(answer.get("Failed", []))


def whole_seconds(delay: float) -> int:
    """Rounded up, so that nothing arrives before it is wanted, and cut to what a queue can hold back."""
    return min(max(math.ceil(delay), 0), LONGEST_DELAY_SECONDS)
