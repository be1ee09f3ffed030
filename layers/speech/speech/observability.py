"""Logs and metrics, the same in every function. Ids and counts only: never text, keys, tokens or links."""

import warnings

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

# A function that had nothing to count says so at every call; that is no news.
warnings.filterwarnings("ignore", message="No application metrics to publish", category=UserWarning)

logger = Logger()
metrics = Metrics()


def count(name: str, value: float = 1) -> None:
    """Add to a counter; written out by the handler's `log_metrics` when it returns."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
