"""Logs and metrics, the same in every function. Ids and counts only: never text, keys, tokens or links."""

import functools
import gc
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

# A function that had nothing to count says so at every call; that is no news.
warnings.filterwarnings("ignore", message="No application metrics to publish", category=UserWarning)

logger = Logger()
metrics = Metrics()

Answer = TypeVar("Answer")
Handler = Callable[[dict[str, Any], LambdaContext], Answer]


def count(name: str, value: float = 1) -> None:
    """Add to a counter; written out by the handler when it returns."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def observed(handler: Handler[Answer]) -> Handler[Answer]:
    """A function's handler, with the invocation in its logs and its metrics written when it returns."""
    watched: Handler[Answer] = logger.inject_lambda_context(metrics.log_metrics(handler))
    cold = True

    @functools.wraps(handler)
    def entered(event: dict[str, Any], context: LambdaContext) -> Answer:
        nonlocal cold
        if not cold:
            return watched(event, context)
        # The first event loads libraries and makes clients: a hundred thousand objects that stay for good, through
        # which the collector would look again and again. It is a tenth of a cold start.
        cold = False
        gc.disable()
        try:
            return watched(event, context)
        finally:
            gc.enable()
            gc.freeze()

    return entered
