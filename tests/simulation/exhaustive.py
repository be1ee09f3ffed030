"""One death, or one pause past the lease, at every call site of every vendor and way in: nothing random here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from local.emulators import EMULATORS
from speech.jobs import JobStatus
from tests.simulation.run import Figures, figures_of
from tests.support.sim.chance import DEATH, STALL, Fault, Name, OneFault, Plan
from tests.support.sim.invariants import check
from tests.support.sim.laboratory import Laboratory, laboratory
from tests.support.sim.watch import Violated
from tests.support.sim.workload import SENTENCES
from tests.support.sim.world import API, WAYS, Circumstances, Order, World

TROUBLE = 3_000.0
"""Seconds in which the only fault is waited for: a pause is shorter."""


@dataclass(frozen=True, slots=True)
class Case:
    """A job that is run again and again, each time with its fault one call later."""

    name: str
    order: Order
    small_transactions: bool = False
    unsent: bool = False
    """Whether no message but that of the input arrives, so that the sweep does everything."""


def cases() -> list[Case]:
    found = []
    for vendor, way in product(sorted(EMULATORS), WAYS):
        order = Order("one", way, vendor, SENTENCES[:2], webhook=True)
        found.append(Case(f"{vendor} {way}", order))
    for delivery in ("stream", "websocket"):
        options = {"delivery": delivery}
        found.append(Case(f"voiceai {delivery}", Order("one", API, "voiceai", SENTENCES[:1], options=options)))
    found.append(Case("playht events", Order("one", API, "playht", SENTENCES[:1], options={"delivery": "events"})))
    for vendor in ("voiceai", "creatify"):
        order = Order("one", API, vendor, SENTENCES[:4])
        found.append(Case(f"{vendor} long", order, small_transactions=True))
        found.append(Case(f"{vendor} unsent", Order("one", API, vendor, SENTENCES[:2], webhook=True), unsent=True))
    return found


class _Unsent(OneFault):
    """As one fault, where queues and callbacks lose the first of everything."""

    def __init__(self, at: int, fault: Fault) -> None:
        super().__init__(at, fault)
        self._lost: set[str] = set()

    def mishap(self, place: str, kinds: Any) -> str | None:
        if "lost" not in kinds or place in self._lost:
            return None
        self._lost.add(place)
        return "lost"


def run(lab: Laboratory, case: Case, at: int, fault: Fault) -> World:
    """The case with its fault at this call; -1 for none. Raises Violated."""
    plan: Plan = _Unsent(at, fault) if case.unsent else OneFault(at, fault)
    of = Circumstances(
        trouble=TROUBLE,
        small_transactions=case.small_transactions,
        lifetimes=fault.kind != STALL,
        switches={"creatify": {"webhooks": "final", "pace": 1.0}},
    )
    world = World(lab, plan, [case.order], of)
    world.run()
    check(world, faultless=at < 0)
    [job] = world.watch.jobs()
    if job.status is not JobStatus.COMPLETED:
        raise Violated("B", f"the job ended {job.status.value}")
    most = world.needed + (0 if case.order.vendor == "creatify" else 1)
    if world.paid > most and not _may_call_late(world):
        raise Violated("I5", f"{world.paid} paid calls for {world.needed} texts")
    return world


def _may_call_late(world: World) -> bool:
    """Standing still between the last look at the clock and the call: only a function's timeout helps there."""
    return any(fired.fault.kind == STALL and " POST " in fired.name[0] for fired in world.plan.fired)


def places(lab: Laboratory, case: Case, kind: str) -> tuple[World, Iterator[tuple[int, Fault]]]:
    """The calm run, and every place for the fault."""
    calm = run(lab, case, -1, Fault(kind))
    faults = ((at, Fault(kind, after=after)) for at in range(calm.machine.calls) for after in (False, True))
    return calm, faults


def everywhere(
    kind: str = DEATH, *, part: int = 0, of: int = 1, every: int = 1, say: Callable[[str], None] = lambda _: None
) -> Figures:
    """All cases, or this process's part of them; `every` so manieth place only."""
    figures = Figures()
    with laboratory() as lab:
        for case in cases()[part::of]:
            calm, faults = places(lab, case, kind)
            figures.add(figures_of(calm))
            known = set(figures.sites)
            count = 0
            for at, fault in list(faults)[part % every :: every]:
                count += 1
                one = _with(lab, case, at, fault, figures)
                if one is not None:
                    one.sites &= known
                    figures.add(one)
            say(f"{case.name}: {calm.machine.calls} calls, {count} runs, {len(figures.violations)} violations")
    figures.killed_before &= figures.sites
    figures.killed_after &= figures.sites
    return figures


def _with(lab: Laboratory, case: Case, at: int, fault: Fault, figures: Figures) -> Figures | None:
    try:
        return figures_of(run(lab, case, at, fault))
    except Violated as violation:
        when = "after" if fault.after else "before"
        if len(figures.violations) < 20:
            figures.violations.append(f"{case.name}: {fault.kind} {when} call {at}: {violation}")
        return None


__all__ = ["Name", "cases", "everywhere", "places", "run"]
