"""Send again whatever is overdue. Trigger: every minute."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from speech.bootstrap import services
from speech.observability import logger, metrics


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    services().sweep()
