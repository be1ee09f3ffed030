"""What the functions log, as it would be written."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

from speech.observability import logger


@contextmanager
def logged() -> Iterator[StringIO]:
    """Everything that is logged meanwhile."""
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    written = StringIO()
    before = handler.setStream(written)
    try:
        yield written
    finally:
        handler.setStream(before or handler.stream)
