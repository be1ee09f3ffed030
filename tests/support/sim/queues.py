"""SQS as AWS plays it: visibility, receive counts, dead letters, batches, and all that its promises allow."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.template import REGION, QueueSource, Template
from tests.support.sim.machine import Killed, Machine, Worker

LONGEST_DELAY = 900.0
MOST_BYTES = 8 * 1024
"""Ours carry ids only."""


@dataclass(eq=False)
class Letter:
    """A message. A copy of it has the same id: SQS delivers at least once."""

    id: str
    body: str
    visible_at: float
    receives: int = 0

    @property
    def label(self) -> str:
        return f"{self.id}.{self.receives}"


@dataclass(eq=False)
class Queue:
    name: str
    url: str
    arn: str
    visibility: float
    max_receives: int | None
    dead_letters: str | None
    letters: list[Letter] = field(default_factory=list)


def queues_of(template: Template) -> dict[str, Queue]:
    """The queues of the template, by URL."""
    queues = {}
    for logical_id, properties in template.resources("AWS::SQS::Queue"):
        names = template._resolver.known[logical_id]
        redrive = properties.get("RedrivePolicy", {})
        queues[names["QueueUrl"]] = Queue(
            name=logical_id.removesuffix("Queue").lower(),
            url=names["QueueUrl"],
            arn=names["Arn"],
            visibility=float(properties.get("VisibilityTimeout", 30)),
            max_receives=int(redrive["maxReceiveCount"]) if redrive else None,
            dead_letters=redrive.get("deadLetterTargetArn"),
        )
    return queues


Invoke = Callable[[str, str, dict[str, Any], Sequence[str]], Worker]
"""Function, a name for the run, event, the bodies it is about → the run."""


class Post:
    """All queues of a world and what polls them. Messages of `inputs` are never lost; SQS itself loses none."""

    def __init__(
        self,
        machine: Machine,
        queues: Mapping[str, Queue],
        sources: Sequence[QueueSource],
        invoke: Invoke,
        *,
        inputs: frozenset[str],
    ) -> None:
        self._machine = machine
        self._by_url = queues
        self._by_arn = {queue.arn: queue for queue in queues.values()}
        self._sources = {source.queue_arn: source for source in sources}
        self._invoke = invoke
        self._inputs = inputs
        self._busy: dict[str, int] = {}
        self._held: dict[Worker, tuple[Queue, list[Letter]]] = {}
        self._sent = 0
        self.bodies: list[str] = []
        self.dead = 0

    # --- What functions and the world send ------------------------------------------------------

    def send(self, url: str, body: str, delay: float = 0.0) -> str:
        """Returns the message's id."""
        queue = self._by_url[url]
        self._sent += 1
        letter_id = f"{queue.name}-{self._sent}"
        self.bodies.append(body)
        kinds = ("twice", "late", "late") if queue.name in self._inputs else ("twice", "late", "lost")
        mishap = self._machine.plan.mishap(f"message to {queue.name}", kinds)
        if mishap == "lost":
            self._machine.note(f"  {letter_id} is lost")
            return letter_id
        when = self._machine.clock.now + min(delay, LONGEST_DELAY) + 0.01
        if mishap == "late":
            when += 5.0 + 400.0 * self._machine.plan.share("lateness")
        self._deliver(queue, Letter(letter_id, body, when))
        if mishap == "twice":
            self._deliver(queue, Letter(letter_id, body, when + 90.0 * self._machine.plan.share("copy")))
        return letter_id

    def is_empty(self) -> bool:
        return not any(queue.letters for queue in self._by_url.values())

    def redrive(self, url: str, body: str) -> None:
        """An operator sends a dead message once more: it has a new id."""
        self.send(url, body)

    # --- What polls them ---------------------------------------------------------------------------

    def _deliver(self, queue: Queue, letter: Letter) -> None:
        queue.letters.append(letter)
        self._machine.at(letter.visible_at, lambda: self._poll(queue))

    def _poll(self, queue: Queue) -> None:
        source = self._sources.get(queue.arn)
        if source is None:
            return
        now = self._machine.clock.now
        while self._busy.get(queue.arn, 0) < (source.concurrency or 10):
            batch = self._receive(queue, source.batch_size, now)
            if not batch:
                return
            self._busy[queue.arn] = self._busy.get(queue.arn, 0) + 1
            event = {"Records": [_record(letter, queue) for letter in batch]}
            name = "+".join(letter.label for letter in batch)
            worker = self._invoke(source.function, name, event, [letter.body for letter in batch])
            self._held[worker] = (queue, batch)
            if worker.done:  # it never had to wait
                self.ended(worker)

    def _receive(self, queue: Queue, most: int, now: float) -> list[Letter]:
        batch: list[Letter] = []
        for letter in [each for each in queue.letters if each.visible_at <= now + 1e-6]:
            if len(batch) == most:
                break
            letter.receives += 1
            if queue.max_receives is not None and letter.receives > queue.max_receives:
                self._bury(queue, letter)
                continue
            letter.visible_at = now + queue.visibility
            self._machine.at(letter.visible_at, lambda: self._poll(queue))
            batch.append(letter)
        return batch

    def _bury(self, queue: Queue, letter: Letter) -> None:
        queue.letters.remove(letter)
        self.dead += 1
        self._machine.note(f"  {letter.id} is dead")
        grave = self._by_arn.get(queue.dead_letters or "")
        if grave is None:
            raise AssertionError(f"I15: {letter.id} was given up, and there is no queue for the dead")
        self._deliver(grave, Letter(letter.id, letter.body, self._machine.clock.now))

    def ended(self, worker: Worker) -> None:
        """A function that had messages has ended, well or not."""
        held = self._held.pop(worker, None)
        if held is None:
            return
        queue, batch = held
        self._busy[queue.arn] -= 1
        if worker.error is None:
            failed = {each["itemIdentifier"] for each in (worker.answer or {}).get("batchItemFailures", [])}
            if not failed <= {letter.id for letter in batch}:
                raise AssertionError("A15: a function reported messages that it was not given")
            kept = self._machine.plan.mishap(f"message deleted from {queue.name}", ("undeleted",)) is not None
            for letter in batch:
                if letter.id not in failed and not kept and letter in queue.letters:
                    queue.letters.remove(letter)
        elif not isinstance(worker.error, Killed | Exception):
            raise worker.error
        self._poll(queue)


def _record(letter: Letter, queue: Queue) -> dict[str, Any]:
    return {
        "messageId": letter.id,
        "receiptHandle": f"{letter.label}-receipt",
        "body": letter.body,
        "attributes": {
            "ApproximateReceiveCount": str(letter.receives),
            "SentTimestamp": "1795165200123",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1795165200129",
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(letter.body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": REGION,
    }
