"""Join the segments of one job. Trigger: the assembly queue."""

from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from speech.aws.batch import process_batch
from speech.bootstrap import services
from speech.messages import AssembleAudio
from speech.observability import observed


def on_record(record: SQSRecord) -> None:
    services().assemble_audio(AssembleAudio.from_json(record.body))


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return process_batch(event, on_record, context)
