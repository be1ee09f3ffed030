"""One stack for the tests that need nothing special, and one whose vendors speak in tones."""

from collections.abc import Iterator

import pytest

from tests.support.stack import Stack, running
from tests.support.tone_vendors import ToneVendors, tone_vendors


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every vendor is the repository's emulator."""
    with running(
        tmp_path_factory.mktemp("stack"), LEASE_SECONDS="20", SEGMENT_ATTEMPTS="2", JOB_DEADLINE_SECONDS="110"
    ) as up:
        yield up


@pytest.fixture(scope="session")
def tones() -> Iterator[ToneVendors]:
    """Vendor servers started apart from any stack."""
    with tone_vendors() as vendors:
        yield vendors


@pytest.fixture(scope="session")
def tone_stack(tmp_path_factory: pytest.TempPathFactory, tones: ToneVendors) -> Iterator[Stack]:
    """A stack that was told where its vendors are."""
    with running(tmp_path_factory.mktemp("tones"), LEASE_SECONDS="20", **tones.environment) as up:
        yield up
