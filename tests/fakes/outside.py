"""Queues, secrets, event bus and customer webhooks in memory: what was sent is there to be read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, Message, StartSegment
from speech.policy import Policy
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Faulty


@dataclass(frozen=True, slots=True)
class Sent:
    """A message on a queue. `queue` is a vendor's name, checks, assembly or deliveries; `delay` is in seconds."""

    queue: str
    message: Message
    delay: float = 0


class FakeDispatcher(Faulty):
    """Set `failing` to an error to make every send raise it, or use `fail_next` for a single one."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.failing: Exception | None = None

    def on(self, queue: str) -> list[Message]:
        """The messages of one queue, in the order they were sent."""
        return [each.message for each in self.sent if each.queue == queue]

    def take(self) -> list[Sent]:
        """Empty the queues and return what was on them."""
        with self._lock:
            taken, self.sent = self.sent, []
            return taken

    def _send(self, method: str, queue: str, messages: Sequence[Message], delay: float) -> None:
        with self._call(method):
            if self.failing is not None:
                raise self.failing
            for message in messages:
                message.to_json()
                self.sent.append(Sent(queue, message, min(max(delay, 0), 900)))

    def start(self, vendor: str, messages: Sequence[StartSegment], *, delay: float = 0) -> None:
        self._send("start", vendor, messages, delay)

    def check(self, message: CheckSegment, *, delay: float = 0) -> None:
        self._send("check", "checks", [message], delay)

    def assemble(self, message: AssembleAudio) -> None:
        self._send("assemble", "assembly", [message], 0)

    def deliver(self, message: DeliverEvent) -> None:
        self._send("deliver", "deliveries", [message], 0)


class FakeCache(Faulty):
    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__()
        self._clock = clock or FakeClock()
        self._kept: dict[tuple[str, str], tuple[bytes, int]] = {}

    def recall(self, tenant: str, name: str) -> bytes | None:
        with self._call("recall"):
            data, until = self._kept.get((tenant, name), (b"", 0))
            return data if self._clock.now() < until else None

    def remember(self, tenant: str, name: str, data: bytes, *, seconds: int) -> None:
        with self._call("remember"):
            if len(data) <= 900_000:
                self._kept[tenant, name] = (data, (self._clock.now() // 1000 + seconds) * 1000)


class FakePolicies(Faulty):
    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__()
        self._policy = policy or Policy()

    def policy(self) -> Policy:
        with self._call("policy"):
            return self._policy

    def put(self, policy: Policy) -> None:
        with self._call("put"):
            self._policy = policy


class FakeKeys(Faulty):
    """`freshened` counts the reads past the cache. `rotate` replaces the signing key."""

    def __init__(self, vendor: Mapping[str, str] | None = None, signing: bytes = b"0123456789abcdef" * 2) -> None:
        super().__init__()
        self.previous: bytes | None = None
        self.vendor = dict(vendor or {})
        self.signing = signing
        self.freshened = 0

    def vendor_keys(self, *, fresh: bool = False) -> Mapping[str, str]:
        with self._call("vendor_keys"):
            self.freshened += fresh
            return dict(self.vendor)

    def signing_key(self) -> bytes:
        with self._call("signing_key"):
            return self.signing

    def signing_keys(self) -> Iterator[bytes]:
        yield self.signing_key()
        if self.previous is not None:
            yield self.previous

    def rotate(self, signing: bytes) -> None:
        self.previous, self.signing = self.signing, signing


class FakeEventBus(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[str, Mapping[str, Any]]] = []

    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        with self._call("publish"):
            self.published.append((detail_type, detail))


@dataclass(frozen=True, slots=True)
class SentWebhook:
    url: str
    headers: Mapping[str, str]
    body: bytes


class FakeWebhookSender(Faulty):
    """Answers with the statuses of `answers` in turn, then with 200."""

    def __init__(self, *answers: int) -> None:
        super().__init__()
        self.answers = list(answers)
        self.sent: list[SentWebhook] = []

    def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> int:
        with self._call("send"):
            self.sent.append(SentWebhook(url, dict(headers), body))
            return self.answers.pop(0) if self.answers else 200
