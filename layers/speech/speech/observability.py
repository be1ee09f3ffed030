"""Logs and metrics, the same in every function. Ids and counts only: never text, keys, tokens or links."""

import functools
import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, MetricValueError, SchemaValidationError
from aws_lambda_powertools.utilities.typing import LambdaContext

# A function that had nothing to count says so at every call; that is no news.
warnings.filterwarnings("ignore", message="No application metrics to publish", category=UserWarning)

logger = Logger()
metrics = Metrics()

Answer = TypeVar("Answer")
Handler = Callable[[dict[str, Any], LambdaContext], Answer]


def count(name: str, value: float = 1) -> None:
    """Add to a counter; written out by the handler when it returns."""
    with _no_matter():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


@contextmanager
def _no_matter() -> Iterator[None]:
    """Counters that cannot be written are lost, and are no reason to do work again or to fail a job."""
    try:
        yield
    except (OSError, ValueError, MetricValueError, SchemaValidationError):
        metrics.clear_metrics()


def _counted(handler: Handler[Answer]) -> Handler[Answer]:
    """The handler, and then its counters written out. (`log_metrics` would fail the function where it cannot.)"""

    def counted(event: dict[str, Any], context: LambdaContext) -> Answer:
        try:
            return handler(event, context)
        finally:
            with _no_matter():
                metrics.flush_metrics()

    return counted


def observed(handler: Handler[Answer]) -> Handler[Answer]:
    """A function's handler, with the invocation in its logs and its metrics written when it returns."""
    watched: Handler[Answer] = logger.inject_lambda_context(_counted(handler))
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
