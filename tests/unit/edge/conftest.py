"""What the tests of the edge share."""

from collections.abc import Iterator
from io import StringIO

import pytest

from speech.observability import metrics
from tests.support.edge import Edge
from tests.support.logs import logged


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Everything that is logged, as it would be written."""
    with logged() as written:
        yield written


@pytest.fixture(autouse=True)
def _metrics_of_their_own() -> Iterator[None]:
    """Counters have the stack's namespace, and none is left for the next test."""
    metrics.namespace = "Voicedrop"
    yield
    metrics.clear_metrics()
