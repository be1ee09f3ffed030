"""What the tests of the adapters share: scripted servers that stop with the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.vendors.scripted import Script, Scripted

Serve = Callable[..., Scripted]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a scripted server: `serve(answer(200, …), answer(429), …)`."""
    with ExitStack() as stack:

        def start(*scripts: Script) -> Scripted:
            return stack.enter_context(Scripted(list(scripts)))

        yield start
