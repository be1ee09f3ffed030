"""Turn a dead letter into a decision: a message that could not be handled never leaves a job hanging."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from speech.errors import InvalidRequest, ProcessingFailed
from speech.jobs import Job, JobStatus
from speech.messages import Message
from speech.observability import count, logger
from speech.ports import JobStore
from speech.segments import SegmentStatus
from speech.usecases.finish_job import FinishJob


@dataclass(frozen=True, slots=True)
class CloseFailedJob:
    store: JobStore
    finish: FinishJob
    refuse_upload: Callable[[str], None]
    """Makes the failed job of an upload that never became one; takes the queue message's body."""
    refuse_message: Callable[[str, str], None]
    """The same for a request message; takes its body and its SQS message id."""

    def __call__(self, body: str, message_id: str) -> None:
        data = _parsed(body)
        if "v" in data and "job_id" in data:
            self._close(data, body)
        elif "Records" in data or "detail-type" in data or "detail" in data:
            self.refuse_upload(body)
        else:
            self.refuse_message(body, message_id)

    def _close(self, data: dict[str, Any], body: str) -> None:
        fields = {name: data.get(name) for name in ("v", "tenant", "job_id")}
        try:
            message = Message.from_json(json.dumps(fields))
        except InvalidRequest:
            count("DeadLettersUnreadable")
            return
        job = self.store.get(message.tenant, message.job_id)
        if job is None or job.is_terminal:
            # An event that could not be delivered keeps its own row, which the sweep sends again.
            count("DeadLettersOfEndedJobs")
            return
        if self._goes_on_without(job, data):
            count("DeadLettersOvertaken")
            return
        logger.error("job closed by a dead letter", extra={"job_id": job.id})
        self.finish.fail_with(
            job, ProcessingFailed("A step of this job failed every time it was tried. The operator's logs say why.")
        )

    def _goes_on_without(self, job: Job, data: dict[str, Any]) -> bool:
        """Whether what the message asked for was done by another, or is being done, or was only a callback's hint."""
        index, attempt = data.get("segment"), data.get("attempt")
        if "segment" not in data:
            # An assembly; one that found audio missing has sent its job back to synthesis.
            is_at_work = job.lease_token is not None and (job.lease_until or 0) > self.finish.clock.now()
            return is_at_work or job.status is not JobStatus.ASSEMBLING
        if data.get("hint") is not None:
            return True
        segment = self.store.segment(job.tenant, job.id, index) if type(index) is int and index >= 0 else None
        if segment is None:
            return False
        if segment.take != job.take or job.held is not None:
            return True
        if attempt is None:
            return segment.status is not SegmentStatus.PENDING
        return segment.is_terminal or segment.calls != attempt


def _parsed(body: str) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
