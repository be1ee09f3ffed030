"""Look a job up, and show it as clients see it, with links made for this very answer."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from speech.errors import CorruptRow, FieldError, InvalidRequest, JobNotFound
from speech.estimate import seconds_left
from speech.ids import derived_job_id, is_job_id
from speech.jobs import Job, JobStatus, Progress, Result, cost_of
from speech.ports import Clock, JobStore, ResultStore
from speech.resource import Links, job_resource
from speech.results import CHAPTERS
from speech.usecases.accept_job import API, MESSAGE


@dataclass(frozen=True, slots=True)
class ReadJob:
    store: JobStore
    results: ResultStore
    clock: Clock

    def by_id(self, tenant: str, job_id: str) -> Job:
        """Raises JobNotFound; also for the jobs of other tenants, which nobody is to know about."""
        job = self.store.get(tenant, job_id) if is_job_id(job_id) else None
        if job is None or job.erased_at is not None:
            raise JobNotFound("There is no job with this id.")
        return job

    def by_request_id(self, tenant: str, request_id: str | None) -> list[Job]:
        """The jobs that an Idempotency-Key or a message with this identity made. Raises InvalidRequest."""
        if not request_id:
            message = "is missing; ask for one job by its id, or for the jobs of one request by its request_id"
            raise InvalidRequest(f"`request_id` {message}.", errors=[FieldError("request_id", message)])
        # Both kinds of identity give the job its id, so there is nothing to search.
        found = (self.store.get(tenant, derived_job_id(tenant, kind, request_id)) for kind in (API, MESSAGE))
        return [job for job in found if job is not None and job.erased_at is None]

    def resource(self, job: Job, *, fresh: bool = False) -> dict[str, Any]:
        """The job resource. `fresh`: this job was made a moment ago and no segment can have ended."""
        counted = not fresh and job.status is not JobStatus.COMPLETED
        progress = self.store.progress(job.tenant, job.id, job.take) if counted else Progress()
        if counted and job.is_terminal and job.segments_total:
            job = self._counted(job)
        left = seconds_left(job, progress, self.clock.now())
        return job_resource(job, progress, self._links(job, job.result) if job.result else None, seconds_left=left)

    def _counted(self, job: Job) -> Job:
        """Calls may begin while a job fails or is cancelled, and end after it: its row has what was known then."""
        with suppress(CorruptRow):
            rows = list(self.store.segments(job.tenant, job.id))
            # Rows of segments, which were written before the job's last, may expire before it does.
            return replace(job, cost=cost_of(rows)) if rows else job
        return job

    def _links(self, job: Job, result: Result) -> Links:
        audio, vtt, srt, *chapters = (
            self.results.link(
                f"{result.key}.{suffix}",
                version_id=result.versions.get(suffix),
                filename=_filename(job, suffix),
            )
            for suffix in (result.format, "vtt", "srt", *([CHAPTERS] if result.chapters else []))
        )
        return Links(audio=audio, vtt=vtt, srt=srt, chapters=chapters[0] if chapters else None)


def _filename(job: Job, suffix: str) -> str:
    """What a browser should call the download: the name of the dropped file, or of the job."""
    name = (job.source.key or "").rsplit("/", 1)[-1]
    return f"{name or job.id}.{suffix}"
