"""Stop a job: nothing more is bought for it, and it ends as cancelled."""

from dataclasses import dataclass

from speech import problems, segments
from speech.errors import CorruptRow, IllegalTransition, JobEnded, JobNotFound, StaleWrite, StoreUnavailable
from speech.jobs import Job, JobStatus
from speech.ports import JobStore
from speech.usecases.finish_job import FinishJob

TRIES = 5
"""How often to begin again when job or segments move meanwhile; who calls again goes on where this stopped."""


@dataclass(frozen=True, slots=True)
class CancelJob:
    store: JobStore
    finish: FinishJob

    def __call__(self, job: Job) -> Job:
        """The cancelled job. When this returns, no vendor call begins for it any more.

        The same for a job that is cancelled already. Raises IllegalTransition when it has ended otherwise.
        """
        cancelled = self._cancelled(job)
        self._stop_segments(cancelled)
        return cancelled

    def _cancelled(self, job: Job) -> Job:
        current: Job | None = job
        for _ in range(TRIES):
            if current is None or current.is_terminal:
                break
            try:
                return self.finish.cancel(current)
            except StaleWrite:
                current = self.store.get(job.tenant, job.id)
        if current is None or current.erased_at is not None:
            raise JobNotFound("There is no job with this id.")
        if current.status is JobStatus.CANCELLED:
            return current
        if current.is_terminal:
            raise IllegalTransition(f"The job is {current.status} already; only a job that goes on can be cancelled.")
        raise StoreUnavailable("The job is changing too fast; try again shortly.")

    def _stop_segments(self, job: Job) -> None:
        """Fence off whoever read the job before it was cancelled and has claimed nothing yet.

        A claim that checked the job's row in a transaction would cost every segment of every job, and let the
        segments of one job fight over that row; here only who cancels pays.
        """
        problem = problems.problem_from(JobEnded(), job_id=job.id)
        for _ in range(TRIES):
            now = self.finish.clock.now()
            rows = self.store.segments(job.tenant, job.id)
            try:
                going_on = [row for row in rows if not segments.is_stopped(row, now=now)]
            except CorruptRow:
                return  # the sweep stops one by one those that can be read
            if not going_on:
                return
            self.finish.save_segments(job, [(row, segments.stop(row, now=now, problem=problem)) for row in going_on])
        raise StoreUnavailable("The job's segments are changing too fast; try again shortly.")
