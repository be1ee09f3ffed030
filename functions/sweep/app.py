"""Send again whatever is overdue. Trigger: every minute."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from speech.bootstrap import services
from speech.observability import observed


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    services().sweep()
