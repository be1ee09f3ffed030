"""Plans: what goes wrong at which call, how long everything takes. Each decision follows from its place alone.

A decision is named by its place (who makes which call) and how often that place was passed before, and drawn
from a hash of seed and name. So faults do not depend on each other's dice: one can be taken out of a failing
run, and the others stay where they were.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Name = tuple[str, int]
"""A place, and the how manieth time it was passed in this run."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at a call: `kind` as the place offers it, before or after the call's effect."""

    kind: str
    after: bool = False


DEATH = "death"
STALL = "stall"


@dataclass(slots=True)
class Fired:
    """A fault that was played in a run."""

    name: Name
    fault: Fault

    def __str__(self) -> str:
        when = "after" if self.fault.after else "before"
        return f"{self.fault.kind} {when} {self.name[0]} #{self.name[1]}"


class Plan:
    """Nothing goes wrong, and everything takes a moment."""

    seed = 0
    quiet = False

    def __init__(self) -> None:
        self.fired: list[Fired] = []
        self._passed: Counter[str] = Counter()

    def at(self, place: str, before: Sequence[str], after: Sequence[str]) -> tuple[Fault | None, float, float]:
        """What happens at a call: a fault or none, and how long it takes until and after its effect.

        `before` and `after` are the kinds of fault that can be played there, besides death and standing still.
        """
        number = self._count(place)
        fault = self.fault((place, number), before, after)
        if fault is not None:
            self.fired.append(Fired((place, number), fault))
        return fault, *self.times((place, number))

    def fault(self, name: Name, before: Sequence[str], after: Sequence[str]) -> Fault | None:
        return None

    def times(self, name: Name) -> tuple[float, float]:
        return 0.004, 0.004

    def mishap(self, place: str, kinds: Sequence[str]) -> str | None:
        """What happens to a message, a callback or an answer: one of `kinds`, or nothing."""
        return None

    def share(self, place: str) -> float:
        """A number from 0 to 1 for this place."""
        return self._dice((place, self._count(place)))[0]

    def _count(self, place: str) -> int:
        number = self._passed[place]
        self._passed[place] = number + 1
        return number

    def _dice(self, name: Name) -> tuple[float, float, float, float]:
        raw = hashlib.blake2b(f"{self.seed}/{name[0]}/{name[1]}".encode(), digest_size=16).digest()
        first, second, third, fourth = (int.from_bytes(raw[at : at + 4], "big") / 2**32 for at in (0, 4, 8, 12))
        return first, second, third, fourth


class OneFault(Plan):
    """One fault, at the call with this number of the whole run. `place` is where that was."""

    def __init__(self, at: int, fault: Fault) -> None:
        super().__init__()
        self._at, self._fault = at, fault
        self._calls = 0

    def fault(self, name: Name, before: Sequence[str], after: Sequence[str]) -> Fault | None:
        self._calls += 1
        return self._fault if self._calls - 1 == self._at else None


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what goes wrong, as shares of the calls (or of the messages, callbacks and answers)."""

    errors: float = 0.0
    deaths: float = 0.0
    stalls: float = 0.0
    slow: float = 0.0
    messages: float = 0.0
    callbacks: float = 0.0
    vendors: float = 0.0


class Chaos(Plan):
    """Faults of all kinds in the proportions of a mix; `only` leaves just the named ones of them."""

    def __init__(self, seed: int, mix: Mix, *, only: frozenset[Name] | None = None) -> None:
        super().__init__()
        self.seed = seed
        self._mix = mix
        self._only = only

    def fault(self, name: Name, before: Sequence[str], after: Sequence[str]) -> Fault | None:
        if self.quiet:
            return None
        which, kind, _, _ = self._dice(name)
        mix = self._mix
        fault = None
        if which < mix.deaths:
            fault = Fault(DEATH, after=kind < 0.5)
        elif which < mix.deaths + mix.stalls:
            fault = Fault(STALL, after=kind < 0.5)
        elif which < mix.deaths + mix.stalls + mix.errors and (before or after):
            at = int(kind * (len(before) + len(after)))
            fault = Fault(before[at]) if at < len(before) else Fault(after[at - len(before)], after=True)
        return fault if fault is not None and self._allows(name) else None

    def times(self, name: Name) -> tuple[float, float]:
        _, _, first, second = self._dice(name)
        return self._time(first), self._time(second)

    def _time(self, dice: float) -> float:
        """Mostly milliseconds; now and then long enough for anybody to come in between."""
        slow = 0.0 if self.quiet else self._mix.slow
        if dice < slow:
            return 0.5 + 14.0 * (dice / slow) ** 2
        return 0.002 + 0.03 * dice

    def mishap(self, place: str, kinds: Sequence[str]) -> str | None:
        name = (place, self._count(place))
        share = self._mix.callbacks if place.startswith("callback") else self._mix.messages
        if place.startswith("vendor"):
            share = self._mix.vendors
        which, kind, _, _ = self._dice(name)
        if self.quiet or which >= share or not self._allows(name):
            return None
        chosen = kinds[int(kind * len(kinds))]
        self.fired.append(Fired(name, Fault(chosen)))
        return chosen

    def _allows(self, name: Name) -> bool:
        return self._only is None or name in self._only
