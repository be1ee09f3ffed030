"""One stack for the tests that need nothing special, and one whose vendors speak in tones."""

from collections.abc import Iterator

import pytest

from tests.support.stack import MORTAL_LEASE, Stack, impatient_template, running
from tests.support.tone_vendors import ToneVendors, tone_vendors


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every vendor is the repository's emulator."""
    env = {"LEASE_SECONDS": "20", "SEGMENT_ATTEMPTS": "2", "JOB_DEADLINE_SECONDS": "110"}
    with running(tmp_path_factory.mktemp("stack"), **env) as up:
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


@pytest.fixture(scope="session")
def mortal_tones() -> Iterator[ToneVendors]:
    """Vendor servers that may do something to the stack while they answer."""
    with tone_vendors() as vendors:
        yield vendors


@pytest.fixture(scope="session")
def mortal(tmp_path_factory: pytest.TempPathFactory, mortal_tones: ToneVendors) -> Iterator[Stack]:
    """A stack with short leases, whose queues bring back soon what a dead function had received."""
    folder = tmp_path_factory.mktemp("mortal")
    template = impatient_template(folder / "app", MORTAL_LEASE)
    env = {"LEASE_SECONDS": str(MORTAL_LEASE), "SEGMENT_ATTEMPTS": "4", **mortal_tones.environment}
    with running(folder / "stack", template, **env) as up:
        yield up
