"""A whole stack in one process whose workers run one at a time, and fail, die and race as a plan says.

Every call of a port and of the vendor is a point at which the plan may switch to another worker, let time
pass, fail the call before or after its effect, or kill the worker. A worker's thread runs only while the
scheduler waits for it, so the same plan always gives the same run.
"""

import hashlib
import json
import random
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import soundfile

from speech import prices
from speech.callbacks import read_token
from speech.errors import (
    StoreUnavailable,
    VendorAmbiguous,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnavailable,
)
from speech.jobs import Job, JobStatus
from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, StartSegment
from speech.segments import Outcome
from speech.settings import TENANT, Settings
from speech.usecases.accept_job import AcceptJob
from speech.usecases.close_failed_job import CloseFailedJob
from speech.usecases.ingest_message import IngestMessage
from speech.vendors.base import AudioReady, Capabilities, Delivery, StillWorking, SynthesisRequest, Vendor
from tests.fakes import FakeInputStore, FakeWebhookSender
from tests.fakes.faults import Faulty
from tests.support.world import World

RATE = 8_000
VISIBILITY_SECONDS = 540.0
MAX_RECEIVES = 5
FUNCTION_SECONDS = 90.0
STALL_SECONDS = 400.0
"""Past the lease, and long enough for another worker to finish everything."""

SWEEP_SECONDS = 60.0
LIMIT = 40
"""Characters of a segment: a sentence each."""


class Killed(BaseException):
    """The process is gone in the middle of what it did: nothing of ours may catch this."""


@cache
def voice(text: str) -> bytes:
    """Speech whose pitch says which text it is."""
    frames = round(len(text) / 15 * RATE)
    buffer = BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * pitch(text) * np.arange(frames) / RATE)
    soundfile.write(buffer, tone, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def pitch(text: str) -> int:
    return 200 + 10 * (zlib.crc32(text.encode()) % 100)


class Stalled(Exception):
    """Not an error: the worker stands still for a while at this point, and then goes on."""


class Plan:
    """What goes wrong when. This one: nothing."""

    def before(self, call: str) -> BaseException | None:
        """What happens instead of the call."""
        return None

    def after(self, call: str) -> BaseException | None:
        """What happens once the call has had its effect."""
        return None

    def vendor(self, kinds: Sequence[str]) -> str:
        """How the vendor takes a call: one of `kinds`, the first of which is well."""
        return kinds[0]

    def choose(self, among: int) -> int:
        """Which of so many workers and messages goes on."""
        return 0

    def copies(self) -> int:
        """How often a message that was sent once is received."""
        return 1

    def nap(self) -> float:
        """How many seconds pass before the next step."""
        return 0.0


class OneFault(Plan):
    """Nothing but one fault, at one point of the run. `points` counts those that were passed."""

    def __init__(self, at: int = -1, fault: Callable[[], BaseException] = Killed, *, after: bool = False) -> None:
        self._at, self._fault, self._is_after = at, fault, after
        self.points = 0
        self.met = ""

    def before(self, call: str) -> BaseException | None:
        self.points += 1
        return None if self._is_after else self._meet(call)

    def after(self, call: str) -> BaseException | None:
        return self._meet(call) if self._is_after else None

    def _meet(self, call: str) -> BaseException | None:
        if self.points - 1 != self._at or self.met:
            return None
        self.met = call
        return self._fault()


class Chaos(Plan):
    """Random faults from a seed, in a mix of their own for each seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.quiet = False
        self._fail, self._die, self._vendor, self._copy, self._nap = (
            self._random.choice((0.0, low, high))
            for low, high in ((0.01, 0.08), (0.01, 0.05), (0.1, 0.4), (0.1, 0.3), (0.02, 0.1))
        )

    def before(self, call: str) -> BaseException | None:
        return self._fault(call)

    def after(self, call: str) -> BaseException | None:
        return self._fault(call)

    def _fault(self, call: str) -> BaseException | None:
        if self.quiet:
            return None
        at = self._random.random()
        if at < self._die:
            return Killed()
        if at < self._die + self._fail and not call.startswith("vendor"):
            return StoreUnavailable("busy")
        return None

    def vendor(self, kinds: Sequence[str]) -> str:
        ill = not self.quiet and self._random.random() < self._vendor
        return self._random.choice(kinds) if ill else kinds[0]

    def choose(self, among: int) -> int:
        return self._random.randrange(among)

    def copies(self) -> int:
        return 2 if not self.quiet and self._random.random() < self._copy else 1

    def nap(self) -> float:
        return self._random.choice((1, 10, 100)) if not self.quiet and self._random.random() < self._nap else 0.0


class SimulatedVendor(Vendor):
    """A company with a book: every call that costs is in `billed`, by text."""

    name = "scripted"

    def __init__(self, simulation: "Simulation", *, calls_back: bool, name: str = "scripted") -> None:
        self._simulation = simulation
        self.name = name  # type: ignore[misc] # of this instance, as are its capabilities
        self.calls_back = calls_back
        self.capabilities = Capabilities(  # type: ignore[misc] # of this instance: both kinds are one class here
            title="Simulated",
            delivery=(Delivery.CALLBACK, Delivery.POLLED) if calls_back else (Delivery.IMMEDIATE,),
            character_limit=LIMIT,
            voice_required=False,
            audio_formats=("wav",),
        )
        self.billed: Counter[str] = Counter()
        self.spoilt: Counter[str] = Counter()
        self.jobs: dict[str, tuple[str, str, int, str]] = {}

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        with self._simulation.point("vendor.start"):
            self._simulation.expect_unfinished(request.text)
            kinds: tuple[str, ...] = (
                "well",
                "down",
                "throttled",
                "ambiguous-unbilled",
                "ambiguous-billed",
                "quota",
                "bad",
            )
            if self._simulation.others:
                kinds = (*kinds, "refused")
            kind = self._simulation.plan.vendor(kinds)
            if kind == "refused":
                raise VendorRejected("not this text", vendor=self.name)
            if kind == "down":
                raise VendorUnavailable("down", vendor=self.name)
            if kind == "throttled":
                raise VendorThrottled("slow down", vendor=self.name, retry_after=30)
            if kind == "quota":
                raise VendorQuotaExhausted("no credit", vendor=self.name)
            if kind == "ambiguous-unbilled":
                raise VendorAmbiguous("no answer", vendor=self.name)
            self.billed[request.text] += 1
            if kind == "bad":
                self.spoilt[request.text] += 1
            answer: AudioReady | StillWorking = AudioReady(
                b'{"error": "sorry"}' if kind == "bad" else voice(request.text), "audio/wav"
            )
            if self.calls_back:
                vendor_job_id = f"vendor-job-{len(self.jobs)}"
                ready_at = self._simulation.world.clock.now() + 20_000
                self.jobs[vendor_job_id] = (request.text, callback_url or "", ready_at, kind)
                self._simulation.call_back(vendor_job_id, callback_url or "", early=kind == "bad")
                answer = StillWorking(vendor_job_id, check_after=5)
            if kind == "ambiguous-billed":
                raise VendorAmbiguous("no answer", vendor=self.name)
            return answer

    def check(self, vendor_job_id: str) -> AudioReady | StillWorking:
        with self._simulation.point("vendor.check"):
            text, _, ready_at, kind = self.jobs[vendor_job_id]
            ill = self._simulation.plan.vendor(("well", "down", "throttled"))
            if ill == "down":
                raise VendorUnavailable("down", vendor=self.name)
            if ill == "throttled":
                raise VendorThrottled("slow down", vendor=self.name, retry_after=30)
            if self._simulation.world.clock.now() < ready_at:
                return StillWorking(vendor_job_id, check_after=5)
            return AudioReady(b"<html>sorry</html>" if kind == "bad" else voice(text), "audio/wav")

    def reconcile(self, callback_urls: Sequence[str]) -> StillWorking | None:
        with self._simulation.point("vendor.reconcile"):
            if self._simulation.plan.vendor(("well", "down")) == "down":
                raise VendorUnavailable("down", vendor=self.name)
            found = [vendor_job_id for vendor_job_id, job in self.jobs.items() if job[1] in callback_urls]
            return StillWorking(found[-1], check_after=5) if found else None


class VendorRules:
    """What the vendors accept: here, one that takes anything."""

    def __init__(self, vendor: SimulatedVendor, others: Sequence[str]) -> None:
        self._vendor = vendor
        self.VENDORS = ("scripted", *others)

    def capabilities(self, name: str) -> Capabilities:
        return self._vendor.capabilities

    def check_request(self, name: str, **_: Any) -> dict[str, Any]:
        return {}


@dataclass(eq=False)
class Letter:
    """A message on a queue. `work` is what its function does with it."""

    name: str
    work: Callable[[], None]
    dead: Callable[[], None]
    visible_at: float
    receives: int = 0


class Worker:
    """One run of one function. It goes on only while `step` waits for it."""

    def __init__(self, simulation: "Simulation", letter: Letter, *, started_at: int) -> None:
        self.letter, self.started_at = letter, started_at
        self.stalled_until = 0.0
        self.done = False
        self.error: BaseException | None = None
        self._fate: BaseException | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(simulation,), daemon=True)
        self._thread.start()

    def _run(self, simulation: "Simulation") -> None:
        self._go.acquire()
        simulation.current.worker = self
        try:
            if self._fate is None:
                self.letter.work()
        except BaseException as error:  # noqa: BLE001 - this is the operating system, which outlives every process
            self.error = error
        self.done = True
        self._back.release()

    def pause(self) -> None:
        """Called by the worker's thread: let somebody else run."""
        self._back.release()
        self._go.acquire()
        if self._fate is not None:
            raise self._fate

    def step(self) -> None:
        """Called by the scheduler: run to the next point, or to the end."""
        self._go.release()
        self._back.acquire()

    def kill(self) -> None:
        self._fate = Killed()
        while not self.done:
            self.step()
        self._thread.join()


@dataclass
class Simulation:
    """Submit texts, `run`, and `check`. `longest_life` over the lease gives zombies."""

    plan: Plan
    calls_back: bool = False
    settings: Settings = field(
        default_factory=lambda: Settings(
            callback_base_url="https://speech.example",
            lease_seconds=120,
            job_deadline_seconds=7_200,
            default_vendor="scripted",
        )
    )
    longest_life: float = FUNCTION_SECONDS
    workers_at_once: int = 4
    others: tuple[str, ...] = ()
    """Vendors that may take over."""

    def __post_init__(self) -> None:
        self.world = World(settings=self.settings, webhooks=FakeWebhookSender())
        self.current = threading.local()
        self.vendor = SimulatedVendor(self, calls_back=self.calls_back)
        self.world.vendor = self.vendor  # type: ignore[assignment] # the world asks only for a vendor
        self.world.others.update(
            (name, SimulatedVendor(self, calls_back=False, name=name))  # type: ignore[misc] # as above
            for name in self.others
        )
        rules: Any = VendorRules(self.vendor, self.others)
        self.accept = AcceptJob(
            self.world.store,
            self.world.texts,
            self.world.dispatcher,
            self.world.clock,
            self.settings,
            rules,
            self.world.policies,
            FakeInputStore(),
        )
        self.ingest = IngestMessage(self.accept)
        self.world.sweep = replace(self.world.sweep, resume=self.accept.resume)
        self.close = CloseFailedJob(
            self.world.store, self.world.finish, refuse_upload=lambda _: None, refuse_message=self.ingest.give_up
        )
        self.letters: list[Letter] = []
        self.workers: list[Worker] = []
        self.acknowledged: dict[str, list[str]] = {}
        self.ended: dict[str, Job] = {}
        self.bugs: list[BaseException] = []
        self.handled: Counter[str] = Counter()
        self.calm_since = self.world.clock.now()
        self._swept_at = self.world.clock.now()
        for fake in (
            self.world.store,
            self.world.texts,
            self.world.audio,
            self.world.results,
            self.world.dispatcher,
            self.world.keys,
            self.world.bus,
            self.world.webhooks,
        ):
            self._watch(fake)

    # --- What tests say ----------------------------------------------------------------------

    def submit(self, name: str, *sentences: str, webhook: bool = False, **options: Any) -> None:
        """A message on the requests queue that asks for these sentences, a segment each."""
        body = json.dumps(
            {
                "text": " ".join(sentences),
                "format": "wav",
                "request_id": name,
                "trim_silence": False,
                "loudness": False,  # sample by sample what the vendor sent
                **({"webhook_url": "https://customer.example/hook"} if webhook else {}),
                **options,
            }
        )
        self.acknowledged[name] = list(sentences)
        self._post(
            Letter(
                f"request {name}",
                lambda: self.ingest(body, f"sqs-{name}"),
                lambda: self.close(body, f"sqs-{name}"),
                self._now(),
            )
        )

    def run(self, *, seconds: float) -> None:
        """Let the stack live for so long, with its sweep every minute."""
        end = self._now() + seconds
        while self._now() < end:
            self._tick(end)

    def calm(self, *, seconds: float) -> None:
        """As `run`, with nothing failing any more, until nothing is left that could ever happen."""
        if isinstance(self.plan, Chaos):
            self.plan.quiet = True
        self.calm_since = self.world.clock.now()
        end = self._now() + seconds
        while self._now() < end and not self._is_idle():
            self._tick(end)

    def _is_idle(self) -> bool:
        busy = self.workers or self.letters or self.world.dispatcher.sent
        return not busy and not self.world.store.due(self.world.clock.now() + 10**12, 1)

    def stop(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.workers.clear()

    def check(self) -> None:
        """What must hold at the end, whatever went wrong on the way."""
        assert not self.bugs, self.bugs
        jobs = {job.request_id: job for job in self.world.store.jobs()}
        assert set(jobs) == set(self.acknowledged), "I1: one job for each input"
        assert len(self.world.store.jobs()) == len(jobs)
        for name, job in jobs.items():
            assert job.is_terminal, f"I14: {name} is {job.status}"
            late = job.updated_at - max(job.deadline_at, self.calm_since)
            assert late <= 2 * SWEEP_SECONDS * 1000, f"I14: {name} ended {late} ms after its deadline"
            if job.status is JobStatus.COMPLETED:
                self._check_audio(job, self.acknowledged[str(name)])
            delivery = self.world.store.delivery(TENANT, job.id)
            assert delivery is not None
            assert delivery.published, f"I21: {name} was told to nobody"
            assert delivery.webhook is None or delivery.webhook_done
        self._check_bills(list(jobs.values()))
        self._check_budgets(list(jobs.values()))
        left = self.world.store.due(self.world.clock.now() + 10**12, 10**6)
        assert not left, f"something comes due for ever: {left}"
        assert not [letter.name for letter in self.letters]

    # --- Points ------------------------------------------------------------------------------

    @contextmanager
    def point(self, call: str) -> Iterator[None]:
        """A call to the outside: here the worker may be interrupted, failed or killed."""
        worker: Worker | None = getattr(self.current, "worker", None)
        if worker is None:
            yield
            return
        worker.pause()
        self._meet(worker, self.plan.before(call))
        yield
        self._note_ends()
        worker.pause()
        self._meet(worker, self.plan.after(call))

    def _meet(self, worker: Worker, error: BaseException | None) -> None:
        if isinstance(error, Stalled):
            worker.stalled_until = self._now() + STALL_SECONDS
            worker.pause()
        elif error is not None:
            raise error

    def _watch(self, fake: Faulty) -> None:
        inner = fake._call

        @contextmanager
        def call(method: str) -> Iterator[None]:
            with self.point(f"{type(fake).__name__}.{method}"), inner(method):
                yield

        fake._call = call  # type: ignore[method-assign] # the one place where every port call passes

    def _note_ends(self) -> None:
        for job in self.world.store.jobs():
            known = self.ended.get(job.id)
            assert known is None or known == job, "I2: terminal is final"
            if job.is_terminal:
                self.ended[job.id] = job
            if job.budget is not None:
                committed = self.world.store._sums.get((TENANT, job.id), (0, 0))[1]
                assert committed <= job.budget, "I12: more was reserved and spent than the job may cost"

    def expect_unfinished(self, text: str) -> None:
        """I11, while no other worker runs: nothing is bought for a job that has ended."""
        if self.workers_at_once == 1:
            wanting = [
                job
                for job in self.world.store.jobs()
                if job.request_id and text in self.acknowledged[job.request_id] and not job.is_terminal
            ]
            assert wanting, "I11: bought for a job that has ended"

    def call_back(self, vendor_job_id: str, url: str, *, early: bool) -> None:
        """The vendor's webhook, whose token is known to be good: a check, now or when the job is done."""
        about = read_token(self.world.keys.signing, url.rsplit("/", 1)[-1], self.world.clock.now())
        message = CheckSegment(TENANT, about.job_id, about.segment, about.attempt, hint=vendor_job_id)
        self._post(self._letter(message, self._now() + (0.0 if early else 20.0)))

    # --- The machine -------------------------------------------------------------------------

    def _now(self) -> float:
        return self.world.clock.now() / 1000

    def _post(self, letter: Letter) -> None:
        for _ in range(self.plan.copies()):
            self.letters.append(replace(letter))

    def _letter(self, message: Any, visible_at: float) -> Letter:
        handlers: Mapping[type, Callable[[Any], None]] = {
            StartSegment: self.world.start,
            CheckSegment: self.world.check,
            AssembleAudio: self.world.assemble,
            DeliverEvent: self.world.deliver,
        }
        handle = handlers[type(message)]
        return Letter(
            type(message).__name__,
            lambda: handle(message),
            lambda: self.close(message.to_json(), "sqs"),
            visible_at,
        )

    def _tick(self, end: float) -> None:
        """One step of somebody, or time goes on."""
        self.world.clock.advance(self.plan.nap())
        now = self._now()
        for sent in self.world.dispatcher.take():
            self._post(self._letter(sent.message, now + sent.delay))
        if now * 1000 - self._swept_at >= SWEEP_SECONDS * 1000:
            self._swept_at = self.world.clock.now()
            self._start(Letter("sweep", self._sweep, self._sweep, now))
        for worker in [each for each in self.workers if now - each.started_at / 1000 > self.longest_life]:
            worker.kill()
            self._finished(worker)
        visible = [letter for letter in self.letters if letter.visible_at <= now]
        workers = [each for each in self.workers if each.stalled_until <= now]
        busy = len(workers)
        choices = busy + (len(visible) if busy < self.workers_at_once else 0)
        if not choices:
            later = [letter.visible_at for letter in self.letters if letter.visible_at > now]
            later += [each.stalled_until for each in self.workers if each.stalled_until > now]
            then = min([*later, self._swept_at / 1000 + SWEEP_SECONDS, end])
            self.world.clock.set(round(max(then, now + 0.001) * 1000))
            return
        at = self.plan.choose(choices)
        worker = workers[at] if at < busy else self._start(visible[at - busy])
        worker.step()
        if worker.done:
            self._finished(worker)

    def _sweep(self) -> None:
        self.world.sweep()

    def _start(self, letter: Letter) -> Worker:
        self.handled[letter.name.split(" ")[0]] += 1
        letter.receives += 1
        letter.visible_at = self._now() + VISIBILITY_SECONDS
        worker = Worker(self, letter, started_at=self.world.clock.now())
        self.workers.append(worker)
        return worker

    def _finished(self, worker: Worker) -> None:
        self.workers.remove(worker)
        letter, error = worker.letter, worker.error
        if error is not None and not isinstance(error, Killed | StoreUnavailable):
            self.bugs.append(error)
        if letter not in self.letters:
            return
        if error is None:
            self.letters = [each for each in self.letters if each is not letter]
        elif letter.receives >= MAX_RECEIVES:
            self.letters = [each for each in self.letters if each is not letter]
            self.letters.append(Letter("dead", letter.dead, letter.dead, self._now()))

    # --- What must hold ----------------------------------------------------------------------

    def _check_audio(self, job: Job, sentences: Sequence[str]) -> None:
        assert job.result is not None
        audio = self.world.results.objects[f"{job.result.key}.wav"].data
        assert hashlib.sha256(audio).hexdigest() == job.result.sha256, "I3"
        assert len(audio) == job.result.bytes
        samples, rate = soundfile.read(BytesIO(audio))
        at = 0
        for sentence in sentences:
            frames = round(len(sentence) / 15 * RATE)
            heard = samples[at : at + frames]
            at += frames
            crossings = np.count_nonzero(np.diff(np.signbit(heard)))
            assert abs(crossings / 2 / (frames / rate) - pitch(sentence)) < 5, "I4: whole and in order"
        assert at == len(samples)

    def _check_bills(self, jobs: Sequence[Job]) -> None:
        """I5, I20: whatever was billed shows in an attempt that says so, or says that nobody knows."""
        shown: Counter[str] = Counter()
        good: Counter[str] = Counter()
        unsure: Counter[str] = Counter()
        for job in jobs:
            text = self.world.texts.texts.get((TENANT, job.text_id), b"")
            for segment in self.world.store.segments(TENANT, job.id):
                said = text[segment.start : segment.end].decode()
                for attempt in segment.attempts:
                    shown[said] += attempt.outcome is not Outcome.RELEASED
                    good[segment.audio_key] += attempt.outcome is Outcome.SETTLED and attempt.problem_code is None
                    unsure[segment.audio_key] += attempt.outcome is Outcome.AMBIGUOUS
        for key, times in good.items():
            assert times <= 1 + unsure[key], f"I5: {times} bought the same audio, {unsure[key]} of them unsure"
        for said, billed in self.bills().items():
            assert billed <= shown[said], f"I20: billed {billed} times, {shown[said]} shown"
            if self.calls_back and not self.others:
                assert billed - self.vendor.spoilt[said] <= self._wanted(said, jobs), "I5: bought twice"

    def bills(self) -> Counter[str]:
        """What the vendors together have billed, by text."""
        bills: Counter[str] = Counter()
        for vendor in (self.vendor, *self.world.others.values()):
            bills.update(vendor.billed)  # type: ignore[attr-defined] # simulated, all of them
        return bills

    def _check_budgets(self, jobs: Sequence[Job]) -> None:
        """I12: what a job has committed is the sum of its ledger, and nothing is reserved any more."""
        for job in jobs:
            if job.budget is None:
                continue
            rows = list(self.world.store.segments(TENANT, job.id))
            own = [row for row in rows if row.take == job.take]
            counted = self.world.store._sums.get((TENANT, job.id), (0, 0))[1]
            spent = sum(prices.millionths(each.amount) for row in rows for each in row.attempts if each.may_be_billed)
            assert sum(map(prices.committed, rows)) == spent, "I12: a row of an ended job still reserves something"
            # Of a job that ended before all of its rows were there, the reservation of the others is never asked for.
            assert counted == spent or (counted > spent and len(own) < (job.segments_total or 0)), "I12"
            if job.cost is not None and job.status is JobStatus.COMPLETED:
                assert prices.millionths(job.cost.amount) <= (job.budget or 0), "I12"

    def _wanted(self, said: str, jobs: Sequence[Job]) -> int:
        return sum(self.acknowledged[str(job.request_id)].count(said) for job in jobs)
