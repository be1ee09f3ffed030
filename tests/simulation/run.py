"""`python -m tests.simulation.run`: simulate many worlds, say what was found, and make what fails small.

--jobs 10000 --seed 0        worlds from this seed on, until so many jobs were simulated
--calm                       without faults: every segment is bought exactly once
--trace                      print everything that happened in the world of the seed
--deaths                     one death at every call site, before and after, for each vendor and way in
--pauses                     one pause past the lease at every call site instead
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.prove import proven

PROCESSES = 2
EVERY = 50
"""Worlds between two lines of progress."""


@dataclass
class Figures:
    """What a run came to. Counters add up over processes."""

    jobs: int = 0
    worlds: int = 0
    calls: int = 0
    deaths: int = 0
    invocations: int = 0
    paid: int = 0
    needed: int = 0
    flagged: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    sites: set[str] = field(default_factory=set)
    killed_before: set[str] = field(default_factory=set)
    killed_after: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)

    def add(self, other: "Figures") -> None:
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, set | Counter):
                mine.update(theirs)
            else:
                setattr(self, name, mine + theirs)

    def as_json(self) -> dict[str, Any]:
        return {
            name: sorted(value) if isinstance(value := getattr(self, name), set) else value
            for name in self.__dataclass_fields__
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Figures":
        sets = {name: set(data[name]) for name in ("sites", "killed_before", "killed_after")}
        counters = {name: Counter(data[name]) for name in ("faults", "outcomes")}
        return cls(**{**data, **sets, **counters})

    def counts(self, seconds: float) -> dict[str, Any]:
        """For docs/guarantees.md."""
        counts = {name: getattr(self, name) for name in ("jobs", "worlds", "deaths", "paid", "needed", "flagged")}
        sizes = {name: len(getattr(self, name)) for name in ("sites", "killed_before", "killed_after", "violations")}
        ratio = self.paid / self.needed if self.needed else 0.0
        return {**counts, **sizes, "faults": self.faults.total(), "ratio": ratio, "minutes": round(seconds / 60)}

    def lines(self, seconds: float) -> list[str]:
        """For a person to read."""
        ratio = self.paid / self.needed if self.needed else 0.0
        speed = self.jobs / seconds if seconds else 0.0
        return [
            f"{self.jobs:,} jobs in {self.worlds:,} worlds, {seconds / 60:.1f} minutes ({speed:.1f} jobs a second)",
            f"{self.invocations:,} invocations, {self.calls:,} calls to AWS and vendors, {self.deaths:,} deaths",
            "ended: " + ", ".join(f"{name} {count:,}" for name, count in self.outcomes.most_common()),
            "faults: " + (", ".join(f"{name} {count:,}" for name, count in self.faults.most_common()) or "none"),
            f"call sites: {len(self.sites)}; deaths before {len(self.killed_before)}, after {len(self.killed_after)}",
            f"paid calls: {self.paid:,} for {self.needed:,} texts ({ratio:.3f}), {self.flagged:,} flagged",
            f"violations: {len(self.violations)}",
            *self.violations,
        ]


def figures_of(world: Any) -> Figures:
    """What one world adds."""
    machine = world.machine
    figures = Figures(jobs=len(world.orders), worlds=1, calls=machine.calls, deaths=machine.deaths)
    figures.invocations = sum(world.begun.values())
    figures.paid, figures.needed, figures.flagged = world.paid, world.needed, world.flagged
    figures.faults.update(fired.fault.kind for fired in world.plan.fired)
    figures.outcomes.update(job.status.value for job in world.watch.jobs())
    figures.sites.update(_site(*site) for site in machine.sites)
    for function, call, number, what in machine.hit:
        if what == "death before":
            figures.killed_before.add(_site(function, call, number))
        elif what == "death after":
            figures.killed_after.add(_site(function, call, number))
    return figures


def _site(function: str, call: str, number: int) -> str:
    return f"{function} {call} #{number}"


def failing(lab: Any, seed: int, *, only: frozenset[Any] | None = None, faulty: bool = True) -> Any:
    """Run the world of a seed; returns it with `violation` None or what was broken."""
    from tests.support.sim.workload import world_of

    return examined(world_of(lab, seed, only=only, faulty=faulty), faulty=faulty)


def examined(world: Any, *, faulty: bool = True) -> Any:
    """Run a world, and keep what is broken as its `violation`."""
    from tests.support.sim.invariants import check
    from tests.support.sim.watch import Violated

    world.violation = None
    try:
        world.run()
        check(world, faultless=not faulty)
    except Violated as violation:
        world.violation = violation
    return world


def minimised(lab: Any, seed: int, tries: int = 60) -> Any:
    """The failing world of a seed with as few faults as still make it fail in the same way."""
    world = failing(lab, seed)
    promise = world.violation.promise
    needed = [fired.name for fired in world.plan.fired]
    size = len(needed)
    while size and tries:
        size = max(1, size // 2)
        for at in range(0, len(needed), size):
            if not tries:
                break
            tries -= 1
            fewer = needed[:at] + needed[at + size :]
            smaller = failing(lab, seed, only=frozenset(fewer))
            if smaller.violation is not None and smaller.violation.promise == promise:
                world, needed = smaller, fewer
                break
        else:
            if size == 1:
                break
            continue
        size = len(needed)
    return world


def report(lab: Any, seed: int, *, faulty: bool) -> str:
    """A failing world for a person to read: the promise, the faults that are needed, the trace."""
    world = minimised(lab, seed) if faulty else failing(lab, seed, faulty=False)
    cause = world.violation.__cause__
    lines = [f"seed {seed}: {world.violation}", f"  as configured: {world.of}"]
    lines += [f"  wanted: {order}" for order in world.orders]
    lines += [f"  fault: {fired}" for fired in world.plan.fired] or ["  no fault is needed"]
    lines += [f"  {line}" for line in world.machine.trace[-400:]]
    if cause is not None:
        lines += traceback.format_exception(cause)
    return "\n".join(lines)


def many(seeds: range, jobs: int, *, faulty: bool, say: Callable[[str], None]) -> Figures:
    """Worlds of these seeds until so many jobs were simulated."""
    from tests.support.sim.laboratory import laboratory

    figures = Figures()
    gc.disable()  # between worlds is soon enough
    began = time.perf_counter()
    with laboratory() as lab:
        for seed in seeds:
            if figures.jobs >= jobs or len(figures.violations) >= 5:
                break
            world = failing(lab, seed, faulty=faulty)
            figures.add(figures_of(world))
            if world.violation is not None:
                figures.violations.append(report(lab, seed, faulty=faulty))
            if figures.worlds % EVERY == 0:
                gc.collect()
                seconds = time.perf_counter() - began
                say(f"{figures.worlds} worlds, {figures.jobs} jobs, {seconds:.0f} s, up to seed {seed}")
    gc.enable()
    return figures


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--calm", action="store_true")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--deaths", action="store_true")
    parser.add_argument("--pauses", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # number/of: what a child is to do
    return parser.parse_args(given)


def _part(arguments: argparse.Namespace, number: int, of: int) -> Figures:
    def say(what: str) -> None:
        print(f"[{number}] {what}", file=sys.stderr, flush=True)

    if arguments.deaths or arguments.pauses:
        from tests.simulation.exhaustive import everywhere

        return everywhere("stall" if arguments.pauses else "death", part=number, of=of, say=say)
    seeds = range(arguments.seed + number, sys.maxsize, of)
    return many(seeds, -(-arguments.jobs // of), faulty=not arguments.calm, say=say)


def _children(given: Sequence[str], processes: int) -> Figures:
    # The same hashes of strings in every process, so that a seed means the same in all of them.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "tests.simulation.run", *given]
    children = [
        subprocess.Popen([*command, "--part", f"{number}/{processes}"], stdout=subprocess.PIPE, env=environment)
        for number in range(processes)
    ]
    figures = Figures()
    for child in children:
        said, _ = child.communicate()
        if child.returncode != 0:
            figures.violations.append(f"a process of the simulation ended with {child.returncode}")
        else:
            figures.add(Figures.from_json(json.loads(said)))
    return figures


def main(given: Sequence[str]) -> int:
    arguments = _arguments(given)
    if arguments.trace:
        from tests.support.sim.laboratory import laboratory

        with laboratory() as lab:
            world = failing(lab, arguments.seed, faulty=not arguments.calm)
        print("\n".join(world.machine.trace))
        print(world.violation or "every promise was kept")
        return 1 if world.violation else 0
    if arguments.part:
        number, of = (int(each) for each in arguments.part.split("/"))
        print(json.dumps(_part(arguments, number, of).as_json()))
        return 0
    began = time.perf_counter()
    figures = _children(given, arguments.processes)
    seconds = time.perf_counter() - began
    print("\n".join(figures.lines(seconds)))
    proven("simulation", **figures.counts(seconds))
    return 1 if figures.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
