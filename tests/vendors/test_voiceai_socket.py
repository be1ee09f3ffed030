"""The socket as Voice.ai's adapter uses it: what goes out, what ends it, when it is kept, and where it may lead."""

import json
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from speech.egress import EgressRefused
from speech.errors import VendorAmbiguous, VendorError, VendorMisbehaved, VendorRejected, VendorUnavailable
from speech.vendors.base import AudioReady, SynthesisRequest
from speech.vendors.http import VendorClient
from speech.vendors.voiceai import VoiceAi
from tests.vendors.scripted import Scripted, answer, server_context

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40)
KEYS = {"VOICEAI_API_KEY": "vk_secretkey"}
Script = Callable[[ServerConnection], None]


@dataclass
class SocketServer:
    """Every connection is handled by the next script, after the last one by that one again."""

    scripts: tuple[Script, ...]
    tls: ssl.SSLContext | None = None
    connections: list[ServerConnection] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.server: Server = serve(
            self._handle, sock=self.listener, ssl=self.tls, ping_interval=None, max_size=1 << 20
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.stopped.set()
        self.server.shutdown()
        for each in self.connections:
            each.close_socket()

    def _handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        script = self.scripts[min(len(self.connections), len(self.scripts)) - 1]
        with suppress(ConnectionClosed):
            script(connection)

    def hear(self, connection: ServerConnection) -> None:
        self.heard.append(json.loads(connection.recv(timeout=10)))


Start = Callable[..., SocketServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server: `start(script, …)`; a script gets the connection after its text was read."""
    running: list[SocketServer] = []

    def begin(*scripts: Script, tls: ssl.SSLContext | None = None) -> SocketServer:
        def after_the_text(script: Script) -> Script:
            def handle(connection: ServerConnection) -> None:
                server.hear(connection)
                script(connection)

            return handle

        server = SocketServer(tuple(after_the_text(each) for each in scripts), tls)
        server.start()
        running.append(server)
        return server

    yield begin
    for each in running:
        each.stop()


def client_of(server: SocketServer | Scripted, *, seconds: float = 10, max_audio: int = 1 << 20) -> VendorClient:
    url = f"http://127.0.0.1:{server.port}"
    return VendorClient("voiceai", url, local=True, deadline_seconds=seconds, max_audio=max_audio)


def speak(client: VendorClient, text: str = "Hello!", *, key: str = KEYS["VOICEAI_API_KEY"], **more: Any) -> AudioReady:
    options = {"delivery": "websocket", **more}
    return VoiceAi(client, {"VOICEAI_API_KEY": key}).start(SynthesisRequest(text=text, options=options))


def audio(data: bytes = WAV) -> str:
    return json.dumps({"audio": b64encode(data).decode()})


def answers_in_full(connection: ServerConnection) -> None:
    connection.send(audio())
    connection.send('{"is_last": true}')


def for_ever(server_says: Script) -> Script:
    """Speaks every text that comes."""

    def script(connection: ServerConnection) -> None:
        while True:
            server_says(connection)
            connection.recv(timeout=10)

    return script


# --- What goes out ----------------------------------------------------------------------------


@pytest.mark.proves(
    "voiceai: header Authorization of the socket", "voiceai: message field text", "voiceai: message field flush"
)
def test_the_upgrade_carries_the_key_and_nothing_of_the_text_or_the_environment(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(answers_in_full)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "WS_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    ready = speak(client_of(server))

    request = server.connections[0].request
    assert request is not None
    assert request.path == "/api/v1/tts/stream"
    assert request.headers["Authorization"] == "Bearer vk_secretkey"
    assert request.headers["User-Agent"].startswith("Voicedrop/")
    assert request.headers["Host"] == f"127.0.0.1:{server.port}"
    assert not {"Sec-WebSocket-Extensions", "Origin", "Cookie"} & set(request.headers)
    assert server.heard == [{"text": "Hello!", "audio_format": "wav", "flush": True}]
    assert ready.data == WAV


def test_a_base_url_with_a_path_keeps_it(start: Start) -> None:
    server = start(answers_in_full)

    speak(VendorClient("voiceai", f"http://127.0.0.1:{server.port}/proxy/", local=True))

    request = server.connections[0].request
    assert request is not None
    assert request.path == "/proxy/api/v1/tts/stream"


@pytest.mark.proves("voiceai: delivery websocket")
def test_the_socket_follows_https_and_checks_the_name(start: Start, tmp_path: Path) -> None:
    server = start(answers_in_full, tls=server_context(tmp_path, "voice.test"))
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    def client(name: str) -> VendorClient:
        url = f"https://{name}:{server.port}"
        return VendorClient("voiceai", url, local=True, resolve=lambda *_: ("127.0.0.1",), ssl_context=trust)

    assert speak(client("voice.test")).data == WAV
    with pytest.raises(VendorUnavailable) as caught:
        speak(client("other.test"))

    assert not isinstance(caught.value, VendorAmbiguous)
    assert len(server.heard) == 1


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1"])
def test_s1_in_the_cloud_no_socket_leads_inside(address: str) -> None:
    client = VendorClient("voiceai", "https://voice.test", resolve=lambda *_: (address,))

    with pytest.raises(EgressRefused):
        speak(client)


# --- What comes back --------------------------------------------------------------------------


@pytest.mark.proves("voiceai: message field audio")
def test_pieces_may_come_in_fragments_and_in_binary_frames(start: Start) -> None:
    def script(connection: ServerConnection) -> None:
        message = audio(WAV[:30])
        connection.send([message[:5], message[5:20], message[20:]])
        connection.ping()
        connection.send(audio(WAV[30:]).encode())
        connection.send('{"audio": "", "is_last": false}')
        connection.send('{"audio": null, "is_last": true, "new": "field"}')

    assert speak(client_of(start(script))).data == WAV


@pytest.mark.parametrize(
    "message",
    [
        "not json",
        "[]",
        '"audio"',
        b"\xff\xfe",
        '{"audio": 7}',
        '{"audio": ["UklGRg=="]}',
        '{"audio": "UklGRg=*"}',
        '{"audio": "UklGR"}',
        '{"audio": "é"}',
        "[" * 100_000,
        '{"error": {"code": 7}}',
    ],
)
def test_c15_a_message_that_cannot_be_read_is_misbehaviour(start: Start, message: str | bytes) -> None:
    def script(connection: ServerConnection) -> None:
        connection.send(audio())
        connection.send(message)
        answers_in_full(connection)

    with pytest.raises(VendorMisbehaved):
        speak(client_of(start(script)))


@pytest.mark.parametrize("said", [b"", b'{"error": "no"}', b"<html></html>"])
def test_c8_an_end_without_audio_is_misbehaviour(start: Start, said: bytes) -> None:
    def script(connection: ServerConnection) -> None:
        connection.send(json.dumps({"audio": b64encode(said).decode(), "is_last": True}))

    with pytest.raises(VendorMisbehaved):
        speak(client_of(start(script)))


def test_what_the_vendor_says_is_repeated_only_where_it_quotes_nothing_of_ours(start: Start) -> None:
    server = start(
        lambda connection: connection.close(1008, "Voice is not supported"),
        lambda connection: connection.close(1008, "Cannot speak zyxwvu"),
        lambda connection: connection.send('{"error": "vk_secretkey is wrong"}'),
    )
    client = client_of(server)

    found = []
    for _ in range(3):
        with pytest.raises(VendorError) as caught:
            speak(client, "Please say zyxwvu.")
        found.append(caught.value)

    assert found[0].detail == "Voice.ai closed its socket with 1008: Voice is not supported."
    assert found[0].vendor_code == "1008"
    assert found[1].detail == "Voice.ai closed its socket with 1008."
    assert "secretkey" not in found[2].detail


def test_a_server_fault_after_audio_is_ambiguous_because_it_may_have_been_billed(start: Start) -> None:
    def script(connection: ServerConnection) -> None:
        connection.send(audio())
        connection.close(1011, "Internal error")

    with pytest.raises(VendorAmbiguous):
        speak(client_of(start(script)))


def test_a_close_frame_counts_even_if_the_connection_stays_open(start: Start) -> None:
    server = start(lambda _: None)

    def close_and_linger(connection: ServerConnection) -> None:
        server.hear(connection)
        connection.socket.sendall(b"\x88\x02\x03\xef")  # 1007
        server.stopped.wait(10)

    server.scripts = (close_and_linger,)

    began = time.monotonic()
    with pytest.raises(VendorRejected):
        speak(client_of(server))

    assert time.monotonic() - began < 5


def test_a_frame_outside_the_protocol_is_misbehaviour(start: Start) -> None:
    def script(connection: ServerConnection) -> None:
        connection.socket.sendall(b"\xff\xff\xff\xff")
        connection.recv(timeout=10)

    with pytest.raises(VendorMisbehaved):
        speak(client_of(start(script)))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(401, {"error": "Invalid API key"}), "vendor-unauthorized"),
        (answer(200, b"hello"), "vendor-misbehaved"),
        (answer(502, b"<html>"), "vendor-unavailable"),
        (b"no HTTP at all\r\n\r\n", "vendor-unavailable"),
        (b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "vendor-unavailable"),
    ],
)
def test_whatever_is_no_upgrade_is_told_by_its_status(reply: bytes, error: str) -> None:
    with Scripted([reply]) as server, pytest.raises(VendorError) as caught:
        speak(client_of(server))

    assert caught.value.code == error


def test_the_vendors_request_id_is_kept() -> None:
    with Scripted([answer(503, headers=[("X-Request-Id", "r-1")])]) as server, pytest.raises(VendorError) as caught:
        speak(client_of(server))

    assert (caught.value.vendor_status, caught.value.request_id) == (503, "r-1")


# --- Deadlines and caps -----------------------------------------------------------------------


def test_c11_one_deadline_cuts_silence_and_drips(start: Start) -> None:
    def silence(connection: ServerConnection) -> None:
        server.stopped.wait(10)

    def drip(connection: ServerConnection) -> None:
        while not server.stopped.wait(0.02):
            connection.ping()
            connection.send('{"audio": "AAAA"}')

    server = start(silence, drip)
    client = client_of(server, seconds=0.4)

    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(VendorAmbiguous):
            speak(client)
        assert 0.3 < time.monotonic() - began < 2


def test_c11_a_handshake_that_drips_is_cut_and_nothing_was_asked() -> None:
    with Scripted([]) as server:
        server.scripts = [server.drip_headers]

        began = time.monotonic()
        with pytest.raises(VendorUnavailable) as caught:
            speak(client_of(server, seconds=0.4))

    assert not isinstance(caught.value, VendorAmbiguous)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("size", [1 << 10, 1 << 19])
def test_c12_an_endless_answer_is_cut_in_small_messages_and_in_one(start: Start, size: int) -> None:
    def script(connection: ServerConnection) -> None:
        while True:
            connection.send(audio(bytes(size)))

    with pytest.raises(VendorMisbehaved):
        speak(client_of(start(script), max_audio=1 << 17))


# --- Keeping ----------------------------------------------------------------------------------


@pytest.mark.proves("voiceai: later messages")
def test_a_socket_is_kept_for_the_next_text_of_the_same_kind(start: Start) -> None:
    server = start(for_ever(answers_in_full))
    server.scripts = (lambda connection: _speak_all(server, connection),)
    client = client_of(server)

    for text in ("One.", "Two.", "Three."):
        assert speak(client.within(5), text).data == WAV

    assert len(server.connections) == 1
    assert server.heard[1:] == [{"text": "Two.", "flush": True}, {"text": "Three.", "flush": True}]


def test_a_socket_over_tls_is_kept_too(start: Start, tmp_path: Path) -> None:
    server = start(for_ever(answers_in_full), tls=server_context(tmp_path, "voice.test"))
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    url = f"https://voice.test:{server.port}"
    client = VendorClient("voiceai", url, local=True, resolve=lambda *_: ("127.0.0.1",), ssl_context=trust)

    assert [speak(client, text).data for text in ("One.", "Two.", "Three.")] == [WAV] * 3

    assert len(server.connections) == 1


def test_another_key_gets_another_socket(start: Start) -> None:
    server = start(for_ever(answers_in_full))
    client = client_of(server)

    speak(client, key="vk_one")
    speak(client, key="vk_two")

    assert len(server.connections) == 2


def test_e10_a_socket_of_an_environment_that_was_frozen_is_not_trusted(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(for_ever(answers_in_full))
    client = client_of(server)
    speak(client)

    thawed = time.time() + 5
    monkeypatch.setattr("time.time", lambda: thawed)
    speak(client)

    assert len(server.connections) == 2


@pytest.mark.parametrize("code", [1000, 1007, 1008])
def test_a_vendor_that_takes_one_text_a_socket_gets_the_second_on_a_new_one(start: Start, code: int) -> None:
    """However it says so: it may close as soon as it has spoken, or when it is asked again."""

    def once(connection: ServerConnection) -> None:
        answers_in_full(connection)
        connection.recv(timeout=10)
        connection.close(code, "one text only")

    server = start(once, answers_in_full)
    client = client_of(server)

    assert [speak(client, text).data for text in ("One.", "Two.")] == [WAV, WAV]
    assert [said["text"] for said in server.heard] == ["One.", "Two."]
    assert len(server.connections) == 2


def test_an_answer_lost_on_a_kept_socket_is_ambiguous_and_not_asked_again(start: Start) -> None:
    def once(connection: ServerConnection) -> None:
        answers_in_full(connection)
        connection.recv(timeout=10)
        connection.close_socket()

    server = start(once, answers_in_full)
    client = client_of(server)
    speak(client, "One.")

    with pytest.raises(VendorAmbiguous):
        speak(client, "Two.")

    assert len(server.connections) == 1


def test_what_came_after_the_end_is_never_taken_for_the_next_text(start: Start) -> None:
    def talkative(connection: ServerConnection) -> None:
        connection.send(audio())
        last, left_over = b'{"is_last": true}', audio(b"left over").encode()
        connection.socket.sendall(b"".join(b"\x81" + bytes([len(each)]) + each for each in (last, left_over)))
        connection.recv(timeout=10)

    server = start(talkative, answers_in_full)
    client = client_of(server)
    speak(client, "One.")

    assert speak(client, "Two.").data == WAV
    assert len(server.connections) == 2


def _speak_all(server: SocketServer, connection: ServerConnection) -> None:
    while True:
        server.hear(connection)
        answers_in_full(connection)
