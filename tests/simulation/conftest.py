"""A laboratory for the worlds of a file."""

from collections.abc import Iterator

import pytest

from tests.support.sim.laboratory import Laboratory, laboratory


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with laboratory() as made:
        yield made
