"""What a job is: its states, its results, and the arrows between states. No I/O.

As with segments, every arrow returns a new job with `rev` one higher, and a store accepts it only
while the row still has the revision it came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from speech.errors import IllegalTransition
from speech.prices import Price, dollars, millionths
from speech.segments import Segment


class JobStatus(StrEnum):
    ACCEPTED = "accepted"
    SYNTHESIZING = "synthesizing"
    ASSEMBLING = "assembling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.ACCEPTED: frozenset({JobStatus.SYNTHESIZING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.SYNTHESIZING: frozenset({JobStatus.ASSEMBLING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.ASSEMBLING: frozenset(
        {JobStatus.COMPLETED, JobStatus.SYNTHESIZING, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the text came from. `type` is api, upload or message; the rest only for uploads."""

    type: str
    bucket: str | None = None
    key: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """Only the opening of a text is spoken: as many segments as take so long, roughly. `segments` and `characters` are
    those of the whole."""

    seconds: int
    segments: int
    characters: int


@dataclass(frozen=True, slots=True)
class Spec:
    """What was asked for, with every default filled in: the part of a job that affects its sound.

    `lexicon` is what was left of the pronunciation lexicon for this text, word → respelling. It was settled when the
    job was accepted, so that whoever speaks a part of it, however late, speaks it the same way.
    """

    vendor: str
    voice: str | None
    language: str | None
    format: str
    sample_rate: int | None = None
    speed: float | None = None
    vendor_options: Mapping[str, Any] = field(default_factory=dict)
    lexicon: Mapping[str, str] = field(default_factory=dict)
    loudness: float | None = None
    trim_silence: bool = False
    """These two as jobs of earlier releases were joined; `speech.requests` has the defaults of today."""


@dataclass(frozen=True, slots=True)
class About:
    """What the finished file is to say about itself, as far as the sender said it. Changes no sound.

    `cover` is the name of our own copy of the picture, beside the job's text.
    """

    title: str | None = None
    author: str | None = None
    date: str | None = None
    cover: str | None = None


@dataclass(frozen=True, slots=True)
class Narrator:
    """A voice that may speak the whole text, and what its vendor asked when the job was taken."""

    vendor: str
    voice: str | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A narrator who gave up: why it was to speak, and the code of the problem that ended that."""

    take: int
    vendor: str
    voice: str | None
    why: str
    ended_by: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What the vendor calls so far came to. Unknown is None and never shown as 0."""

    vendor_calls: int = 0
    amount: float | None = None
    credits: float | None = None
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Result:
    """The joined audio at rest. `key` is in the audio bucket, without suffix; versions pin re-drops.

    `chapters` is how many the file has; with any, a list of them lies beside it.
    """

    key: str
    format: str
    bytes: int
    duration_seconds: float
    sha256: str
    versions: Mapping[str, str] = field(default_factory=dict)
    chapters: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Counters beside the job row, so that parallel segments do not fight over it. A hint: rows decide.

    But for `committed`, which is exact: what a job with `max_cost` has reserved and spent, in millionths.
    `first_at` and `last_at` are when the first and the last of the segments was stored, in epoch milliseconds.
    """

    stored: int = 0
    failed: int = 0
    calls: int = 0
    committed: int = 0
    first_at: int | None = field(default=None, compare=False)
    last_at: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Job:
    """One request to speak a text. All times are epoch milliseconds.

    `spec` is None only in a job that was refused before its options could be understood. `text_id` names
    the stored text by job and content: a request that loses the race for an identity harms nobody's text.
    `lease_token` is who assembles now, until `lease_until`. `price` is what its vendor asked when it was taken.
    With `erased_at` it is a tombstone: that there was a job and how it ended, so that what made it does not make
    it again.

    One narrator speaks the whole of it: take 0 is the first, take n the n-th of `fallback`, and `spec`, `price`
    and `segments_total` are those of the take in force. `why` is why it speaks, `choice` how the first one was
    found where that was left to us, `turns` are those who gave up before. `held`: the narrator in force has
    given up for this problem; nothing more is asked of it, and what comes next waits for its last calls.

    `rendered` is, of a completed job, for how many of its segments a vendor was called; the others were there.
    """

    tenant: str
    id: str
    source: Source
    created_at: int
    updated_at: int
    deadline_at: int
    spec: Spec | None
    characters: int | None = None
    segments_total: int | None = None
    status: JobStatus = JobStatus.ACCEPTED
    rev: int = 1
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    request_id: str | None = None
    request_digest: str | None = None
    text_id: str = ""
    retry_of: str | None = None
    problem: dict[str, Any] | None = None
    result: Result | None = None
    cost: Cost | None = None
    due_at: int | None = None
    lease_token: str | None = None
    lease_until: int | None = None
    sends: int = 0
    price: Price | None = None
    max_cost: float | None = None
    fallback: tuple[Narrator, ...] = ()
    take: int = 0
    why: str = ""
    choice: dict[str, Any] | None = None
    turns: tuple[Turn, ...] = ()
    held: dict[str, Any] | None = None
    preview: Preview | None = None
    erased_at: int | None = None
    rendered: int | None = None
    about: About | None = None

    @property
    def may_change_narrator(self) -> bool:
        return self.status is JobStatus.SYNTHESIZING and self.spec is not None and self.take < len(self.fallback)

    @property
    def budget(self) -> int | None:
        """What may be reserved and spent together, in millionths of a US dollar; None: anything."""
        return None if self.max_cost is None else millionths(self.max_cost)

    @property
    def is_terminal(self) -> bool:
        return not TRANSITIONS[self.status]


def _moved(job: Job, to: JobStatus, now: int, **changes: Any) -> Job:
    if to not in TRANSITIONS[job.status]:
        raise IllegalTransition(f"A job cannot go from {job.status} to {to}.")
    return replace(job, status=to, rev=job.rev + 1, updated_at=now, **changes)


def begin_synthesis(job: Job, *, now: int, due_at: int) -> Job:
    """accepted → synthesizing: every segment row exists."""
    return _moved(job, JobStatus.SYNTHESIZING, now, due_at=min(due_at, job.deadline_at), sends=0)


def begin_assembly(job: Job, *, now: int, due_at: int) -> Job:
    """synthesizing → assembling: every segment is stored."""
    return _moved(job, JobStatus.ASSEMBLING, now, due_at=min(due_at, job.deadline_at), sends=0)


def resume_synthesis(job: Job, *, now: int) -> Job:
    """assembling → synthesizing: audio that was stored is there no longer, and has to be spoken anew."""
    return _moved(
        job, JobStatus.SYNTHESIZING, now, due_at=min(now, job.deadline_at), lease_token=None, lease_until=None, sends=0
    )


def postpone(job: Job, *, due_at: int, sent: bool = False) -> Job:
    """Stay in the same state and come due later, at the deadline at the latest: nobody else would end the job."""
    if job.is_terminal:
        raise IllegalTransition(f"A {job.status} job never comes due.")
    return replace(job, rev=job.rev + 1, due_at=min(due_at, job.deadline_at), sends=job.sends + (1 if sent else 0))


def add_segments(job: Job, added: int) -> Job:
    """Stay in synthesizing with more segments than were planned."""
    if job.status is not JobStatus.SYNTHESIZING or job.segments_total is None:
        raise IllegalTransition(f"A {job.status} job takes no more segments.")
    return replace(job, rev=job.rev + 1, segments_total=job.segments_total + added)


def hold(job: Job, problem: dict[str, Any], *, due_at: int) -> Job:
    """Stay in synthesizing, but ask nothing more of this narrator, who has given up for this problem."""
    if not job.may_change_narrator:
        raise IllegalTransition("Nobody else may speak this job.")
    return replace(job, rev=job.rev + 1, held=problem, due_at=min(due_at, job.deadline_at))


def next_take(job: Job, take: int, *, now: int, due_at: int) -> Job:
    """Stay in synthesizing with another narrator, from the first word on. Its segments are still to be planned."""
    if not job.may_change_narrator or job.spec is None or not job.take < take <= len(job.fallback):
        raise IllegalTransition("Nobody else may speak this job.")
    narrator, code = job.fallback[take - 1], str((job.held or {}).get("code"))
    return replace(
        job,
        rev=job.rev + 1,
        updated_at=now,
        take=take,
        spec=replace(job.spec, vendor=narrator.vendor, voice=narrator.voice, vendor_options={}),
        price=narrator.price,
        why=f"in place of {job.spec.vendor}: {code}",
        turns=(*job.turns, Turn(job.take, job.spec.vendor, job.spec.voice, job.why, code)),
        held=None,
        due_at=min(due_at, job.deadline_at),
    )


def lease_assembly(job: Job, *, token: str, now: int, lease_ms: int) -> Job:
    """Take or renew the assembly. A live lease of somebody else refuses."""
    if job.status is not JobStatus.ASSEMBLING:
        raise IllegalTransition(f"A {job.status} job is not to be assembled.")
    if job.lease_token not in (None, token) and (job.lease_until or 0) > now:
        raise IllegalTransition("Somebody else is assembling this job.")
    until = now + lease_ms
    return replace(job, rev=job.rev + 1, lease_token=token, lease_until=until, due_at=min(until, job.deadline_at))


def complete(job: Job, result: Result, *, cost: Cost, now: int, rendered: int | None = None) -> Job:
    """assembling → completed: the audio was checked and lies in the audio bucket."""
    return _moved(
        job,
        JobStatus.COMPLETED,
        now,
        result=result,
        cost=cost,
        rendered=rendered,
        due_at=None,
        lease_token=None,
        lease_until=None,
    )


def fail(job: Job, problem: dict[str, Any], *, cost: Cost, now: int) -> Job:
    """→ failed, with the problem that a person or a client reads."""
    return _moved(
        job, JobStatus.FAILED, now, problem=problem, cost=cost, due_at=None, lease_token=None, lease_until=None
    )


def cancel(job: Job, *, cost: Cost, now: int) -> Job:
    """→ cancelled: somebody wants no more of it."""
    return _moved(job, JobStatus.CANCELLED, now, cost=cost, due_at=None, lease_token=None, lease_until=None)


def erase(job: Job, *, now: int) -> Job:
    """The tombstone of a job that has ended: nothing of what it was about."""
    if not job.is_terminal:
        raise IllegalTransition(f"A job that is {job.status} has to end before it can be erased.")
    return Job(
        tenant=job.tenant,
        id=job.id,
        source=Source(type=job.source.type),
        created_at=job.created_at,
        updated_at=now,
        deadline_at=job.deadline_at,
        spec=None,
        status=job.status,
        rev=job.rev + 1,
        cost=job.cost,
        erased_at=now,
    )


def cost_of(segments: Iterable[Segment]) -> Cost:
    """What the attempts of these segments came to, as far as anyone knows.

    What may have been billed counts. One such call of unknown price makes the sum unknown; and that nothing
    was bought is a sum of 0 only where there is a price.
    """
    calls = 0
    credits: float | None = None
    billed: list[float | None] = []
    meant: list[float | None] = []
    for segment in segments:
        calls += segment.calls
        credits = _sum(credits, *(attempt.credits for attempt in segment.attempts))
        billed += [attempt.amount for attempt in segment.attempts if attempt.may_be_billed]
        meant.append(segment.reserved)
    known = billed or meant
    total = sum(map(millionths, billed))
    return Cost(vendor_calls=calls, credits=credits, amount=dollars(total) if known and None not in known else None)


def rendered(segments: Iterable[Segment]) -> int:
    """For how many of these segments this job bought a call, as far as anyone knows; the audio of the rest was there.

    From the attempts, which are written before a call is made and stay whatever dies.
    """
    return sum(any(attempt.may_be_billed for attempt in segment.attempts) for segment in segments)


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
