"""Write down what became of a vendor call: audio stored, still working, to be tried again, or failed."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from speech import problems, segments
from speech.errors import (
    SpeechError,
    UnsupportedContainer,
    UnusableAudio,
    VendorAmbiguous,
    VendorError,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorThrottled,
    VendorUnauthorized,
)
from speech.jobs import Job
from speech.messages import CheckSegment, StartSegment
from speech.observability import count, logger
from speech.ports import Clock, Dispatcher, JobStore, SegmentStore
from speech.segments import Outcome, Segment, SegmentAudio
from speech.settings import Settings
from speech.usecases.finish_job import FinishJob
from speech.vendors.base import AudioReady, StillWorking

DELAYED_CHECKS = 4
"""How many checks are sent with a delay; after these, `due_at` and the sweep."""

BACKOFF_CAP_SECONDS = 60.0
SLOW_WAIT_SECONDS = 60.0
"""How long to wait before looking again at a vendor that wants money or another key."""

DELAY_GRACE_SECONDS = 15.0
"""How long after its message should have come a segment is overdue."""


def backoff_seconds(attempt: int, rng: Callable[[], float] = random.random) -> float:
    """Capped exponential backoff with jitter: 1-2 s after the first attempt, 2-4 s after the second."""
    return min(BACKOFF_CAP_SECONDS, 2.0**attempt) * (0.5 + rng() / 2)


@dataclass(frozen=True, slots=True)
class SettleSegment:
    store: JobStore
    audio: SegmentStore
    dispatcher: Dispatcher
    clock: Clock
    settings: Settings
    finish: FinishJob

    def audio_ready(self, job: Job, segment: Segment, ready: AudioReady) -> None:
        """Verify the bytes, store them under their content, then say so in the row.

        Raises UnusableAudio when they are not audio.
        """
        from speech.audio.verify import verify

        sounds = segment.characters if segment.sounds is None else segment.sounds
        verified = verify(
            ready.data, characters=sounds, at_most=segment.read_out or segment.characters, media_type=ready.media_type
        )
        facts = SegmentAudio(
            container=verified.container,
            sample_rate=verified.sample_rate,
            channels=verified.channels,
            frames=verified.frames,
            bytes=len(verified.data),
            sha256=hashlib.sha256(verified.data).hexdigest(),
        )
        # Two workers may have bought the same content at once: the row describes the take that stayed.
        facts = self.audio.put_audio(segment.audio_key, verified.data, facts)
        stored = segments.store(
            segment, facts, now=self.clock.now(), request_id=ready.request_id, credits=ready.credits
        )
        self.store.save_segment(stored)
        count("AudioSeconds", facts.seconds)
        self.finish.segment_stored(job, stored)

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
        """Stay waiting; a few more delayed checks, then only `due_at`."""
        delay = min(SLOW_WAIT_SECONDS, check_after * 2.0**segment.checks)
        again = delayed and segment.checks < DELAYED_CHECKS
        wait = delay + DELAY_GRACE_SECONDS if again else SLOW_WAIT_SECONDS
        later = segments.postpone(segment, due_at=self._after(wait), checked=True, problem=problem)
        self.store.save_segment(later)
        if again:
            self.send_check(later, delay=delay)

    def call_failed(self, job: Job, segment: Segment, error: SpeechError) -> None:
        """A vendor call ended without audio: decide by the error whether, and when, to call again."""
        problem = problems.problem_from(_as_vendor_error(error, job), job_id=job.id)
        self._note(segment, error)
        if isinstance(error, VendorThrottled):
            wait = error.retry_after or backoff_seconds(segment.calls + 1)
            self._call_later(job, segment, problem, wait)
        elif isinstance(error, VendorQuotaExhausted | VendorUnauthorized):
            self._call_later(job, segment, problem, SLOW_WAIT_SECONDS)
        elif isinstance(error, VendorAmbiguous):
            self.ambiguous(job, segment, problem)
        elif isinstance(error, UnusableAudio | VendorMisbehaved):
            if isinstance(error, UnusableAudio) and error.reason == "unsupported-container":
                self._fail(job, segment, problem, Outcome.SETTLED)
            else:
                self._retry_or_fail(job, segment, problem, Outcome.SETTLED)
        elif error.retryable:
            self._retry_or_fail(job, segment, problem, Outcome.RELEASED)
        else:
            self._fail(job, segment, problem, Outcome.RELEASED)

    def ambiguous(self, job: Job, segment: Segment, problem: problems.Problem) -> None:
        """The call may have been billed and nobody can know: one more at most, and flagged."""
        count("AmbiguousCalls")
        before = sum(attempt.outcome is Outcome.AMBIGUOUS for attempt in segment.attempts)
        if before:
            self._fail(job, segment, problem, Outcome.AMBIGUOUS)
        else:
            self._retry_or_fail(job, segment, problem, Outcome.AMBIGUOUS)

    def released(self, job: Job, segment: Segment, problem: problems.Problem) -> None:
        """The vendor says that it made no job for the lost call: nothing was bought."""
        self._retry_or_fail(job, segment, problem, Outcome.RELEASED)

    def unknown_outcome(self, segment: Segment, problem: problems.Problem, *, delay: float) -> None:
        """The call's answer was lost but the vendor can be asked: leave it to a check."""
        now = self.clock.now()
        lost = segments.release_lease(
            segment, now=now, due_at=self._after(delay + DELAY_GRACE_SECONDS), problem=problem
        )
        self.store.save_segment(lost)
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
        message = StartSegment(tenant=segment.tenant, job_id=segment.job_id, segment=segment.index)
        self.dispatcher.start(job.spec.vendor, [message], delay=delay)

    def _call_later(self, job: Job, segment: Segment, problem: problems.Problem, wait: float) -> None:
        later = segments.forgo(
            segment,
            not_before=self._after(wait),
            due_at=self._after(wait + DELAY_GRACE_SECONDS),
            problem=problem,
        )
        self.store.save_segment(later)
        self.send_start(job, later, delay=wait)

    def _retry_or_fail(self, job: Job, segment: Segment, problem: problems.Problem, outcome: Outcome) -> None:
        if segment.calls >= self.settings.segment_attempts:
            self._fail(job, segment, problem, outcome)
            return
        wait = backoff_seconds(segment.calls)
        again = segments.retry(
            segment,
            now=self.clock.now(),
            not_before=self._after(wait),
            due_at=self._after(wait + DELAY_GRACE_SECONDS),
            outcome=outcome,
            problem=problem,
        )
        self.store.save_segment(again)
        self.send_start(job, again, delay=wait)

    def _fail(self, job: Job, segment: Segment, problem: problems.Problem, outcome: Outcome) -> None:
        failed = segments.fail(segment, now=self.clock.now(), outcome=outcome, problem=problem)
        self.store.save_segment(failed)
        self.store.count(segment.tenant, segment.job_id, failed=1, calls=failed.calls)
        self.finish.fail(job, problem)

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


def _as_vendor_error(error: SpeechError, job: Job) -> SpeechError:
    """Audio that was refused is the vendor's misbehaviour: that is what the job's problem says."""
    if not isinstance(error, UnusableAudio) or job.spec is None:
        return error
    kind: type[VendorError] = UnsupportedContainer if error.reason == "unsupported-container" else VendorMisbehaved
    return kind(f"The audio was refused ({error.reason}): {error.detail}", vendor=job.spec.vendor)
