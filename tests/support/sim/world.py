"""One simulated world: the deployed functions, AWS, the vendors and the people who want something spoken."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

import pytest
from aws_lambda_powertools.event_handler.api_gateway import BaseRouter

from local.emulators.creatify import Webhook
from speech.aws.dynamo import DynamoJobStore
from speech.errors import StoreUnavailable
from speech.usecases import accept_job
from tests.support.edge import event
from tests.support.sim.aws import Cloud
from tests.support.sim.chance import Chaos, Plan
from tests.support.sim.functions import Fleet
from tests.support.sim.laboratory import CALLBACKS, Laboratory
from tests.support.sim.machine import Killed, Machine, Worker
from tests.support.sim.network import Network, VirtualLoop
from tests.support.sim.queues import Post, queues_of
from tests.support.sim.vendors import CUSTOMER, Customer, Market, Sale
from tests.support.sim.watch import Violated, Watch, require

API, UPLOAD, MESSAGE = "api", "upload", "message"
WAYS = (API, UPLOAD, MESSAGE)

SWEEP_SECONDS = 60.0
LONGEST_CALM = 10_000.0
"""Seconds after the last deadline within which everything has ended, once nothing goes wrong any more."""

HOOK = f"http://127.0.0.1:{CUSTOMER}/hook"


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants: these sentences, spoken by that vendor, asked for in this way."""

    name: str
    way: str
    vendor: str
    sentences: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    webhook: bool = False
    at: float = 0.0
    format: str = "wav"
    cancel: float | None = None
    """Seconds after it was told of its job that a client changes its mind; only clients of the API can."""

    @property
    def text(self) -> str:
        return " ".join(self.sentences)

    @property
    def key(self) -> str:
        """A drop's name, of the sort that is easily decoded once too often."""
        return f"in/{self.name} 100%25+ü.txt"


@dataclass(frozen=True, slots=True)
class VendorFault:
    """What a vendor is told to play, how many seconds after the beginning, and how often."""

    vendor: str
    fault: str
    at: float
    times: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How a stack is configured, and its vendors."""

    lease: float = 120.0
    attempts: int = 4
    deadline: float = 7_200.0
    small_transactions: bool = False
    trouble: float = 900.0
    """How many seconds things may go wrong."""
    switches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faults: Sequence[VendorFault] = ()
    forgeries: int = 0
    lifetimes: bool = True
    """Whether functions die when their time is over. Without, a paused worker comes back as a ghost."""


class World:
    """`run` it, then look at `machine`, `watch`, `market` and what was acknowledged."""

    def __init__(self, lab: Laboratory, plan: Plan, orders: Sequence[Order], of: Circumstances | None = None) -> None:
        self.lab, self.plan, self.orders = lab, plan, orders
        self.of = of or Circumstances()
        lab.begin(plan.seed)
        self.loop = VirtualLoop(lab.clock)
        self.machine = Machine(lab.clock, plan, self.loop)
        self.network = Network(self.machine, self.loop)
        self.market = Market(self.machine, self.network, self.loop)
        self.customer = Customer(self.network, self._customer_says)
        self.cloud = Cloud(self.machine, lab.secrets)
        outputs = lab.wiring.outputs
        self.table, self.audio_bucket = outputs["JobsTable"], outputs["AudioBucket"]
        self.texts_bucket = outputs["TextsBucket"]
        self.watch = Watch(
            table=self.table,
            texts_bucket=self.texts_bucket,
            audio=lambda key: lab.moto.object(self.audio_bucket, key),
        )
        self.watch.now = lambda: lab.clock.now
        self.watch.worker = lambda: self.machine.current
        self.fleet = Fleet(
            lab.wiring.functions,
            lab.modules,
            lab.clients,
            {
                "LEASE_SECONDS": f"{self.of.lease:g}",
                "SEGMENT_ATTEMPTS": str(self.of.attempts),
                "JOB_DEADLINE_SECONDS": f"{self.of.deadline:g}",
            },
        )
        queues = queues_of(lab.template)
        self._urls = {queue.name: url for url, queue in queues.items()}
        self.post = Post(
            self.machine, queues, lab.wiring.queues, self._invoke, inputs=frozenset({"uploads", "requests"})
        )
        self.cloud.send = self._send
        self.cloud.effect = self.watch.effect
        self.cloud.touched = self._touched
        self.market.on_sale = self._sold
        self.market.on_webhook = self._called_back
        self.machine.on_end = self._ended
        self.machine.globals = ((BaseRouter, "current_event"), (BaseRouter, "lambda_context"))
        self.acknowledged: dict[str, str | None] = {}
        self.tokens: set[str] = set()
        self.begun: Counter[str] = Counter()
        self.violation: BaseException | None = None
        self._forged: dict[Worker, bool] = {}
        self._then: dict[Worker, Any] = {}
        self._buying: dict[Worker, tuple[str, int]] = {}
        self._owed = len(orders)
        self.calm_since = 0.0
        self.paid = self.needed = self.flagged = 0
        """What was billed, what had to be bought, and what may have been billed: known after the check."""
        self._repeating: set[str] = set()
        self._cancelling: set[str] = set()
        self._patch = pytest.MonkeyPatch()

    # --- A world's life -----------------------------------------------------------------------------

    def run(self) -> "World":
        """From the first order to the last effect. Raises Violated as soon as a promise is broken."""
        lab, machine = self.lab, self.machine
        lab.cloud, lab.network = self.cloud, self.network
        if self.of.small_transactions:
            self._patch.setattr(accept_job, "SEGMENTS_AT_CREATION", 2)
        try:
            self._open()
            start = lab.clock.now
            machine.run(start + self.of.trouble, stop=self._is_over)
            if isinstance(self.plan, Chaos):
                self.plan.quiet = True
            self.market.calm()
            self.calm_since = lab.clock.now
            machine.run(lab.clock.now + self.of.deadline + LONGEST_CALM, stop=self._is_over)
        finally:
            self._close()
        return self

    def _open(self) -> None:
        lab, machine = self.lab, self.machine
        DynamoJobStore(lab.clients.dynamodb, self.table).put_api_key(lab.api_record)
        for vendor in sorted({order.vendor for order in self.orders}):
            self.market.open(vendor, **self.of.switches.get(vendor, {}))
        for order in self.orders:
            machine.after(order.at, lambda order=order: self._ask(order))  # type: ignore[misc] # its own order each
        for fault in self.of.faults:
            machine.after(fault.at, lambda fault=fault: self._play(fault))  # type: ignore[misc] # its own fault each
        for number in range(self.of.forgeries):
            machine.after(7.0 + 40 * number, self._forge)
        machine.after(SWEEP_SECONDS, self._sweep)

    def _close(self) -> None:
        self._patch.undo()
        self.machine.stop()
        self.loop.shut()
        self.fleet.close()
        self.lab.cloud = self.lab.network = None

    def _is_over(self) -> bool:
        if self.violation is not None:
            raise self.violation
        return not (self._owed or self.machine.workers or self.watch.due) and self.post.is_empty()

    # --- What happens by itself -------------------------------------------------------------------------

    def _sweep(self) -> None:
        self.machine.after(SWEEP_SECONDS, self._sweep)
        now = self.lab.clock.now * 1000
        if any(due <= now for due in self.watch.due.values()):
            self._start("sweep", "sweep", event("schedule"))

    def _play(self, fault: VendorFault) -> None:
        emulator = self.market.emulators[fault.vendor]
        if fault.fault in emulator.faults.kinds and not self.plan.quiet:
            emulator.faults.play(fault.fault, times=fault.times, **fault.options)

    def _customer_says(self) -> int:
        return {"busy": 503, "wrong": 404}.get(self.plan.mishap("vendor customer", ("busy", "wrong")) or "", 200)

    # --- Functions ------------------------------------------------------------------------------------------

    def _start(self, function: str, name: str, sent: dict[str, Any], about: Any = None) -> Worker:
        self.begun[function] += 1
        lifetime = self.fleet.wired[function].timeout if self.of.lifetimes else float("inf")
        work = self.fleet.run(function, sent)
        return self.machine.invoke(f"{function} {name}", function, work, lifetime, about)

    def _invoke(self, function: str, name: str, sent: dict[str, Any], bodies: Sequence[str]) -> Worker:
        return self._start(function, name, sent, bodies)

    def _ended(self, worker: Worker) -> None:
        error = worker.error
        if error is not None and not isinstance(error, Killed | StoreUnavailable):
            self.violation = self.violation or _as_violation(worker, error)
            return
        self.post.ended(worker)
        then = self._then.pop(worker, None)
        if then is not None:
            then(worker)

    def _touched(self, service: str, operation: str, params: Mapping[str, Any]) -> None:
        worker = self.machine.current
        if worker is not None:
            self.lab.roles.asked(worker.function, service, operation, params)
            self._buying.pop(worker, None)  # it has its answer
        if worker is not None and worker.about == "forged" and service != "secretsmanager":
            raise Violated("I10", f"a forged callback reached {service}.{operation}")

    def _send(self, url: str, body: str, delay: float) -> str:
        require(len(body) <= 8 * 1024, "A16", "a message is larger than ours may be")
        return self.post.send(url, body, delay)

    def _sold(self, sale: Sale) -> None:
        try:
            self._look_at(sale)
        except Violated as violation:  # here the vendor's own tasks would swallow it
            self.violation = self.violation or violation

    def _look_at(self, sale: Sale) -> None:
        """I5, I6, I11, as far as they are certain: whoever buys may have begun before somebody else was done."""
        worker = self.machine.current
        if worker is None or not isinstance(worker.about, list) or worker.function != "start_segment":
            return
        message = json.loads(worker.about[0])
        job_id, segment = message["job_id"], message["segment"]
        ended = self.watch.ended_at.get(job_id)
        require(ended is None or worker.started_at < ended, "I11", "something was bought for a job that had ended")
        stored = self.watch.stored_since(job_id, segment)
        require(stored is None or worker.started_at < stored, "I5", "something was bought that was there")
        for other in self.machine.workers:
            same = self._buying.get(other) == (job_id, segment) and other is not worker
            require(not same or other.stood_still, "I6", f"two buy segment {segment} of a job at once")
        self._buying[worker] = (job_id, segment)

    # --- The ways in ------------------------------------------------------------------------------------------

    def _ask(self, order: Order) -> None:
        if order.way == API:
            self._request(order, 1)
        elif order.way == UPLOAD:
            self._drop(order)
        else:
            self._owed -= 1
            self.acknowledged[order.name] = None
            body = {**self._wish(order), "request_id": order.name, "text": order.text}
            self.post.send(self._urls["requests"], json.dumps(body))

    def _wish(self, order: Order) -> dict[str, Any]:
        wish: dict[str, Any] = {"vendor": order.vendor, "format": order.format}
        if order.options:
            wish["vendor_options"] = dict(order.options)
        if order.webhook:
            wish["webhook_url"] = HOOK
        return wish

    def _request(self, order: Order, number: int) -> None:
        body = json.dumps({**self._wish(order), "text": order.text})
        sent = event("api_post_job")
        authorization = {"authorization": f"Bearer {self.lab.api_token}", "idempotency-key": order.name}
        sent = {**sent, "headers": {**sent["headers"], **authorization}, "body": body}
        worker = self._start("jobs_api", f"{order.name}.{number}", sent)
        self._when_done(worker, lambda worker: self._answered(order, number, worker))

    def _answered(self, order: Order, number: int, worker: Worker) -> None:
        answer = worker.answer if worker.error is None else None
        status = answer["statusCode"] if answer else 502
        if status == 202 and answer is not None:
            job_id = json.loads(answer["body"])["id"]
            before = self.acknowledged.setdefault(order.name, job_id)
            require(before == job_id, "I8", f"{order.name} was told of two jobs")
            if order.cancel is not None and order.name not in self._cancelling:
                self._cancelling.add(order.name)
                self._owed += 1
                self.machine.after(order.cancel, lambda: self._cancel(order, job_id, 1))
            repeats = self.plan.mishap("message answered", ("unheard",)) is not None
            if not repeats:
                self._owed -= number == 1 or order.name not in self._repeating
                return
            self._repeating.add(order.name)
        else:
            require(status in (502, 503), "A10", f"{order.name} was answered {status}")
        again = 1.0 + 9.0 * self.plan.share("patience")
        self.machine.after(again, lambda: self._request(order, number + 1))

    def _cancel(self, order: Order, job_id: str, number: int) -> None:
        path = f"/v1/jobs/{job_id}/cancel"
        sent = event("api_post_job")
        http = {**sent["requestContext"]["http"], "path": path}
        sent = {
            **{name: value for name, value in sent.items() if name != "body"},
            "rawPath": path,
            "requestContext": {**sent["requestContext"], "http": http},
            "headers": {**sent["headers"], "authorization": f"Bearer {self.lab.api_token}"},
        }
        worker = self._start("jobs_api", f"cancel {order.name}.{number}", sent)
        self._when_done(worker, lambda worker: self._cancelled(order, job_id, number, worker))

    def _cancelled(self, order: Order, job_id: str, number: int, worker: Worker) -> None:
        status = worker.answer["statusCode"] if worker.error is None else 502
        if status in (502, 503):
            self.machine.after(5.0, lambda: self._cancel(order, job_id, number + 1))
            return
        self._owed -= 1
        if status == 200:
            self.watch.cancelled.add(job_id)
        else:
            ended = self.watch.ended_at.get(job_id)
            require(status == 409 and ended is not None, "A10", f"a cancel was answered {status}")

    def _when_done(self, worker: Worker, then: Any) -> None:
        if worker.done:
            then(worker)
        else:
            self._then[worker] = then

    def _drop(self, order: Order) -> None:
        metadata = {f"voicedrop-{name.replace('_', '-')}": _plain(value) for name, value in self._wish(order).items()}
        version = self.lab.clients.s3.put_object(
            Bucket=self.texts_bucket, Key=order.key, Body=order.text.encode(), Metadata=metadata
        ).get("VersionId")
        self._owed -= 1
        self.acknowledged[order.name] = None
        told = json.loads(event("s3_put")["Records"][0]["body"])
        told["Records"][0]["s3"]["bucket"]["name"] = self.texts_bucket
        told["Records"][0]["s3"]["object"] = {
            "key": quote_plus(order.key, safe="/"),
            "versionId": version,
            "sequencer": f"{round(self.lab.clock.elapsed * 1000):018X}",
        }
        self.post.send(self._urls["uploads"], json.dumps(told))

    # --- Callbacks ----------------------------------------------------------------------------------------------

    def _called_back(self, webhook: Webhook) -> None:
        """Creatify posts to us: soon, late, twice, or never."""
        token = webhook.url.removeprefix(f"{CALLBACKS}/callbacks/creatify/")
        self.tokens.add(token)
        mishap = self.plan.mishap("callback", ("lost", "late", "twice", "regressing"))
        if mishap == "lost":
            return
        delay = 0.05 if mishap != "late" else 600.0 * self.plan.share("callback lateness")
        body = json.dumps(webhook.body)
        self.machine.after(delay, lambda: self._callback(token, body, 1))
        if mishap in ("twice", "regressing"):
            status = "running" if mishap == "regressing" else webhook.body["status"]
            again = json.dumps({**webhook.body, "status": status})
            self.machine.after(delay + 5.0 * self.plan.share("callback copy"), lambda: self._callback(token, again, 1))

    def _callback(self, token: str, body: str, number: int, *, forged: bool = False) -> None:
        sent = event("creatify_callback")
        path = f"/callbacks/creatify/{token}"
        sent = {**sent, "rawPath": path, "pathParameters": {"token": token}, "body": body}
        worker = self._start("vendor_callback", f"{number}", sent, about="forged" if forged else "genuine")
        self._when_done(worker, lambda worker: self._took(worker, token, body, number, forged))

    def _took(self, worker: Worker, token: str, body: str, number: int, forged: bool) -> None:
        status = worker.answer["statusCode"] if worker.error is None else 502
        if status >= 500 and number < 3:
            self.machine.after(0.2 * number, lambda: self._callback(token, body, number + 1, forged=forged))
        elif forged:
            require(status in (404, 502, 503), "I10", f"a forged callback was answered {status}")
        else:
            require(status in (204, 404, 502, 503), "D8", f"a genuine callback was answered {status}")

    def _forge(self) -> None:
        """Somebody who knows the form of our tokens, and perhaps an old one."""
        known = min(self.tokens, default="AQEAAAAB" * 8)
        flipped = known[:-3] + ("AAA" if known[-3:] != "AAA" else "BBB")
        body = json.dumps({"id": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "status": "done", "video_output": "http://x"})
        self._callback(flipped, body, 1, forged=True)


def _as_violation(worker: Worker, error: BaseException) -> BaseException:
    if not isinstance(error, Exception):
        return error  # what a promise was broken by, or a gap in the simulation
    violation = Violated("BUG", f"{worker.name} failed with {type(error).__name__}")
    violation.__cause__ = error
    return violation


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
