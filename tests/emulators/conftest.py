"""Emulators on free ports, a receiver of webhooks, and a wait with a deadline."""

import io
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
import numpy
import pytest
import soundfile
from numpy.typing import NDArray

from local.emulators.convai import ConvaiEmulator
from local.emulators.creatify import CreatifyEmulator
from local.emulators.dify import DifyEmulator
from local.emulators.playht import PlayhtEmulator
from local.emulators.voiceai import VoiceaiEmulator

Wait = Callable[[Callable[[], Any]], Any]

# Plain HTTP only: a client that loads certificates anew for each test takes longer than most tests.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def convai() -> Iterator[ConvaiEmulator]:
    with ConvaiEmulator() as emulator:
        yield emulator


@pytest.fixture
def convai_client(convai: ConvaiEmulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=convai.url, headers={"CONVAI-API-KEY": "key"}, timeout=30, verify=PLAIN) as client:
        yield client


@pytest.fixture
def voiceai() -> Iterator[VoiceaiEmulator]:
    with VoiceaiEmulator() as emulator:
        yield emulator


@pytest.fixture
def voiceai_client(voiceai: VoiceaiEmulator) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=voiceai.url, headers={"Authorization": "Bearer vk_key"}, timeout=30, verify=PLAIN
    ) as client:
        yield client


@pytest.fixture
def creatify() -> Iterator[CreatifyEmulator]:
    with CreatifyEmulator(pace=0.05) as emulator:
        yield emulator


@pytest.fixture
def creatify_client(creatify: CreatifyEmulator) -> Iterator[httpx.Client]:
    headers = {"X-API-ID": "id", "X-API-KEY": "key"}
    with httpx.Client(base_url=creatify.url, headers=headers, timeout=30, verify=PLAIN) as client:
        yield client


@pytest.fixture
def wait() -> Wait:
    """Ask until the answer is true, and return it."""

    def until(ask: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if answer := ask():
                return answer
            threading.Event().wait(0.01)
        raise AssertionError("It did not happen within thirty seconds.")

    return until


class Receiver:
    """A server that writes down the webhooks it gets and answers as it is told."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, Any]] = []  # path, content type, body
        self.answers: list[int] = []  # statuses of the next answers; 204 when there are none
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                content_type = self.headers["Content-Type"]
                receiver.received.append((self.path, content_type, body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/callbacks/token"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.received]

    @property
    def statuses(self) -> list[str]:
        return [body["status"] for body in self.bodies]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def decoded(audio: bytes) -> tuple[NDArray[numpy.float64], int]:
    """Samples between -1 and 1, and their rate."""
    samples, sample_rate = soundfile.read(io.BytesIO(audio), dtype="float64")
    return samples, int(sample_rate)


@pytest.fixture(name="decoded")
def decoded_fixture() -> Callable[[bytes], tuple[NDArray[numpy.float64], int]]:
    return decoded


@pytest.fixture
def dify() -> Iterator[DifyEmulator]:
    with DifyEmulator() as emulator:
        yield emulator


@pytest.fixture
def dify_client(dify: DifyEmulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer app-key"}
    with httpx.Client(base_url=f"{dify.url}/v1", headers=headers, timeout=30, verify=PLAIN) as client:
        yield client


@pytest.fixture
def playht() -> Iterator[PlayhtEmulator]:
    with PlayhtEmulator(pace=0.05) as emulator:
        yield emulator


@pytest.fixture
def playht_client(playht: PlayhtEmulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer key", "X-USER-ID": "user", "Accept": "application/json"}
    with httpx.Client(base_url=playht.url, headers=headers, timeout=30, verify=PLAIN) as client:
        yield client
