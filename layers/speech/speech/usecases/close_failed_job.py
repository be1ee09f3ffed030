"""Turn a dead letter into a decision: a message that could not be handled never leaves a job hanging."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from speech.errors import InvalidRequest, ProcessingFailed
from speech.messages import Message
from speech.observability import count, logger
from speech.ports import JobStore
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
        logger.error("job closed by a dead letter", extra={"job_id": job.id})
        self.finish.fail_with(
            job, ProcessingFailed("A step of this job failed every time it was tried. The operator's logs say why.")
        )


def _parsed(body: str) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
