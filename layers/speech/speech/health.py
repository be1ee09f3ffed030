"""How a vendor fares: one gate and one breaker that all its workers share, and the arrows between their states. No I/O.

The gate spaces calls out: by limits that are known, and by what refusals taught. The breaker stops calls to a vendor
that is out. As with jobs, every arrow returns a new row with `rev` one higher, and a store accepts it only while the
row still has the revision it came from; None means that there is nothing to write, and a vendor that is well and has
no limits is never written at all.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from speech.settings import TENANT

if TYPE_CHECKING:
    from speech.policy import Limits

MINUTE_MS = 60_000

AT_ONCE_MS = 1_000
"""A turn that comes within this time is taken now: sending the segment back would take longer."""

HORIZON_MS = MINUTE_MS
"""Turns are promised this far ahead. Who comes later asks again, and so finds what was learned meanwhile."""

PROMISE_MS = 2 * MINUTE_MS
"""How long after its time a promised turn may still be taken: the sweep comes by every minute."""

FIRST_SPACING_MS, LONGEST_SPACING_MS = 500, MINUTE_MS
LEAST_SPACING_MS = 100
"""A learned pause that has shrunk below this is forgotten."""
RECOVERY_MS = 2 * MINUTE_MS
"""In this time without a refusal a learned pause halves: recovery is slow, and nobody has to write it down."""

REFUSAL_SECONDS = (1.0, 900.0)
"""How long a refusal closes the gate, at least and at most."""

MOST_FAILURES = 5
"""So many segments in a row without an answer open the breaker: fewer may meet by chance."""

UNSENT_COUNTS = 2
"""What counts for so many is a request that could not even be sent: no text can cause that. Three of these open
the breaker, and as a segment has more tries than that, a job that is alone survives an outage as well."""

FIRST_WAIT_MS, LONGEST_WAIT_MS = 5_000, 900_000
"""How long an open breaker waits before the next trial: it doubles with each that failed."""

OTHERS_FIRST_MS = 10_000
"""Whose own call failed is put on trial only where nobody else comes: it may be for its text."""

BUSY_MS = 5_000
"""When to ask again while somebody else is on trial, or every slot is taken."""

SUSPECT_MS = 10 * MINUTE_MS
"""How long a job that was refused while others were served is taken to be refused for its own sake."""

LONG_TRIALS = 3
"""So many that find no answer, about half a minute, and a job that somebody else may speak waits no longer."""

GONE_TRIALS = 5
"""So many free questions that find nobody, and the vendor counts as gone for good."""

GONE = "vendor-gone"

MOST_NAMES = 20
NEEDS_A_PERSON = frozenset({"vendor-quota-exhausted", "vendor-unauthorized"})


class Ending(StrEnum):
    """What a call said about its vendor, whatever it said about its text."""

    ANSWERED = "answered"
    THROTTLED = "throttled"
    FAILED = "failed"
    """No answer: several segments in a row make an outage."""
    OUT = "out"
    """It needs no second opinion: no credit, no key, no such vendor."""
    UNCLEAR = "unclear"
    """An answer that proves nothing."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Held until it is given back, or until its time is over."""

    holder: str
    until: int


@dataclass(frozen=True, slots=True)
class Health:
    """What all workers know of a vendor. All times are epoch milliseconds.

    `closed_until` is when a vendor that refused may be called again, `next_at` when the next turn is that is
    not yet promised. `spacing` is the pause between calls that refusals taught, as it was at `refused_at`;
    `refusals` counts those without an answer between them. `slots` are the calls under way where their number
    is limited, `call_ms` how long one takes.

    The breaker is open while `open_since` is set, for the `reason` of an error's code. From `retry_at` on one
    worker at a time, `trial`, may find out whether the vendor is back; `trials` counts those who found that it is
    not. `failed` names the segments that had no answer, or opened it, none of them twice. `is_probed`: the vendor
    answered a question, and nobody could make a call that surely buys nothing again. `suspects` are jobs for whose
    refusal it was opened, and then closed for another one: a voice or a plan of their own may be the reason.
    """

    vendor: str
    tenant: str = TENANT
    rev: int = 0
    closed_until: int = 0
    next_at: int = 0
    spacing: int = 0
    refused_at: int = 0
    refusals: int = 0
    slots: tuple[Lease, ...] = ()
    call_ms: int = 0
    failed: tuple[str, ...] = ()
    open_since: int | None = None
    reason: str | None = None
    retry_at: int = 0
    trials: int = 0
    trial: Lease | None = None
    is_probed: bool = False
    suspects: tuple[Lease, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.open_since is not None

    @property
    def is_out_for_long(self) -> bool:
        """Whether a job that somebody else may speak should not wait for this vendor."""
        return self.is_open and (self.reason in NEEDS_A_PERSON or self.trials >= LONG_TRIALS)

    @property
    def is_gone(self) -> bool:
        """Whether there is no use in waiting for this vendor."""
        return self.is_open and self.reason == GONE and self.trials >= GONE_TRIALS


class Caller(NamedTuple):
    """Who wants to call: one segment. `promised_at` is the turn it was promised before."""

    name: str
    characters: int
    promised_at: int | None = None

    @property
    def job(self) -> str:
        return self.name.partition("/")[0]


class Turn(NamedTuple):
    """What the gate says: call now, or come again at `wait_until`. `health` is to be written first, if there is one.

    `is_trial`: this worker is to find out whether the vendor is back. `spread` is over how many milliseconds
    those who wait may be scattered; a promised turn is exact.
    """

    health: Health | None = None
    wait_until: int | None = None
    is_promised: bool = False
    is_trial: bool = False
    spread: int = 0

    @property
    def is_free(self) -> bool:
        """Whether anybody may call at any time."""
        return self.health is None and self.wait_until is None


def turn(health: Health, limits: "Limits", caller: Caller, *, now: int, lease_ms: int) -> Turn:
    """Whether this caller may call now, must wait, or is the one to find out whether the vendor is back."""
    if health.is_open:
        return _turn_of_open(health, caller, now, lease_ms)
    slots = tuple(each for each in health.slots if each.until > now and each.holder != caller.name)
    full = limits.concurrency is not None and len(slots) >= limits.concurrency
    pause = _pause(health, limits, caller, now)
    if now < health.closed_until:
        return _promise(health, max(health.next_at, health.closed_until), pause, now)
    if full:
        per_slot = health.call_ms // (limits.concurrency or 1)
        return _promise(health, max(health.next_at, now + BUSY_MS // 2), max(pause, per_slot), now)
    kept = caller.promised_at is not None and caller.promised_at <= now + AT_ONCE_MS
    kept = kept and now < (caller.promised_at or 0) + PROMISE_MS
    if not kept and pause:
        start = max(now, health.next_at)
        if start > now + AT_ONCE_MS:
            return _promise(health, start, pause, now)
        health = replace(health, next_at=start + pause)
    elif limits.concurrency is None:
        return Turn()
    if limits.concurrency is not None:
        health = replace(health, slots=(*slots, Lease(caller.name, now + lease_ms)))
    return Turn(_written(health))


def _turn_of_open(health: Health, caller: Caller, now: int, lease_ms: int) -> Turn:
    others_first = caller.name in health.failed or _is_suspect(health, caller, now)
    ready_at = health.retry_at + (OTHERS_FIRST_MS if others_first else 0)
    if now < ready_at:
        return Turn(wait_until=ready_at, spread=max(BUSY_MS, (health.retry_at - now) // 4))
    if health.trial is not None and health.trial.until > now and health.trial.holder != caller.name:
        return Turn(wait_until=now + BUSY_MS, spread=2 * BUSY_MS)
    return Turn(_written(replace(health, trial=Lease(caller.name, now + lease_ms))), is_trial=True)


def _is_suspect(health: Health, caller: Caller, now: int) -> bool:
    return any(each.holder == caller.job and each.until > now for each in health.suspects)


def _pause(health: Health, limits: "Limits", caller: Caller, now: int) -> int:
    """How long after this call the next one may be made."""
    per_minute = (limits.requests_per_minute, 1), (limits.characters_per_minute, caller.characters)
    known = [round(MINUTE_MS * amount / limit) for limit, amount in per_minute if limit]
    return max([learned_spacing(health, now), *known])


def learned_spacing(health: Health, now: int) -> int:
    """The pause between calls that refusals taught, as far as it is not yet unlearned."""
    halves = max(0, now - health.refused_at) / RECOVERY_MS
    spacing = round(health.spacing * 0.5 ** min(halves, 60))
    return spacing if spacing >= LEAST_SPACING_MS else 0


def _promise(health: Health, start: int, pause: int, now: int) -> Turn:
    """A turn of one's own, so that nobody is in a crowd when the gate opens; or, far ahead, a time to ask again."""
    opens = max(now, health.closed_until)
    if start > opens + HORIZON_MS or not pause:
        return Turn(wait_until=opens + (HORIZON_MS // 2 if pause else 0), spread=HORIZON_MS if pause else BUSY_MS)
    return Turn(_written(replace(health, next_at=start + pause)), wait_until=start, is_promised=True)


def ended(
    health: Health,
    caller: Caller,
    ending: Ending,
    *,
    now: int,
    took_ms: int = 0,
    reason: str | None = None,
    retry_after: float | None = None,
    was_unsent: bool = False,
    jitter: float = 0.0,
) -> Health | None:
    """What a call of this caller taught. `reason` is the error's code, `retry_after` what the vendor asked for.

    `was_unsent`: nothing of the request left, so that it is not for this segment's sake however often it fails.
    `jitter` is from 0 to 1.
    """
    changed = _given_back(health, caller, took_ms)
    on_trial = changed.trial is not None and changed.trial.holder == caller.name
    if ending is Ending.THROTTLED:
        # Turned away at the door, but by somebody who is there.
        changed = _refused(_closed(changed, caller, now) if on_trial else changed, now, retry_after, jitter)
    elif on_trial:
        answered = ending is Ending.ANSWERED
        changed = _closed(changed, caller, now) if answered else _opened(changed, caller, now, reason, jitter)
    elif changed.is_open:
        pass  # the call began before: whoever is on trial knows better
    elif ending is Ending.ANSWERED:
        changed = replace(changed, failed=(), refusals=0)
    elif ending is Ending.OUT and not _is_suspect(changed, caller, now):
        changed = _opened(changed, caller, now, reason, jitter)
    elif ending is Ending.FAILED:
        names = [caller.name]
        if was_unsent:
            names = [f"{caller.name}#{len(changed.failed) + each}" for each in range(UNSENT_COUNTS)]
        failed = tuple(dict.fromkeys((*changed.failed, *names)))
        changed = replace(changed, failed=failed)
        if len(failed) >= MOST_FAILURES:
            changed = _opened(changed, caller, now, reason, jitter)
    return None if changed == health else _written(changed)


def probed(health: Health, caller: Caller, *, now: int) -> Health | None:
    """The vendor answered a free question, but this caller's text may have been bought before.

    Another segment is to make the call that proves it. Where none comes by, the second answer is proof enough.
    """
    if health.trial is None or health.trial.holder != caller.name:
        return None
    if health.is_probed:
        return _written(_closed(health, caller, now))
    return _written(replace(health, trial=None, is_probed=True, retry_at=now + BUSY_MS))


def given_back(health: Health, caller: Caller) -> Health | None:
    """No call was made after all."""
    changed = _given_back(health, caller, 0)
    if changed.trial is not None and changed.trial.holder == caller.name:
        changed = replace(changed, trial=None)
    return None if changed == health else _written(changed)


def _given_back(health: Health, caller: Caller, took_ms: int) -> Health:
    slots = tuple(each for each in health.slots if each.holder != caller.name)
    if len(slots) == len(health.slots):
        return health
    call_ms = (3 * health.call_ms + took_ms) // 4 if health.call_ms and took_ms else took_ms or health.call_ms
    return replace(health, slots=slots, call_ms=call_ms)


def _refused(health: Health, now: int, retry_after: float | None, jitter: float) -> Health:
    low, high = REFUSAL_SECONDS
    if now < health.closed_until:
        # Begun before the gate was closed: the same storm, from which one lesson is enough.
        asked = now + round(1000 * min(high, max(low, retry_after or low)))
        return replace(health, closed_until=max(health.closed_until, asked))
    refusals = health.refusals + 1
    wait = min(high, max(low, retry_after or 2.0 ** min(refusals, 10)))
    spacing = min(LONGEST_SPACING_MS, max(FIRST_SPACING_MS, 2 * learned_spacing(health, now)))
    closed_until = now + round(1000 * wait * (1 + 0.1 * jitter))
    return replace(
        health,
        closed_until=closed_until,
        spacing=spacing,
        refused_at=now,
        refusals=refusals,
    )


def _opened(health: Health, caller: Caller, now: int, reason: str | None, jitter: float) -> Health:
    """Open, or open still: the next trial is later than the last one."""
    same = (reason == GONE) == (health.reason == GONE)  # only who is found gone again and again is gone
    trials = 0 if not health.is_open else health.trials + 1 if same else 1
    wait = min(LONGEST_WAIT_MS, FIRST_WAIT_MS << min(trials, 10))
    return replace(
        health,
        failed=tuple(dict.fromkeys((*health.failed, caller.name)))[-MOST_NAMES:],
        open_since=now if health.open_since is None else health.open_since,
        reason=reason or health.reason,
        retry_at=now + round(wait * (1 + 0.1 * jitter)),
        trials=trials,
        trial=None,
        is_probed=False,
    )


def _closed(health: Health, caller: Caller, now: int) -> Health:
    refused = {name.partition("/")[0]: now + SUSPECT_MS for name in health.failed}
    known = {each.holder: each.until for each in health.suspects if each.until > now}
    suspects = {**known, **refused}
    suspects.pop(caller.job, None)
    return replace(
        health,
        failed=(),
        open_since=None,
        reason=None,
        retry_at=0,
        trials=0,
        trial=None,
        is_probed=False,
        suspects=tuple(Lease(*each) for each in list(suspects.items())[-MOST_NAMES:]),
    )


def _written(health: Health) -> Health:
    return replace(health, rev=health.rev + 1)
