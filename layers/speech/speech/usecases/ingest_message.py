"""Make a job of every message on the requests queue; what is no job request becomes a failed job."""

from dataclasses import dataclass

from speech.errors import ProcessingFailed, SpeechError
from speech.jobs import Source
from speech.observability import count, logger
from speech.usecases.accept_job import MESSAGE, AcceptJob, Arrival


@dataclass(frozen=True, slots=True)
class IngestMessage:
    accept: AcceptJob

    def __call__(self, body: str, message_id: str) -> None:
        """Take one message. Raises only what is worth another delivery."""
        from speech.requests import JobRequest, Way
        from speech.strictjson import strict_json

        arrival, request = _arrival(None, message_id), None
        try:
            value = strict_json(body.encode("utf-8", "surrogatepass"))
            arrival = _arrival(value, message_id)
            request = JobRequest.parse(value, Way.MESSAGE)
            accepted = self.accept(arrival, request, request.text or "")
            job, outcome = accepted.job, "MessagesAccepted" if accepted.created else "MessagesRepeated"
        except SpeechError as error:
            if error.retryable:
                raise
            job, outcome = self.accept.refuse(arrival, error, request), "MessagesRefused"
        count(outcome)
        logger.info("message ingested", extra={"job_id": job.id, "message_id": message_id, "outcome": outcome})

    def give_up(self, body: str, message_id: str) -> None:
        """A message that failed every time becomes a failed job, unless it is a job already."""
        from speech.errors import NotJson
        from speech.strictjson import strict_json

        try:
            arrival = _arrival(strict_json(body.encode("utf-8", "surrogatepass")), message_id)
        except NotJson:
            arrival = _arrival(None, message_id)
        if self.accept.find(arrival) is None:
            error = ProcessingFailed("The message could not be taken in, although it was tried several times.")
            self.accept.refuse(arrival, error)


def _arrival(value: object, message_id: str) -> Arrival:
    """A message is known by the request_id in it, else by the id that SQS gave it."""
    request_id = _request_id(value) or message_id
    return Arrival(kind=MESSAGE, source=Source(type=MESSAGE), identity=(request_id,), request_id=request_id)


def _request_id(value: object) -> str | None:
    from speech.requests import is_request_id

    given = value.get("request_id") if isinstance(value, dict) else None
    return given if isinstance(given, str) and is_request_id(given) else None
