"""Write down what became of a vendor call: audio stored, still working, to be tried again, or failed."""

import hashlib
import random
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from speech import jobs, problems, segments
from speech.audio.pace import Paces
from speech.errors import (
    OverBudget,
    SpeechError,
    StaleWrite,
    StoreUnavailable,
    UnsupportedContainer,
    UnusableAudio,
    VendorAmbiguous,
    VendorError,
    VendorGone,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorTextTooLong,
    VendorThrottled,
    VendorUnauthorized,
)
from speech.jobs import Job
from speech.messages import CheckSegment, StartSegment
from speech.observability import count, logger
from speech.ports import Clock, Dispatcher, JobStore, SegmentStore
from speech.prices import came_to
from speech.segments import TAKE, Outcome, Segment, SegmentAudio, SegmentStatus
from speech.settings import Settings
from speech.usecases.change_narrator import ChangeNarrator
from speech.usecases.finish_job import FinishJob, budget_change
from speech.usecases.plan_segments import plan_segments
from speech.vendors.base import AudioReady, StillWorking

if TYPE_CHECKING:
    from speech.audio.verify import VerifiedAudio

DELAYED_CHECKS = 4
"""How many checks are sent with a delay; after these, `due_at` and the sweep."""

LATE_TRIES = 3

SPLIT_TRIES = 20
"""How often to try again when other segments of the job are split at the same moment."""

MOST_PIECES = 90
"""As many as fit into the transaction that splits a segment."""

LONGEST_CHAIN = 4
"""How many messages may lead from call to call before the sweep takes over: the platform takes a function
that keeps sending to its own queue for a runaway loop, and cuts it off."""

HOPS_WITH_CHECKS = 2
"""In how many calls of such a chain a check may lead to the next: checks follow one another there, too."""

BACKOFF_CAP_SECONDS = 60.0
SLOW_WAIT_SECONDS = 60.0
"""How long to wait before looking again at a vendor that wants money or another key."""

DELAY_GRACE_SECONDS = 15.0
"""How long after its message should have come a segment is overdue."""


def _may_send_check(segment: Segment) -> bool:
    """Whether a check may lead to the next one; at most 13 follow one another before the sweep takes over."""
    return segment.checks < DELAYED_CHECKS and segment.hops < HOPS_WITH_CHECKS


def backoff_seconds(attempt: int, rng: Callable[[], float] = random.random) -> float:
    """Capped exponential backoff with jitter: 1-2 s after the first attempt, 2-4 s after the second."""
    return min(BACKOFF_CAP_SECONDS, 2.0**attempt) * (0.5 + rng() / 2)


class _Bill(NamedTuple):
    """What a call that brought nothing may be billed as."""

    outcome: Outcome
    request_id: str | None = None
    credits: float | None = None
    amount: float | None = None
    verdict: str | None = None

    @classmethod
    def of(cls, error: SpeechError, job: Job, segment: Segment) -> "_Bill":
        if isinstance(error, VendorAmbiguous):
            outcome = Outcome.AMBIGUOUS
        elif isinstance(error, VendorGone) and error.is_free and segment.vendor_job_id is None:
            outcome = Outcome.RELEASED
        elif isinstance(error, UnusableAudio | VendorMisbehaved) or segment.vendor_job_id is not None:
            # A job that the vendor had taken on counts as bought, however it ends: no document says otherwise.
            outcome = Outcome.SETTLED
        else:
            outcome = Outcome.RELEASED
        credits = getattr(error, "credits", None)
        amount = came_to(job.price, characters=segment.characters, credits=credits)
        verdict = error.reason if isinstance(error, UnusableAudio) else None
        return cls(outcome, getattr(error, "request_id", None), credits, amount, verdict)


@dataclass(frozen=True, slots=True)
class SettleSegment:
    store: JobStore
    audio: SegmentStore
    dispatcher: Dispatcher
    clock: Clock
    settings: Settings
    finish: FinishJob
    change: ChangeNarrator
    paces: Paces = field(default_factory=Paces)

    def audio_ready(self, job: Job, segment: Segment, ready: AudioReady) -> None:
        """Verify the bytes, store them under their content, then say so in the row.

        Raises UnusableAudio when they are not audio.
        """
        try:
            verified = self._verified(job, segment, ready)
        except UnusableAudio as error:
            error.request_id, error.credits = ready.request_id, ready.credits
            raise
        facts = SegmentAudio(
            container=verified.container,
            sample_rate=verified.sample_rate,
            channels=verified.channels,
            frames=verified.frames,
            bytes=len(verified.data),
            sha256=hashlib.sha256(verified.data).hexdigest(),
            codec=verified.codec,
            loudness=verified.loudness,
            pace=round(_sounds(segment) / verified.seconds, 1) or None,
            repairs=verified.repairs,
        )
        # Two workers may have bought the same content at once: the row describes the take that stayed.
        facts = self.audio.put_audio(segment.audio_key, verified.data, facts)
        stored = segments.store(
            segment,
            facts,
            now=self.clock.now(),
            request_id=ready.request_id,
            credits=ready.credits,
            # For what came, which need not be the take that stayed.
            amount=came_to(job.price, characters=segment.characters, credits=ready.credits, seconds=verified.seconds),
        )
        self.finish.store_segment(job, segment, stored)
        count("AudioSeconds", facts.seconds)

    def _verified(self, job: Job, segment: Segment, ready: AudioReady) -> "VerifiedAudio":
        from speech.audio.verify import verify

        sounds, read_out = _sounds(segment), segment.read_out or segment.characters
        speed = (job.spec.speed if job.spec else None) or 1.0
        verified = verify(
            ready.data,
            # Ten times slower is no implausible duration where it was asked for.
            characters=int(sounds / max(speed, 1.0)),
            at_most=int(read_out / min(speed, 1.0)),
            media_type=ready.media_type,
        )
        voice = _voice(job, segment)
        unusual = self.paces.is_unusual(voice, characters=sounds, at_most=read_out, seconds=verified.heard)
        # Once only: what takes as long again is as long as its text.
        if unusual and segment.calls <= 1:
            raise UnusableAudio(
                "implausible-duration", f"{verified.heard:.1f} seconds are far from what this voice takes for its text."
            )
        self.paces.learn(voice, characters=sounds, seconds=verified.heard)
        return verified

    def still_working(self, segment: Segment, working: StillWorking) -> None:
        """calling → waiting: the vendor's job is on the row before the first check is sent."""
        due_at = self._after(working.check_after + DELAY_GRACE_SECONDS)
        waiting = segments.wait_for_vendor(
            segment, due_at=due_at, vendor_job_id=working.vendor_job_id, request_id=working.request_id
        )
        self.store.save_segment(waiting)
        self.send_check(waiting, delay=working.check_after)

    def not_yet(
        self, segment: Segment, *, check_after: float, delayed: bool, problem: problems.Problem | None = None
    ) -> None:
        """Stay waiting for `check_after` seconds at least; a few more delayed checks, then only `due_at`."""
        delay = max(check_after, min(SLOW_WAIT_SECONDS, check_after * 2.0**segment.checks))
        again = delayed and _may_send_check(segment)
        wait = delay + DELAY_GRACE_SECONDS if again else max(check_after, SLOW_WAIT_SECONDS)
        later = segments.postpone(segment, due_at=self._after(wait), checked=True, problem=problem)
        self.store.save_segment(later)
        if again:
            self.send_check(later, delay=delay)

    def call_failed(self, job: Job, segment: Segment, error: SpeechError) -> None:
        """A vendor call ended without audio: decide by the error whether, and when, to call again."""
        problem = problems.problem_from(_as_vendor_error(error, job), job_id=job.id)
        self._note(segment, error)
        bill = _Bill.of(error, job, segment)
        if isinstance(error, VendorThrottled):
            wait = error.retry_after or backoff_seconds(segment.calls + 1)
            self._call_later(job, segment, problem, wait)
        elif isinstance(error, VendorQuotaExhausted | VendorUnauthorized) and bill.outcome is Outcome.RELEASED:
            if self.change.is_allowed(job, segment):
                self._fail(job, segment, problem, bill)
            else:
                self._call_later(job, segment, problem, SLOW_WAIT_SECONDS)
        elif isinstance(error, VendorAmbiguous):
            self.ambiguous(job, segment, problem, bill)
        elif isinstance(error, UnusableAudio) and error.reason == "unsupported-container":
            self._fail(job, segment, problem, bill)
        elif error.retryable or isinstance(error, UnusableAudio | VendorQuotaExhausted):
            self._retry_or_fail(job, segment, problem, bill)
        else:
            self._fail(job, segment, problem, bill)

    def not_called(self, job: Job, segment: Segment, error: VendorError) -> None:
        """The vendor is not to be asked at all, and no waiting helps: the pending segment fails."""
        self._note(segment, error)
        self._fail(job, segment, problems.problem_from(error, job_id=job.id), _Bill(Outcome.RELEASED))

    def wait_for_turn(
        self, job: Job, segment: Segment, wait: float, *, is_promised: bool, problem: problems.Problem | None
    ) -> None:
        """Stay pending for `wait` seconds: the vendor's gate lets it in no sooner. Nothing was called."""
        not_before = self._after(wait)
        held = segments.hold(
            segment,
            not_before=not_before,
            due_at=self._overdue(segment, wait),
            promised_at=not_before if is_promised else None,
            problem=problem,
        )
        self.store.save_segment(held)
        self._send_again(job, held, wait)

    def too_long(self, job: Job, segment: Segment, text: str, error: VendorTextTooLong) -> None:
        """The vendor's real limit is lower than documented: cut this segment anew, once."""
        count("SegmentsSplit")
        limit = min(error.limit or len(text), (len(text) + 1) // 2)
        if segment.is_split or job.spec is None or limit < 1:
            self.call_failed(job, segment, error)
            return
        for _ in range(SPLIT_TRIES):
            now = self.clock.now()
            due_at = self._after(self.settings.lease_seconds)
            current = self.store.get(job.tenant, job.id)
            if current is None or current.spec is None or current.segments_total is None:
                return
            if current.is_terminal or current.take != segment.take or current.held is not None:
                self.call_failed(job, segment, error)
                return
            pieces = plan_segments(current, current.spec, text, limit=limit, due_at=due_at, first_byte=segment.start)
            if len(pieces) > MOST_PIECES:
                self.call_failed(job, segment, error)
                return
            shrunk = segments.shrink(segment, pieces[0], now=now)
            added = [
                replace(piece, index=current.take * TAKE + current.segments_total + position, is_split=True)
                for position, piece in enumerate(pieces[1:])
            ]
            change = budget_change(current, segment, shrunk, *added)
            try:
                self.store.split(
                    jobs.add_segments(current, len(added)), shrunk, added, change=change, limit=current.budget
                )
            except StaleWrite:
                continue  # another segment of this job was split meanwhile
            except OverBudget:
                self.call_failed(job, segment, error)
                return
            for each in (shrunk, *added):
                self.send_start(current, each, delay=0)
            return
        raise StoreUnavailable("The job is changing too fast; try again shortly.")

    def ambiguous(self, job: Job, segment: Segment, problem: problems.Problem, bill: "_Bill | None" = None) -> None:
        """The call may have been billed and nobody can know: one more at most, and flagged."""
        count("AmbiguousCalls")
        bill = bill or _Bill(Outcome.AMBIGUOUS)
        before = any(attempt.outcome is Outcome.AMBIGUOUS for attempt in segment.attempts)
        if not before and segment.calls < self.settings.segment_attempts:
            self._retry_or_fail(job, segment, problem, bill)
            return
        known = self.audio.find_audio(segment.audio_key)
        if known is None:
            self._fail(job, segment, problem, bill)
            return
        # Whoever made the last call died between storing its audio and saying so: there is nothing left to buy.
        stored = segments.store(segment, known, now=self.clock.now(), outcome=Outcome.AMBIGUOUS)
        self.finish.store_segment(job, segment, stored)

    def released(self, job: Job, segment: Segment, problem: problems.Problem) -> None:
        """The vendor says that it made no job for the lost call: nothing was bought."""
        self._retry_or_fail(job, segment, problem, _Bill(Outcome.RELEASED))

    def came_late(self, job: Job, calling: Segment, error: SpeechError | None = None) -> Segment | None:
        """A worker stood still for longer than its lease, and made its call all the same: put down that it was made.

        The row where that very call is still open: what it came to can be put down after all. That fences off who only
        asks the vendor about it, which may have been too soon. Whoever makes a call of its own is fenced off as well,
        when an earlier one is put down, and finds here where its own is still open.
        """
        if self.clock.now() >= (calling.lease_until or 0):
            count("CallsAfterTheirLease")
        for _ in range(LATE_TRIES):
            row = self.store.segment(calling.tenant, calling.job_id, calling.index)
            if row is None:
                return None
            if row.status is SegmentStatus.CALLING and row.calls == calling.calls:
                return row
            if error is not None and _Bill.of(error, job, calling).outcome is Outcome.RELEASED:
                return None  # it was turned away: what is written down is true
            doubted = segments.doubt(row, calling.calls, problem_code=VendorAmbiguous.code)
            if doubted is None:
                return None
            try:
                change = budget_change(job, row, doubted)
                if change:
                    self.store.save_within([doubted], change=change, limit=None)
                else:
                    self.store.save_segment(doubted)
            except StaleWrite:
                continue
            return None
        return None

    def unknown_outcome(self, segment: Segment, problem: problems.Problem, *, delay: float) -> None:
        """The call's answer was lost but the vendor can be asked: leave it to a check, and later to `due_at`."""
        again = _may_send_check(segment)
        wait = delay + DELAY_GRACE_SECONDS if again else SLOW_WAIT_SECONDS
        lost = segments.release_lease(segment, now=self.clock.now(), due_at=self._after(wait), problem=problem)
        self.store.save_segment(lost)
        if again:
            self.send_check(lost, delay=delay)

    def send_check(self, segment: Segment, *, delay: float, hint: str | None = None) -> None:
        self.dispatcher.check(
            CheckSegment(
                tenant=segment.tenant,
                job_id=segment.job_id,
                segment=segment.index,
                attempt=segment.calls,
                hint=hint,
            ),
            delay=delay,
        )

    def send_start(self, job: Job, segment: Segment, *, delay: float) -> None:
        if job.spec is None:
            return
        message = StartSegment(segment.tenant, segment.job_id, segment.index, vendor=job.spec.vendor)
        self.dispatcher.start(job.spec.vendor, [message], delay=delay)

    def _call_later(self, job: Job, segment: Segment, problem: problems.Problem, wait: float) -> None:
        later = segments.forgo(
            segment, not_before=self._after(wait), due_at=self._overdue(segment, wait), problem=problem
        )
        self.store.save_segment(later)
        self._send_again(job, later, wait)

    def _retry_or_fail(self, job: Job, segment: Segment, problem: problems.Problem, bill: "_Bill") -> None:
        if segment.calls >= self.settings.segment_attempts:
            self._fail(job, segment, problem, bill)
            return
        wait = backoff_seconds(segment.calls)
        again = segments.retry(
            segment,
            now=self.clock.now(),
            not_before=self._after(wait),
            due_at=self._overdue(segment, wait),
            problem=problem,
            **bill._asdict(),
        )
        try:
            self.finish.save_segment(job, segment, again)
        except OverBudget as error:
            count("BudgetsReached")
            self._fail(job, segment, {**problem, "detail": f"{problem['detail']} {error.detail}"}, bill)
            return
        self._send_again(job, again, wait)

    def _fail(self, job: Job, segment: Segment, problem: problems.Problem, bill: "_Bill") -> None:
        failed = segments.fail(segment, now=self.clock.now(), problem=problem, **bill._asdict())
        self.finish.save_segment(job, segment, failed)
        self.store.count(segment.tenant, segment.job_id, take=segment.take, failed=1, calls=failed.calls)
        # Another segment ends the job at this moment, or the sweep does. A caller must not take that for its own row.
        with suppress(StaleWrite):
            self.change(job, problem)

    def _overdue(self, segment: Segment, wait: float) -> int:
        """When the sweep is to send this segment: at once where no message will, else when that is late."""
        return self._after(wait if segment.hops >= LONGEST_CHAIN else wait + DELAY_GRACE_SECONDS)

    def _send_again(self, job: Job, segment: Segment, wait: float) -> None:
        if segment.hops <= LONGEST_CHAIN:
            self.send_start(job, segment, delay=wait)

    def _after(self, seconds: float) -> int:
        return self.clock.now() + int(seconds * 1000)

    def _note(self, segment: Segment, error: SpeechError) -> None:
        count("VendorCallsFailed")
        logger.warning(
            "vendor call failed",
            extra={
                "job_id": segment.job_id,
                "segment": segment.index,
                "code": error.code,
                "reason": getattr(error, "reason", None),
                "vendor_status": getattr(error, "vendor_status", None),
                "vendor_code": getattr(error, "vendor_code", None),
                "vendor_request_id": getattr(error, "request_id", None),
            },
        )


def _sounds(segment: Segment) -> int:
    return segment.characters if segment.sounds is None else segment.sounds


def _voice(job: Job, segment: Segment) -> Hashable:
    """Everything that the pace of speech depends on, but for its text.

    The bytes that a character takes tell Latin from Cyrillic from Chinese where no language was named, and what
    a text may come to when read out tells prose from tables of numbers.
    """
    script = round((segment.end - segment.start) / max(segment.characters, 1))
    matter = round((segment.read_out or segment.characters) / max(_sounds(segment), 1))
    if job.spec is None:
        return script, matter
    spec = job.spec
    return spec.vendor, spec.voice, spec.language, spec.speed, repr(spec.vendor_options), script, matter


def _as_vendor_error(error: SpeechError, job: Job) -> SpeechError:
    """Audio that was refused is the vendor's misbehaviour: that is what the job's problem says."""
    if not isinstance(error, UnusableAudio) or job.spec is None:
        return error
    kind: type[VendorError] = UnsupportedContainer if error.reason == "unsupported-container" else VendorMisbehaved
    return kind(f"The audio was refused ({error.reason}): {error.detail}", vendor=job.spec.vendor)
