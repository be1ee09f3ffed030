"""Runs workers one at a time in virtual time: each is a thread that goes on only while the machine waits for it."""

import heapq
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tests.support.sim.chance import DEATH, STALL, Fault, Plan
from tests.support.sim.clock import VirtualClock

T = TypeVar("T")

STALL_SECONDS = 700.0
"""How long a worker stands still: past its lease and its queue's visibility, and until others are done."""


class Killed(BaseException):
    """The process is gone in the middle of what it did: nothing of ours may catch this."""


class Unplayed(BaseException):
    """The product did something that this simulation does not know: nothing of ours may catch this either."""


class Timers(Protocol):
    """Something else that wants to be woken: the vendors' own event loop."""

    def next_timer(self) -> float:
        """The time at which it wants to run, on the virtual clock; infinity for never."""
        ...

    def spin(self) -> None: ...


class Worker:
    """One invocation of one function. `dies_at` is when its time is over."""

    def __init__(self, machine: "Machine", name: str, function: str, work: Callable[[], Any], lifetime: float) -> None:
        self.name, self.function = name, function
        self.machine = machine
        self.started_at = machine.clock.now
        self.dies_at = self.started_at + lifetime
        self.passed: Counter[str] = Counter()
        self.about: Any = None
        self.answer: Any = None
        self.error: BaseException | None = None
        self.done = self.dead = self.stood_still = False
        self.version = 0
        self.kept: dict[str, Any] = {}
        self._work = work
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        if not self.dead:
            try:
                self.answer = self._work()
            except BaseException as error:  # noqa: BLE001 - this is the operating system, which outlives every process
                self.error = error
        self.done = True
        self._back.release()

    def step(self) -> None:
        """Called by the machine: run to the next point where it must wait, or to the end."""
        self._go.release()
        self._back.acquire()

    def yield_(self) -> None:
        """Called by the worker's own thread: let the machine go on, until it is this worker's turn."""
        self._back.release()
        self._go.acquire()

    def join(self) -> None:
        self._thread.join()


class Machine:
    """`at` puts something into the future; `run` lets the future happen, in order."""

    def __init__(self, clock: VirtualClock, plan: Plan, timers: Timers) -> None:
        self.clock, self.plan, self.timers = clock, plan, timers
        self.current: Worker | None = None
        self.workers: list[Worker] = []
        self.trace: list[str] = []
        self.sites: Counter[tuple[str, str, int]] = Counter()
        self.hit: Counter[tuple[str, str, int, str]] = Counter()
        self.calls = 0
        self.deaths = 0
        self.on_end: Callable[[Worker], None] = lambda _: None
        self.globals: Sequence[tuple[Any, str]] = ()
        """What a process has once for itself, and we once for all of them: kept for each worker."""
        self._future: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self._until = float("inf")

    # --- The future -----------------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._future, (time, self._numbers, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.clock.now + seconds, action)

    @property
    def next_event(self) -> float:
        """When something happens next by itself."""
        first = self._future[0][0] if self._future else float("inf")
        return min(first, self.timers.next_timer())

    def run(self, until: float, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen that happens before then."""
        self._until = until
        while not stop():
            first = self._future[0][0] if self._future else float("inf")
            timer = self.timers.next_timer()
            if min(first, timer) > until:
                self.clock.now = max(self.clock.now, until)
                return
            if timer <= first:
                self.clock.now = max(self.clock.now, timer)
                self.timers.spin()
            else:
                time, _, action = heapq.heappop(self._future)
                self.clock.now = max(self.clock.now, time)
                action()

    # --- Workers ----------------------------------------------------------------------------------

    def invoke(self, name: str, function: str, work: Callable[[], Any], lifetime: float, about: Any = None) -> Worker:
        """Start a function; `on_end` hears of its end."""
        worker = Worker(self, name, function, work, lifetime)
        worker.about = about
        self.workers.append(worker)
        self.note(f"+ {name}")
        worker.start()
        self._resume(worker, worker.version)
        return worker

    def kill(self, worker: Worker, why: str) -> None:
        """From outside: the worker is wherever it waits, and goes no further."""
        if not worker.done:
            self.note(f"! {worker.name} killed: {why}")
            worker.dead = True
            worker.version += 1
            self._resume(worker, worker.version)

    def wake(self, worker: Worker) -> None:
        """Let a waiting worker look again, in a moment."""
        version = worker.version
        self.after(0.001, lambda: self._resume(worker, version))

    def _resume(self, worker: Worker, version: int) -> None:
        if worker.done or worker.version != version:
            return
        before, self.current = self.current, worker
        for thing, name in self.globals:
            if name in worker.kept:
                setattr(thing, name, worker.kept[name])
        worker.step()
        for thing, name in self.globals:
            worker.kept[name] = getattr(thing, name, None)
        self.current = before
        if worker.done:
            worker.join()
            self.workers.remove(worker)
            if isinstance(worker.error, Killed):
                self.deaths += 1
            self.note(f"- {worker.name} {type(worker.error).__name__ if worker.error else 'ended'}")
            self.on_end(worker)

    def stop(self) -> None:
        """Nobody goes on."""
        self.on_end = lambda _: None
        for worker in list(self.workers):
            self.kill(worker, "the world ends")

    # --- What workers call --------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        """Let time pass for the current worker, and others do what they do meanwhile."""
        worker = self._living()
        wake = min(self.clock.now + seconds, worker.dies_at)
        if wake < self.next_event and wake < self._until:
            self.clock.now = wake
        else:
            self._sleep(worker, wake)
        self._breathe(worker)

    def wait(self, seconds: float, ready: Callable[[], bool]) -> bool:
        """Wait until something is ready; false when it was not in time. Whoever makes it ready calls `wake`."""
        worker = self._living()
        ends = self.clock.now + seconds
        while not ready():
            if self.clock.now >= ends:
                return False
            self._sleep(worker, min(ends, worker.dies_at))
        return True

    def point(
        self,
        call: str,
        effect: Callable[[], T],
        *,
        before: Sequence[str] = (),
        after: Sequence[str] = (),
        fail: Callable[[Fault, Callable[[], T]], T] | None = None,
    ) -> T:
        """A call to the outside. `fail` plays one of the faults `before` or `after` its effect."""
        worker = self.current
        if worker is None:
            return effect()
        if worker.dead:
            raise Killed
        number = worker.passed[call]
        worker.passed[call] += 1
        site = (worker.function, call, number)
        self.sites[site] += 1
        self.calls += 1
        fault, ahead, behind = self.plan.at(f"{worker.function} {call}", before, after)
        self.pause(ahead)
        played = f": {fault.kind} {'after' if fault.after else 'before'}" if fault else ""
        self.note(f"  {worker.name} {call}{played}")
        answer = effect() if fault is None else self._faulty(worker, fault, effect, fail, site)
        self.pause(behind)
        return answer

    def _faulty(
        self,
        worker: Worker,
        fault: Fault,
        effect: Callable[[], T],
        fail: Callable[[Fault, Callable[[], T]], T] | None,
        site: tuple[str, str, int],
    ) -> T:
        self.hit[(*site, f"{fault.kind} {'after' if fault.after else 'before'}")] += 1
        if fault.kind not in (DEATH, STALL):
            if fail is None:
                raise Unplayed(f"nothing plays {fault.kind}")
            return fail(fault, effect)
        if fault.after:
            answer = effect()
        if fault.kind == DEATH:
            worker.dead = True
            raise Killed
        worker.stood_still = True
        worker.dies_at = float("inf") if worker.dies_at == float("inf") else worker.dies_at + STALL_SECONDS
        self.pause(STALL_SECONDS)
        return answer if fault.after else effect()

    def _living(self) -> Worker:
        worker = self.current
        if worker is None:
            raise Unplayed("only a worker can wait")
        if worker.dead:
            raise Killed
        return worker

    def _sleep(self, worker: Worker, until: float) -> None:
        worker.version += 1
        version = worker.version
        self.at(until, lambda: self._resume(worker, version))
        worker.yield_()
        self._breathe(worker)

    def _breathe(self, worker: Worker) -> None:
        if worker.dead or self.clock.now >= worker.dies_at:
            worker.dead = True
            raise Killed

    def note(self, what: str) -> None:
        self.trace.append(f"{self.clock.elapsed:10.3f} {what}")
