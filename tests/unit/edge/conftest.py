"""What the tests of the edge share."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from speech.observability import logger, metrics
from tests.support.edge import Edge


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Everything that is logged, as it would be written."""
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    written = StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before or handler.stream)


@pytest.fixture(autouse=True)
def _metrics_of_their_own() -> Iterator[None]:
    """Counters have the stack's namespace, and none is left for the next test."""
    metrics.namespace = "Voicedrop"
    yield
    metrics.clear_metrics()
