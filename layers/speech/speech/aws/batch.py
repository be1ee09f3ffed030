"""A batch of queue messages of which each fails for itself."""

import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from speech.errors import SpeechError
from speech.observability import logger


def process_batch(
    event: dict[str, Any], on_record: Callable[[SQSRecord], None], context: LambdaContext
) -> PartialItemFailureResponse:
    """Hand each record to `on_record`; whatever it raises, only that record goes back to the queue."""
    # A batch of one that fails is an ordinary failure: by default it would fail the whole function.
    batch = _Batch(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event, on_record, batch, context)


class _Batch(BatchProcessor):
    def failure_handler(
        self,
        record: SQSRecord,
        exception: tuple[type[BaseException] | None, BaseException | None, TracebackType | None],
    ) -> tuple[str, str, SQSRecord]:
        """Log what failed without the message's body, and without a bug's own words, which may quote it."""
        kind, error, trace = exception
        name = "" if kind is None else kind.__name__
        facts: dict[str, Any] = {
            "message_id": record.message_id,
            "receive_count": record.attributes.approximate_receive_count,
            "error": name,
        }
        if isinstance(error, SpeechError):
            logger.warning("message returned", extra=facts | {"code": error.code})
        else:
            where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
            logger.error("message failed", extra=facts | {"where": where})
        self.exceptions.append(exception)
        self.fail_messages.append(record)
        return "fail", name, record
