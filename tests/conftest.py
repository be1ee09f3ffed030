"""What every test shares: the network is closed except for loopback."""

import ipaddress
import os
import socket
from typing import Any

import hypothesis
import pytest

from tests.support.turns import Turns, in_turns

os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "Voicedrop")
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "voicedrop")

# The same examples every time, however busy the machine is; `--hypothesis-profile=wide` looks further.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.register_profile("wide", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile("steady")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # by how many tests a file has, not by how long they take
    return Turns(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items[:] = in_turns(items)


_connect = socket.socket.connect


def _is_loopback(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def closed_network() -> Any:
    """A test that reaches for the outside world fails with the address it wanted."""

    def guarded(self: socket.socket, address: Any) -> None:
        if not _is_loopback(address):
            raise PermissionError(f"Tests may only talk to loopback, not to {address!r}.")
        _connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()
