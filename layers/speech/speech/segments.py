"""What a segment is: its states, its attempts, and the arrows between states. No I/O.

Every function that moves a segment returns a new one with `rev` one higher; a store accepts it only
while the row still has the revision it came from. That condition is the fence: a worker that was
paused past its lease holds an old revision, and its write changes nothing.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from speech.errors import IllegalTransition


class SegmentStatus(StrEnum):
    PENDING = "pending"
    CALLING = "calling"
    WAITING = "waiting"
    STORED = "stored"
    FAILED = "failed"


TRANSITIONS: dict[SegmentStatus, frozenset[SegmentStatus]] = {
    SegmentStatus.PENDING: frozenset({SegmentStatus.CALLING, SegmentStatus.STORED, SegmentStatus.FAILED}),
    SegmentStatus.CALLING: frozenset(
        {SegmentStatus.WAITING, SegmentStatus.STORED, SegmentStatus.PENDING, SegmentStatus.FAILED}
    ),
    SegmentStatus.WAITING: frozenset({SegmentStatus.STORED, SegmentStatus.PENDING, SegmentStatus.FAILED}),
    SegmentStatus.STORED: frozenset(),
    SegmentStatus.FAILED: frozenset(),
}


TAKE = 100_000
"""From here on are the indexes of the second narrator's segments, and so on: no take has as many."""


class Outcome(StrEnum):
    """What became of one vendor call. `ambiguous`: it may have been billed and we cannot know."""

    SETTLED = "settled"
    RELEASED = "released"
    AMBIGUOUS = "ambiguous"


class Entry(StrEnum):
    """Where a vendor call stands in the ledger: first meant, then made, then one of the three outcomes."""

    RESERVED = "reserved"
    SENT = "sent"
    SETTLED = "settled"
    RELEASED = "released"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One vendor call, written before the call is made. Times are epoch milliseconds.

    `amount` is in US dollars, None where the price is not known: the most it may come to while that is all
    that can be said, then what it came to. What was released came to nothing, and has none. `verdict` is why
    its audio was refused.
    """

    number: int
    started_at: int
    outcome: Outcome | None = None
    ended_at: int | None = None
    request_id: str | None = None
    credits: float | None = None
    problem_code: str | None = None
    vendor: str | None = None
    characters: int | None = None
    amount: float | None = None
    verdict: str | None = None

    @property
    def entry(self) -> Entry:
        return Entry.SENT if self.outcome is None else Entry(self.outcome.value)

    @property
    def may_be_billed(self) -> bool:
        return self.outcome is not Outcome.RELEASED


@dataclass(frozen=True, slots=True)
class SegmentAudio:
    """Verified audio at rest. `frames` counts samples per channel; `sample_rate` is in Hz.

    The rest is the verdict, as far as it was recorded: `loudness` is the RMS in dB below full scale,
    `repairs` names what was mended in the file, `pace` is in characters a second.
    """

    container: str
    sample_rate: int
    channels: int
    frames: int
    bytes: int
    sha256: str
    codec: str | None = None
    loudness: float | None = None
    pace: float | None = None
    repairs: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a job's text: one vendor call. Offsets are into the job's stored UTF-8 text, in bytes.

    `sounds` and `read_out` bound how long its speech may be (speech.text.reading.spoken_bounds).
    `audio_key` names the content: a hash of everything that affects the sound. All times are epoch
    milliseconds: `lease_until` is when a `calling` segment may be taken over, `not_before` when a `pending`
    one may be called at the earliest, `due_at` when `sweep` takes an interest. `checks` counts what was
    asked of the vendor since it was called, `sends` how often `sweep` has sent this segment again.
    `hops` counts the messages that led from one call to the next without the sweep between them.
    `promised_at` is the turn that the vendor's gate has kept for it.
    `index` is the row's name; the order of speech is that of `start`. `is_split`: cut anew, for its length.
    `reserved` is the most that its next call, or the one that is under way, may come to; None: not known.
    `take` is the narrator's, counted from 0: rows of another take than the job's are none of its speech.
    `refusals` counts the calls that the vendor turned away at its door, which are no attempts.
    """

    tenant: str
    job_id: str
    index: int
    start: int
    end: int
    characters: int
    audio_key: str
    sounds: int | None = None
    read_out: int | None = None
    status: SegmentStatus = SegmentStatus.PENDING
    rev: int = 1
    attempts: tuple[Attempt, ...] = ()
    due_at: int | None = None
    lease_until: int | None = None
    vendor_job_id: str | None = None
    not_before: int | None = None
    checks: int = 0
    sends: int = 0
    hops: int = 0
    is_split: bool = False
    promised_at: int | None = None
    audio: SegmentAudio | None = None
    problem: dict[str, Any] | None = None
    reserved: float | None = None
    refusals: int = 0
    take: int = 0

    @property
    def is_terminal(self) -> bool:
        return not TRANSITIONS[self.status]

    @property
    def calls(self) -> int:
        return len(self.attempts)

    @property
    def ledger(self) -> tuple[Entry, ...]:
        """Where each call stands, oldest first. A pending row is the reservation of its next one."""
        meant = (Entry.RESERVED,) if self.status is SegmentStatus.PENDING else ()
        return (*(attempt.entry for attempt in self.attempts), *meant)


class Claim(NamedTuple):
    """Who buys an audio that several may want: this segment. `token` tells one claim from the next."""

    job_id: str
    segment: int
    token: str


def _moved(segment: Segment, to: SegmentStatus, **changes: Any) -> Segment:
    if to not in TRANSITIONS[segment.status]:
        raise IllegalTransition(f"A segment cannot go from {segment.status} to {to}.")
    return replace(segment, status=to, rev=segment.rev + 1, **changes)


def _closed(
    segment: Segment,
    now: int,
    outcome: Outcome,
    *,
    amount: float | None = None,
    request_id: str | None = None,
    **facts: Any,
) -> tuple[Attempt, ...]:
    """The attempts with the open one ended. Without an open attempt nothing was called: unchanged.

    Where nobody knows what a call came to, the most that it may have come to stands.
    """
    if not segment.attempts or segment.attempts[-1].outcome is not None:
        return segment.attempts
    last = segment.attempts[-1]
    if outcome is Outcome.RELEASED:
        amount = None
    elif amount is None:
        amount = last.amount
    ended = replace(
        last, outcome=outcome, ended_at=now, amount=amount, request_id=request_id or last.request_id, **facts
    )
    return (*segment.attempts[:-1], ended)


def claim(segment: Segment, *, now: int, lease_ms: int, vendor: str | None = None) -> Segment:
    """pending → calling: the attempt is written down before the vendor hears of it."""
    attempt = Attempt(
        number=segment.calls + 1,
        started_at=now,
        vendor=vendor,
        characters=segment.characters,
        amount=segment.reserved,
    )
    return _moved(
        segment,
        SegmentStatus.CALLING,
        attempts=(*segment.attempts, attempt),
        lease_until=now + lease_ms,
        due_at=now + lease_ms,
        vendor_job_id=None,
        not_before=None,
        promised_at=None,
        problem=None,
        checks=0,
        sends=0,
    )


def take_over(segment: Segment, *, now: int, lease_ms: int) -> Segment:
    """Stay in calling under a new lease: whoever held the old one is fenced off."""
    if segment.status is not SegmentStatus.CALLING or (segment.lease_until or 0) > now:
        raise IllegalTransition("Only a calling segment whose lease has ended can be taken over.")
    return replace(segment, rev=segment.rev + 1, lease_until=now + lease_ms, due_at=now + lease_ms)


def wait_for_vendor(segment: Segment, *, due_at: int, vendor_job_id: str, request_id: str | None = None) -> Segment:
    """calling → waiting: the vendor has a job of its own; we check it at `due_at`."""
    last = replace(segment.attempts[-1], request_id=request_id or segment.attempts[-1].request_id)
    return _moved(
        segment,
        SegmentStatus.WAITING,
        vendor_job_id=vendor_job_id,
        due_at=due_at,
        lease_until=None,
        attempts=(*segment.attempts[:-1], last),
    )


def postpone(
    segment: Segment,
    *,
    due_at: int | None,
    checked: bool = False,
    sent: bool = False,
    problem: dict[str, Any] | None = None,
) -> Segment:
    """Stay in the same state and come due later; never again with `due_at` None (its job has ended)."""
    if segment.is_terminal:
        raise IllegalTransition(f"A {segment.status} segment never comes due.")
    return replace(
        segment,
        rev=segment.rev + 1,
        due_at=due_at,
        checks=segment.checks + (1 if checked else 0),
        sends=segment.sends + (1 if sent else 0),
        hops=0 if sent else segment.hops,
        problem=problem if problem is not None else segment.problem,
    )


def hold(
    segment: Segment, *, not_before: int, due_at: int, promised_at: int | None, problem: dict[str, Any] | None
) -> Segment:
    """Stay pending until the vendor's gate lets it in. Nothing was called."""
    if segment.status is not SegmentStatus.PENDING:
        raise IllegalTransition(f"A {segment.status} segment does not wait for its turn.")
    return replace(
        segment,
        rev=segment.rev + 1,
        not_before=not_before,
        due_at=due_at,
        promised_at=promised_at,
        hops=segment.hops + 1,
        sends=0,
        problem=problem if problem is not None else segment.problem,
    )


def release_lease(segment: Segment, *, now: int, due_at: int, problem: dict[str, Any]) -> Segment:
    """Stay in calling with nobody at work: what the call did is to be found out by a check."""
    return replace(
        segment,
        rev=segment.rev + 1,
        lease_until=now,
        due_at=due_at,
        checks=segment.checks + 1,
        problem=problem,
    )


def store(
    segment: Segment,
    audio: SegmentAudio,
    *,
    now: int,
    outcome: Outcome = Outcome.SETTLED,
    request_id: str | None = None,
    credits: float | None = None,
    amount: float | None = None,
) -> Segment:
    """→ stored: verified audio lies under `audio_key`. From pending, nothing was bought."""
    return _moved(
        segment,
        SegmentStatus.STORED,
        audio=audio,
        due_at=None,
        lease_until=None,
        problem=None,
        attempts=_closed(segment, now, outcome, amount=amount, request_id=request_id, credits=credits),
    )


def retry(
    segment: Segment,
    *,
    now: int,
    not_before: int,
    due_at: int,
    outcome: Outcome,
    problem: dict[str, Any],
    request_id: str | None = None,
    credits: float | None = None,
    amount: float | None = None,
    verdict: str | None = None,
) -> Segment:
    """calling | waiting → pending: this attempt is over, another may be made from `not_before`."""
    facts: dict[str, Any] = {"problem_code": problem.get("code"), "verdict": verdict}
    return _moved(
        segment,
        SegmentStatus.PENDING,
        not_before=not_before,
        due_at=due_at,
        hops=segment.hops + 1,
        lease_until=None,
        vendor_job_id=None,
        problem=problem,
        attempts=_closed(segment, now, outcome, amount=amount, request_id=request_id, credits=credits, **facts),
    )


def forgo(segment: Segment, *, not_before: int, due_at: int, problem: dict[str, Any]) -> Segment:
    """calling → pending as if nothing had been called: the vendor turned us away at the door."""
    return _moved(
        segment,
        SegmentStatus.PENDING,
        not_before=not_before,
        due_at=due_at,
        hops=segment.hops + 1,
        refusals=segment.refusals + 1,
        lease_until=None,
        problem=problem,
        attempts=segment.attempts[:-1],
    )


def shrink(segment: Segment, to: Segment, *, now: int) -> Segment:
    """calling → pending with less text: the vendor turned the whole away for its length. Once only."""
    if segment.is_split:
        raise IllegalTransition("A segment is split once at most.")
    return _moved(
        segment,
        SegmentStatus.PENDING,
        end=to.end,
        characters=to.characters,
        sounds=to.sounds,
        read_out=to.read_out,
        audio_key=to.audio_key,
        reserved=to.reserved,
        is_split=True,
        not_before=now,
        due_at=to.due_at,
        lease_until=None,
        attempts=segment.attempts[:-1],
    )


def fail(
    segment: Segment,
    *,
    now: int,
    outcome: Outcome,
    problem: dict[str, Any],
    request_id: str | None = None,
    credits: float | None = None,
    amount: float | None = None,
    verdict: str | None = None,
) -> Segment:
    """→ failed: for good."""
    facts: dict[str, Any] = {"problem_code": problem.get("code"), "verdict": verdict}
    return _moved(
        segment,
        SegmentStatus.FAILED,
        due_at=None,
        lease_until=None,
        problem=problem,
        attempts=_closed(segment, now, outcome, amount=amount, request_id=request_id, credits=credits, **facts),
    )


def lose(segment: Segment, *, now: int) -> Segment:
    """stored → pending, the one way back: its audio is there no longer, for another job that had it was erased."""
    if segment.status is not SegmentStatus.STORED:
        raise IllegalTransition(f"A {segment.status} segment has no audio to lose.")
    return replace(
        segment, status=SegmentStatus.PENDING, rev=segment.rev + 1, audio=None, not_before=now, due_at=now, hops=0
    )


def doubt(segment: Segment, number: int, *, problem_code: str) -> Segment | None:
    """A call that was taken for one that never left was made after all: nobody knows what it came to.

    None: nothing else is known of that call than what is written down.
    """
    attempts = tuple(
        replace(each, outcome=Outcome.AMBIGUOUS, problem_code=problem_code)
        if each.number == number and each.outcome is Outcome.RELEASED
        else each
        for each in segment.attempts
    )
    return None if attempts == segment.attempts else replace(segment, rev=segment.rev + 1, attempts=attempts)


def stop(segment: Segment, *, now: int, problem: dict[str, Any]) -> Segment:
    """Its job has ended: nothing more is bought or asked for. What an open call came to, nobody will know.

    A pending segment stays so, one revision later: whoever was about to claim it is fenced off.
    """
    if segment.status is SegmentStatus.PENDING:
        return postpone(segment, due_at=None)
    return fail(segment, now=now, outcome=Outcome.AMBIGUOUS, problem=problem)


def is_stopped(segment: Segment, *, now: int) -> bool:
    """Whether `stop` has nothing to do, or not yet: who holds a live lease writes down what became of the call."""
    if segment.status is SegmentStatus.CALLING:
        return (segment.lease_until or 0) > now
    return segment.is_terminal or (segment.status is SegmentStatus.PENDING and segment.due_at is None)
