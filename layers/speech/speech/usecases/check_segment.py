"""Ask a vendor how one segment is doing. Called for delayed checks, callbacks and overdue segments."""

from dataclasses import dataclass

from speech import problems, segments
from speech.egress import EgressRefused
from speech.errors import (
    StaleWrite,
    UnsupportedOperation,
    UnusableAudio,
    VendorAmbiguous,
    VendorError,
    VendorGone,
    VendorMisbehaved,
    VendorThrottled,
    VendorUnauthorized,
)
from speech.jobs import Job, JobStatus, Spec
from speech.messages import CheckSegment
from speech.observability import count, logger
from speech.ports import Clock, JobStore, Keys
from speech.segments import Outcome, Segment, SegmentStatus
from speech.settings import Settings
from speech.usecases.settle_segment import SettleSegment
from speech.usecases.start_segment import callback_address
from speech.usecases.vendor_gate import VendorGate
from speech.usecases.vendor_source import VendorSource
from speech.vendors.base import AudioReady, StillWorking, Vendor

CHECK_AFTER_SECONDS = 5.0
"""The first wait between two checks; it doubles."""


@dataclass(frozen=True, slots=True)
class CheckSegmentUseCase:
    store: JobStore
    keys: Keys
    clock: Clock
    settings: Settings
    vendors: VendorSource
    settle: SettleSegment
    gate: VendorGate

    def __call__(self, message: CheckSegment) -> None:
        job, segment = self.store.job_and_segment(message.tenant, message.job_id, message.segment)
        if job is None or segment is None or job.spec is None:
            count("OrphanMessages")
            return
        if job.status is not JobStatus.SYNTHESIZING or message.attempt != segment.calls or segment.take != job.take:
            return  # an old attempt, a narrator who gave up, or a job that has ended: a late result changes nothing
        try:
            if segment.status is SegmentStatus.WAITING:
                self._check(job, job.spec, segment, delayed=message.hint is None)
            elif segment.status is SegmentStatus.CALLING:
                self._find(job, job.spec, segment, message.hint)
        except StaleWrite:
            logger.info("segment already moved", extra={"job_id": job.id, "segment": segment.index})

    def _check(self, job: Job, spec: Spec, segment: Segment, *, delayed: bool) -> None:
        """waiting: one GET, which costs nothing; whatever fails here is asked again, not bought again."""
        vendor_job_id = segment.vendor_job_id or ""
        try:
            outcome = self._ask(spec, vendor_job_id)
            if isinstance(outcome, StillWorking):
                if delayed:
                    self.settle.not_yet(segment, check_after=outcome.check_after, delayed=True)
                return
            self.settle.audio_ready(job, segment, outcome)
        except VendorGone as error:
            # Its job is paid for: it may still be there when the vendor is again.
            problem = problems.problem_from(error, job_id=job.id)
            self.settle.not_yet(segment, check_after=60.0, delayed=True, problem=problem)
        except (UnusableAudio, VendorMisbehaved) as error:
            self._bad_audio(job, segment, error)
        except (VendorThrottled, VendorUnauthorized) as error:
            if isinstance(error, VendorThrottled):
                self.gate.refused_a_check(job, segment, error)
            wait = error.retry_after or self._slow(error)
            problem = problems.problem_from(error, job_id=job.id)
            self.settle.not_yet(segment, check_after=wait, delayed=True, problem=problem)
        except (VendorError, EgressRefused) as error:
            if not error.retryable:
                self.settle.call_failed(job, segment, error)
                return
            problem = problems.problem_from(error, job_id=job.id)
            self.settle.not_yet(segment, check_after=CHECK_AFTER_SECONDS, delayed=True, problem=problem)

    def _bad_audio(self, job: Job, segment: Segment, error: UnusableAudio | VendorMisbehaved) -> None:
        """The vendor keeps its result: fetch it once more before another call is paid for."""
        seen_before = segment.problem is not None and segment.problem.get("code") == VendorMisbehaved.code
        if seen_before:
            self.settle.call_failed(job, segment, error)
            return
        seen = VendorMisbehaved(error.detail, vendor=job.spec.vendor if job.spec else "")
        problem = problems.problem_from(seen, job_id=job.id)
        self.settle.not_yet(segment, check_after=CHECK_AFTER_SECONDS, delayed=True, problem=problem)

    def _find(self, job: Job, spec: Spec, segment: Segment, hint: str | None) -> None:
        """calling, and whoever called is gone: find out from the vendor whether it made a job."""
        now = self.clock.now()
        if (segment.lease_until or 0) > now:
            if hint is not None:
                # The callback outran the answer to the call itself. Keep what it said until the caller
                # has either written the answer down or is known to be dead.
                self.settle.send_check(segment, delay=((segment.lease_until or 0) - now) / 1000 + 1, hint=hint)
            return
        taken = segments.take_over(segment, now=now, lease_ms=int(self.settings.lease_seconds * 1000))
        self.store.save_segment(taken)
        problem = taken.problem or problems.problem_from(
            VendorAmbiguous("The call was cut off before its answer was written down.", vendor=spec.vendor),
            job_id=job.id,
        )
        try:
            found = self._reconcile(self.vendors(spec.vendor), job, taken)
        except UnsupportedOperation:
            if hint is None:
                self.settle.ambiguous(job, taken, problem)
                return
            found = StillWorking(vendor_job_id=hint, check_after=0)
        except (VendorError, EgressRefused):
            self.settle.unknown_outcome(taken, problem, delay=CHECK_AFTER_SECONDS * 2.0 ** min(taken.checks, 4))
            return
        if found is None:
            self.settle.released(job, taken, problem)
        else:
            count("VendorJobsAdopted")
            self.settle.still_working(taken, found)

    def _reconcile(self, vendor: Vendor, job: Job, segment: Segment) -> StillWorking | None:
        # The signing key may have been replaced since the call: the vendor knows the address that it was given then.
        addresses = [
            callback_address(key, self.settings, job, segment, attempt.number)
            for key in self.keys.signing_keys()
            for attempt in segment.attempts
            if attempt.outcome in (None, Outcome.AMBIGUOUS)
        ]
        return vendor.reconcile(addresses)

    def _ask(self, spec: Spec, vendor_job_id: str) -> AudioReady | StillWorking:
        try:
            return self.vendors(spec.vendor).check(vendor_job_id)
        except VendorUnauthorized:
            return self.vendors(spec.vendor, fresh_keys=True).check(vendor_job_id)

    @staticmethod
    def _slow(error: VendorError) -> float:
        return 60.0 if isinstance(error, VendorUnauthorized) else CHECK_AFTER_SECONDS
