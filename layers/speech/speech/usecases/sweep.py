"""Send again whatever is overdue, and end what is out of time. Every job can be finished from its rows alone.

Mostly nothing is overdue. So what handles a row is imported when there is one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from speech import jobs, problems, segments
from speech.errors import (
    CorruptRow,
    InputGone,
    JobEnded,
    ProcessingFailed,
    SpeechError,
    StaleWrite,
    StoreUnavailable,
    VendorAmbiguous,
)
from speech.jobs import Job, JobStatus
from speech.observability import count, logger
from speech.ports import Clock, Due, JobStore
from speech.segments import Segment, SegmentStatus
from speech.settings import Settings

if TYPE_CHECKING:
    from speech.usecases.clean_up import CleanUp
    from speech.usecases.finish_job import FinishJob
    from speech.usecases.settle_segment import SettleSegment
    from speech.vendors.base import Capabilities

LIMIT = 2_000
"""How many overdue rows one run takes on; the rest is still overdue at the next run."""

BUDGET_SECONDS = 40.0
"""When one run stops taking on more: two thirds of the function's time."""

RECOUNT_SECONDS = 60.0
"""How often a synthesizing job is recounted from its rows, in case a counter was lost."""

SEGMENTS_PER_CLEANUP = 300
"""Of an erased job, in one run: each is a question to an index."""

MAX_SENDS = 6
"""Waits double up to this many sends: a long queue must not be filled with copies of itself."""


@dataclass(frozen=True, slots=True)
class Sweep:
    store: JobStore
    clock: Clock
    settings: Settings
    settle: "SettleSegment"
    finish: "FinishJob"
    resume: Callable[[Job], None]
    """Takes an accepted job up again whose segments were not all written (AcceptJob.resume)."""
    capabilities: "Callable[[str], Capabilities]"
    clean_up: "CleanUp"

    def __call__(self) -> int:
        """Handle what is overdue; returns how many rows were looked at."""
        started = self.clock.now()
        looked_at = 0
        for due in self.store.due(started, LIMIT):
            if self.clock.now() - started > BUDGET_SECONDS * 1000:
                break
            looked_at += 1
            try:
                self._handle(due)
            except StaleWrite:
                continue  # it moved by itself
            except StoreUnavailable:
                break  # the next run goes on
            except CorruptRow:
                count("RowsQuarantined")
                logger.error("row quarantined", extra={"job_id": due.job_id, "kind": due.kind})
                self.store.quarantine(due)
            except Exception as error:  # noqa: BLE001 - not even a bug that one row meets may keep the others waiting
                count("SweepErrors")
                logger.error("overdue row not handled", extra={"job_id": due.job_id, **_facts(error)})
        count("Swept", looked_at)
        return looked_at

    def _handle(self, due: Due) -> None:
        if due.kind == "delivery":
            self._delivery(due)
        elif due.kind == "cleanup":
            self._cleanup(due)
        elif due.kind == "segment":
            job, segment = self.store.job_and_segment(due.tenant, due.job_id, due.segment or 0)
            if job is not None and segment is not None and self._is_due(segment.due_at):
                self._segment(job, segment)
        else:
            job = self.store.get(due.tenant, due.job_id)
            if job is not None and not job.is_terminal and self._is_due(job.due_at):
                self._job(job)

    def _job(self, job: Job) -> None:
        now = self.clock.now()
        if now >= job.deadline_at:
            self.finish.fail_by_deadline(job)
        elif job.status is JobStatus.ACCEPTED:
            self.store.save(postponed := jobs.postpone(job, due_at=self._again(job.sends), sent=True))
            try:
                self.resume(postponed)
            except (InputGone, ProcessingFailed) as error:
                self.finish.fail_with(postponed, error)
        elif job.status is JobStatus.SYNTHESIZING:
            self._recount(job)
        else:
            from speech.messages import AssembleAudio

            self.store.save(jobs.postpone(job, due_at=self._again(job.sends), sent=True))
            self.finish.dispatcher.assemble(AssembleAudio(tenant=job.tenant, job_id=job.id))

    def _recount(self, job: Job) -> None:
        try:
            rows = list(self.store.segments(job.tenant, job.id))
        except CorruptRow as error:
            self.finish.fail_with(job, error)  # one of its segments can never be spoken
            return
        rows = [row for row in rows if row.take == job.take]
        failed = next((row for row in rows if row.status is SegmentStatus.FAILED), None)
        if job.held is not None or failed is not None:
            self.settle.change(job, job.held or (failed.problem if failed else None) or {})
        elif job.take and len(rows) < (job.segments_total or 0):
            self.store.save(jobs.postpone(job, due_at=self._again(job.sends), sent=True))
            try:
                self.settle.change.resume(job)
            except InputGone as error:
                self.finish.fail_with(job, error)
        elif not self.finish.assemble_when_ready(job, rows):
            due_at = min(job.deadline_at, self.clock.now() + int(RECOUNT_SECONDS * 1000))
            self.store.save(jobs.postpone(job, due_at=due_at))

    def _segment(self, job: Job, segment: Segment) -> None:
        if job.is_terminal or job.spec is None:
            self._stop(job, segment, problems.problem_from(JobEnded(), job_id=job.id))
            return
        if segment.take != job.take:
            if segment.take < job.take:  # else the job is older than it is: two rows are not read in one moment
                from speech.usecases.change_narrator import overtaken

                self._stop(job, segment, overtaken(job))
            return
        if self.clock.now() >= job.deadline_at:
            self.finish.fail_by_deadline(job)
            return
        if job.status is not JobStatus.SYNTHESIZING:
            # The job's own row decides; but however many segments are overdue, they must not hide it.
            self.store.save_segment(segments.postpone(segment, due_at=self.clock.now() + self._lease_ms()))
            return
        if segment.status is SegmentStatus.PENDING and job.held is not None:
            self.finish.save_segment(job, segment, segments.postpone(segment, due_at=None))
        elif segment.status is SegmentStatus.PENDING:
            sent = segments.postpone(segment, due_at=self._again(segment.sends), sent=True)
            self.store.save_segment(sent)
            self.settle.send_start(job, sent, delay=0)
        elif segment.status is SegmentStatus.WAITING:
            from speech.usecases.settle_segment import SLOW_WAIT_SECONDS

            due_at = self.clock.now() + int(SLOW_WAIT_SECONDS * 1000)
            self.store.save_segment(waiting := segments.postpone(segment, due_at=due_at))
            self.settle.send_check(waiting, delay=0)
        else:
            self._abandoned(job, segment)

    def _stop(self, job: Job, segment: Segment, problem: problems.Problem) -> None:
        """Nobody waits for it. An open call is closed, once nobody can write down any more what became of it."""
        now = self.clock.now()
        if segments.is_stopped(segment, now=now):
            self.store.save_segment(segments.postpone(segment, due_at=segment.lease_until))
        else:
            self.finish.save_segment(job, segment, segments.stop(segment, now=now, problem=problem))

    def _abandoned(self, job: Job, segment: Segment) -> None:
        """calling, and its lease has ended: whoever called the vendor is gone."""
        spec = job.spec
        if spec is None or (segment.lease_until or 0) > self.clock.now():
            return
        from speech.vendors.base import Delivery

        count("LeasesExpired")
        if Delivery.CALLBACK in self.capabilities(spec.vendor).delivery:
            self.store.save_segment(lost := segments.postpone(segment, due_at=self._again(segment.sends), sent=True))
            self.settle.send_check(lost, delay=0)
            return
        error = VendorAmbiguous("The call was cut off before its answer was written down.", vendor=spec.vendor)
        self.settle.ambiguous(job, segment, problems.problem_from(error, job_id=job.id))

    def _delivery(self, due: Due) -> None:
        delivery = self.store.delivery(due.tenant, due.job_id)
        if delivery is None or not self._is_due(delivery.due_at):
            return
        from speech.messages import DeliverEvent

        due_at = self._again(delivery.sends)
        self.store.save_delivery(replace(delivery, rev=delivery.rev + 1, due_at=due_at, sends=delivery.sends + 1))
        self.finish.dispatcher.deliver(DeliverEvent(tenant=due.tenant, job_id=due.job_id))

    def _cleanup(self, due: Due) -> None:
        cleanup = self.store.cleanup(due.tenant, due.job_id)
        if cleanup is None or not self._is_due(cleanup.due_at):
            return
        # Taken first: of two sweeps at once one goes on, and if it dies the next one begins again.
        taken = replace(cleanup, rev=cleanup.rev + 1, due_at=self.clock.now() + self._lease_ms())
        self.store.save_cleanup(taken)
        self.clean_up(taken, most=SEGMENTS_PER_CLEANUP, is_last=self.clock.now() >= taken.until)

    def _is_due(self, due_at: int | None) -> bool:
        return due_at is not None and due_at <= self.clock.now()

    def _again(self, sends: int) -> int:
        return self.clock.now() + (self._lease_ms() << min(sends, MAX_SENDS))

    def _lease_ms(self) -> int:
        return int(self.settings.lease_seconds * 1000)


def _facts(error: Exception) -> dict[str, object]:
    """What may be logged of an error: of one that nobody foresaw not its words, which may quote a text."""
    if isinstance(error, SpeechError):
        return {"code": error.code}
    import traceback

    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": type(error).__name__, "where": where}
