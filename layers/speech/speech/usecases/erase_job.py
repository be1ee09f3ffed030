"""Erase a job: its text, its audio and all that was said about it; what stays says only that it was there."""

from contextlib import suppress
from dataclasses import dataclass, replace

from speech import jobs
from speech.errors import IllegalTransition, JobNotFound, StaleWrite, StoreUnavailable
from speech.ids import is_job_id
from speech.jobs import Job
from speech.ports import Cleanup, Clock, JobStore
from speech.results import error_key, result_keys
from speech.settings import Settings
from speech.usecases.cancel_job import CancelJob
from speech.usecases.clean_up import CleanUp

TRIES = 5
"""How often to begin again when the job moves meanwhile."""

SEGMENTS_AT_ONCE = 100
"""How many segments' audio goes while the client waits; the sweep does the rest."""


@dataclass(frozen=True, slots=True)
class EraseJob:
    store: JobStore
    cancel: CancelJob
    clean_up: CleanUp
    clock: Clock
    settings: Settings

    def __call__(self, tenant: str, job_id: str) -> None:
        """A job that goes on is cancelled first. Erased already is erased.

        Raises JobNotFound; also for the jobs of other tenants. Once the tombstone is written, nothing brings the
        job back, and whatever is not done here the sweep does from the cleanup row.
        """
        for _ in range(TRIES):
            job = self.store.get(tenant, job_id) if is_job_id(job_id) else None
            if job is None:
                raise JobNotFound("There is no job with this id.")
            if job.erased_at is not None:
                return
            try:
                ended = job if job.is_terminal else self.cancel(job)
                cleanup = self._bury(ended)
            except (StaleWrite, IllegalTransition):
                continue  # it moved, or ended by itself
            except JobNotFound:
                return  # somebody else has just erased it
            with suppress(StaleWrite):  # the sweep has taken over
                self.clean_up(cleanup, most=SEGMENTS_AT_ONCE, is_last=False)
            return
        raise StoreUnavailable("The job is changing too fast; try again shortly.")

    def _bury(self, job: Job) -> Cleanup:
        """Tombstone, outbox without the customer's address, and what is to be taken away: in one write."""
        now = self.clock.now()
        # Whoever was at work when the job ended has written its last word by then.
        until = now + int(self.settings.lease_seconds * 1000)
        begun = self.store.cleanup(job.tenant, job.id)
        pages = (error_key(job),) if job.source.type == "upload" else ()
        cleanup = Cleanup(
            tenant=job.tenant,
            job_id=job.id,
            until=until,
            rev=begun.rev + 1 if begun else 1,
            due_at=until,
            keys=tuple(dict.fromkeys((*result_keys(job), *pages, *(begun.keys if begun else ())))),
            erases=True,
        )
        told = self.store.delivery(job.tenant, job.id)
        if told is not None:
            due_at = told.due_at if not told.published else None
            told = replace(told, rev=told.rev + 1, webhook=None, due_at=due_at)
        self.store.erase(jobs.erase(job, now=now), told, cleanup)
        return cleanup
