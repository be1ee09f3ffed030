"""The client that adapters share: deadlines, caps, addresses, and what a fault of transport means."""

import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speech.egress import EgressRefused
from speech.errors import VendorAmbiguous, VendorError, VendorGone, VendorMisbehaved, VendorUnavailable
from speech.ports import WebhookSender
from speech.vendors import http as http_module
from speech.vendors.base import Reply, VendorHttp
from speech.vendors.http import HttpWebhookSender, VendorClient
from tests.vendors.scripted import Script, Scripted, answer, server_context

Serve = Callable[..., Scripted]
AUDIO = b"RIFF\x00\x00\x00\x00WAVE" + bytes(range(256))


def client_of(server: Scripted, *, seconds: float = 10, max_audio: int = 1 << 20) -> VendorClient:
    return VendorClient("acme", server.url, local=True, deadline_seconds=seconds, max_audio=max_audio)


def test_a_request_carries_what_it_must_and_nothing_else(serve: Serve) -> None:
    server = serve(answer(200, AUDIO, headers=[("X-Thing", "1"), ("X-Thing", "2")]))
    http: VendorHttp = client_of(server)

    reply = http.request("POST", "/tts/", headers={"Key": "k"}, json={"text": "Über uns"}, params={"a": "b c"})

    assert (reply.status, reply.body, reply.headers["x-thing"]) == (200, AUDIO, "1, 2")
    seen = server.seen[0]
    assert (seen.method, seen.path, seen.json) == ("POST", "/tts/?a=b+c", {"text": "Über uns"})
    assert seen.headers.keys() == {"host", "user-agent", "accept-encoding", "key", "content-type", "content-length"}
    assert seen.headers["user-agent"].startswith("Voicedrop/")
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"


def test_a_base_url_with_a_path_keeps_it(serve: Serve) -> None:
    server = serve(answer())
    http = VendorClient("acme", f"{server.url}/v1/", local=True)

    http.request("GET", "/parameters")

    assert server.seen[0].path == "/v1/parameters"


def test_a_connection_is_kept_for_the_next_call(serve: Serve) -> None:
    server = serve(answer(200, AUDIO))
    http = client_of(server)

    for _ in range(3):
        http.request("POST", "/tts/", json={})
        http.within(5).request("GET", "/tts/")

    assert server.connections == 1


def test_e10_an_environment_that_was_frozen_does_not_trust_its_old_connections(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answer(200, AUDIO))
    http = client_of(server)
    http.request("POST", "/tts/", json={})

    thawed = time.time() + 600
    monkeypatch.setattr("time.time", lambda: thawed)
    http.request("POST", "/tts/", json={})

    assert server.connections == 2


def test_no_proxy_of_the_environment_is_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server, proxy = serve(answer(200, AUDIO)), serve(answer(200, b"proxied"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)

    assert client_of(server).request("GET", "/").body == AUDIO
    assert not proxy.seen


def test_c13_a_redirect_is_returned_and_not_followed(serve: Serve) -> None:
    elsewhere = serve(answer(200, AUDIO))
    server = serve(answer(302, headers=[("Location", elsewhere.url)]))

    assert client_of(server).request("POST", "/", headers={"Key": "k"}, json={}).status == 302
    assert client_of(server).fetch(server.url).status == 302
    assert not elsewhere.seen


def test_a_result_is_fetched_without_credentials(serve: Serve) -> None:
    server = serve(answer(200, AUDIO))
    http = client_of(server)
    http.request("GET", "/", headers={"Key": "k"})

    assert http.fetch(f"{server.url}/a%20b.mp3?X-Sig=1&y=2").body == AUDIO

    assert server.seen[1].path == "/a%20b.mp3?X-Sig=1&y=2"
    assert server.seen[1].headers.keys() == {"host", "user-agent", "accept", "accept-encoding"}


# --- As much as comes -------------------------------------------------------------------------


def told(server: Scripted, **options: Any) -> tuple[Reply, list[bytes]]:
    """A request that is satisfied with what comes until the word `end`."""
    pieces: list[bytes] = []

    def until(piece: bytes) -> bool:
        pieces.append(piece)
        return b"end" in piece

    return client_of(server, **options).request("POST", "/", json={}, until=until), pieces


def test_c16_enough_is_enough_and_the_vendor_need_not_finish(serve: Serve) -> None:
    def never_ending(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 1000\r\n\r\nthe end")
        connection.recv(1)

    reply, pieces = told(serve(never_ending))

    assert (reply.status, reply.headers["location"], reply.body, reply.complete) == (201, "/1", b"the end", False)
    assert pieces == [b"the end"]


def test_c16_what_came_before_a_cut_or_the_deadline_is_kept(serve: Serve) -> None:
    cut, _ = told(serve(lambda connection: connection.sendall(answer(201, b"data", length=1000))))
    late, _ = told(serve(stalling), seconds=0.3)

    assert (cut.status, cut.body, cut.complete) == (201, b"data", False)
    assert (late.status, late.body, late.complete) == (200, b"RIFF", False)


def test_c16_a_whole_answer_is_complete(serve: Serve) -> None:
    reply, _ = told(serve(answer(201, b"all there is")))

    assert (reply.body, reply.complete) == (b"all there is", True)


def test_c16_a_stream_without_end_is_taken_up_to_its_limit(serve: Serve) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b": nothing yet\n" * 5000)

    reply, _ = told(serve(endless))

    assert not reply.complete
    assert http_module.MAX_JSON < len(reply.body) < http_module.MAX_JSON + 200_000


@pytest.mark.parametrize("script", [lambda connection: connection.recv(1), lambda connection: connection.close()])
def test_c2_c18_without_a_status_it_is_as_ambiguous_as_any_call(serve: Serve, script: Script) -> None:
    with pytest.raises(VendorAmbiguous):
        told(serve(script), seconds=0.3)


def test_a_refusal_is_not_shown_to_whoever_waits_for_a_success(serve: Serve) -> None:
    reply, pieces = told(serve(answer(429, b"the end")))

    assert (reply.status, reply.body, pieces) == (429, b"the end", [])


def test_what_an_adapter_remembers_is_there_at_its_next_call() -> None:
    http = VendorClient("acme", "http://127.0.0.1:9", local=True)

    http.within(5).memory["voice"] = "alloy"

    assert http.within(7).memory == {"voice": "alloy"}
    assert VendorClient("acme", "http://127.0.0.1:9", local=True).memory == {}


# --- Deadlines --------------------------------------------------------------------------------


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def stalling(connection: socket.socket) -> None:
    connection.sendall(answer(200, b"RIFF", length=1000))
    connection.recv(1)


@pytest.mark.parametrize("how", ["silent", "stalling", "headers", "body"])
def test_c11_one_deadline_cuts_silence_stalls_and_drips(serve: Serve, how: str) -> None:
    server = serve()
    scripts: dict[str, Script] = {
        "silent": silent,
        "stalling": stalling,
        "headers": server.drip_headers,
        "body": server.drip,
    }
    server.scripts = [scripts[how]]
    http = client_of(server, seconds=0.4)

    began = time.monotonic()
    with pytest.raises(VendorAmbiguous):
        http.request("POST", "/tts/", json={})

    assert 0.3 < time.monotonic() - began < 2


def test_work_of_several_calls_has_one_deadline_too(serve: Serve) -> None:
    server = serve(answer(200, AUDIO), silent, answer(200, AUDIO))
    http = client_of(server, seconds=60).within(0.4)

    began = time.monotonic()
    http.request("GET", "/")
    with pytest.raises(VendorUnavailable):
        http.request("GET", "/")
    with pytest.raises(VendorUnavailable, match="No time was left"):
        http.request("POST", "/", json={})

    assert time.monotonic() - began < 2
    assert len(server.seen) == 2


def test_a_name_that_takes_for_ever_to_resolve_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def slow(host: str, port: int) -> tuple[str, ...]:
        released.wait(10)
        return ("127.0.0.1",)

    http = VendorClient("acme", "http://slow.test:1", local=True, deadline_seconds=0.3, resolve=slow)

    began = time.monotonic()
    with pytest.raises(VendorUnavailable) as caught:
        http.request("POST", "/", json={})
    released.set()

    assert time.monotonic() - began < 2
    assert not isinstance(caught.value, VendorAmbiguous)


def test_an_address_that_swallows_everything_does_not_hide_the_next_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answer(200, AUDIO))
    connect = socket.create_connection

    def create_connection(address: tuple[str, int], timeout: float | None = None, **more: Any) -> socket.socket:
        if address[0] == "127.0.0.2":
            raise TimeoutError(f"nothing from {address[0]} in {timeout} s")
        return connect(address, timeout, **more)

    monkeypatch.setattr("socket.create_connection", create_connection)
    http = VendorClient(
        "acme", server.url.replace("127.0.0.1", "two.test"), local=True, resolve=lambda *_: ("127.0.0.2", "127.0.0.1")
    )

    assert http.request("GET", "/").body == AUDIO


# --- What a fault means -----------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def no_name(host: str, port: int) -> tuple[str, ...]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_c1_a_refused_connection_means_that_nothing_was_sent(method: str) -> None:
    http = VendorClient("acme", f"http://127.0.0.1:{free_port()}", local=True)

    with pytest.raises(VendorUnavailable) as caught:
        http.request(method, "/", json={})

    assert not isinstance(caught.value, VendorAmbiguous)
    assert caught.value.vendor == "acme"


def test_c1_c20_a_name_without_address_means_that_nothing_was_sent() -> None:
    http = VendorClient("acme", "https://gone.test", resolve=no_name)

    with pytest.raises(VendorGone) as asked:
        http.request("POST", "/", json={})
    with pytest.raises(VendorUnavailable) as fetched:
        http.fetch("https://gone.test/a.mp3")

    assert asked.value.is_free
    assert not isinstance(fetched.value, VendorAmbiguous)


def test_c1_a_resolver_that_may_know_better_later_is_no_verdict() -> None:
    def busy(host: str, port: int) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(VendorUnavailable):
        VendorClient("acme", "https://busy.test", resolve=busy).request("POST", "/", json={})


def test_c1_a_failed_tls_handshake_means_that_nothing_was_sent(serve: Serve) -> None:
    server = serve(answer())  # it speaks no TLS
    http = VendorClient("acme", f"https://127.0.0.1:{server.port}", local=True, deadline_seconds=2)

    with pytest.raises(VendorUnavailable) as caught:
        http.request("POST", "/", json={})

    assert not isinstance(caught.value, VendorAmbiguous)
    assert not server.seen


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut(connection: socket.socket) -> None:
    connection.sendall(answer(200, AUDIO, length=10_000))


def cut_chunk(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nRIFF")


def nonsense(connection: socket.socket) -> None:
    connection.sendall(b"this is no HTTP at all\r\n\r\n")


@pytest.mark.parametrize("script", [reset, cut, cut_chunk, nonsense, lambda _: None])
def test_c2_c10_a_lost_answer_is_ambiguous_after_a_post_and_harmless_after_a_get(
    serve: Serve, script: Callable[[socket.socket], None]
) -> None:
    server = serve(script)

    with pytest.raises(VendorAmbiguous):
        client_of(server).request("POST", "/", json={})
    with pytest.raises(VendorUnavailable) as asked:
        client_of(server).request("GET", "/")
    with pytest.raises(VendorUnavailable) as fetched:
        client_of(server).fetch(server.url)

    assert not isinstance(asked.value, VendorAmbiguous)
    assert not isinstance(fetched.value, VendorAmbiguous)
    assert len(server.seen) == 3, "nothing is tried again here"


def cut_refusal(connection: socket.socket) -> None:
    connection.sendall(answer(429, b"slow down", length=5000, headers=[("Retry-After", "7")]))


def test_an_error_page_that_is_cut_or_endless_is_still_that_error(serve: Serve) -> None:
    server = serve(cut_refusal, answer(503, b"<html>" + b"x" * 300_000))

    cut_short = client_of(server).request("POST", "/", json={})
    huge = client_of(server).request("POST", "/", json={})

    assert (cut_short.status, cut_short.headers["retry-after"], cut_short.body) == (429, "7", b"slow down")
    assert (huge.status, len(huge.body)) == (503, http_module.MAX_ERROR)


# --- Size -------------------------------------------------------------------------------------


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nRIFF\x00")
    while True:
        connection.sendall(bytes(65536))


@pytest.mark.parametrize("call", ["request", "fetch"])
def test_c11_c12_an_answer_without_end_is_cut_at_the_cap(serve: Serve, call: str) -> None:
    server = serve(endless)
    http = client_of(server, max_audio=500_000)

    with pytest.raises(VendorMisbehaved):
        http.request("POST", "/", json={}) if call == "request" else http.fetch(server.url)


def test_audio_up_to_the_cap_is_whole_and_one_byte_more_is_refused(serve: Serve) -> None:
    exact, larger = b"\xff" * 1000, b"\xff" * 1001

    assert client_of(serve(answer(200, exact)), max_audio=1000).request("POST", "/", json={}).body == exact
    with pytest.raises(VendorMisbehaved):
        client_of(serve(answer(200, larger)), max_audio=1000).request("POST", "/", json={})


def test_an_answer_that_opens_like_json_may_be_a_megabyte_at_most(serve: Serve) -> None:
    server = serve(answer(200, b'{"a": "' + b"x" * http_module.MAX_JSON + b'"}'))

    with pytest.raises(VendorMisbehaved):
        client_of(server, max_audio=1 << 24).request("POST", "/", json={})


def test_a_packed_answer_is_not_unpacked(serve: Serve) -> None:
    server = serve(answer(200, b"\x1f\x8b\x08packed", headers=[("Content-Encoding", "gzip")]))

    assert client_of(server).request("POST", "/", json={}).body == b"\x1f\x8b\x08packed"


# --- Addresses --------------------------------------------------------------------------------


def test_i19_the_socket_goes_to_the_vetted_address_and_the_name_stays_in_the_request(serve: Serve) -> None:
    server = serve(answer(200, AUDIO))
    http = VendorClient("acme", server.url, local=True, resolve=lambda *_: ("127.0.0.1",))

    http.fetch(f"http://results.test:{server.port}/a.wav")

    assert server.seen[0].headers["host"] == f"results.test:{server.port}"


def test_i19_tls_is_checked_against_the_name_and_not_the_address(serve: Serve, tmp_path: Path) -> None:
    port, names = tls_server(tmp_path, "results.test")
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    http = VendorClient("acme", "http://127.0.0.1:1", local=True, resolve=lambda *_: ("127.0.0.1",), ssl_context=trust)

    assert http.fetch(f"https://results.test:{port}/").body == b"over TLS"
    with pytest.raises(VendorUnavailable):
        http.fetch(f"https://other.test:{port}/")

    assert names == ["results.test", "other.test"]


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::1", "64:ff9b::7f00:1"])
def test_s1_in_the_cloud_neither_result_nor_base_url_leads_inside(address: str) -> None:
    http = VendorClient("acme", "https://acme.test", resolve=lambda *_: (address,))

    with pytest.raises(EgressRefused):
        http.fetch("https://results.test/a.mp3")
    with pytest.raises(EgressRefused):
        http.request("POST", "/", json={})


def test_in_the_cloud_plain_http_is_refused_before_anything_is_resolved() -> None:
    http = VendorClient("acme", "http://acme.test", resolve=no_name)

    with pytest.raises(EgressRefused):
        http.request("POST", "/", json={})
    with pytest.raises(EgressRefused):
        http.fetch("http://results.test/a.mp3")


def test_i17_nothing_of_a_request_or_an_answer_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(answer(500, b"canary-answer"))

    with caplog.at_level(logging.INFO):
        client_of(server).request("POST", "/", headers={"Key": "canary-key"}, json={"text": "canary-text"})
        with pytest.raises(VendorError) as caught:
            VendorClient("acme", f"http://127.0.0.1:{free_port()}", local=True).fetch("http://127.0.0.1:1/?canary-link")

    assert "canary" not in caplog.text
    assert "canary" not in repr(caught.value)


# --- Customers' webhooks ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 302, 410, 500])
def test_g1_a_webhook_is_posted_once_and_its_status_is_all_that_counts(serve: Serve, status: int) -> None:
    elsewhere = serve(answer())
    server = serve(answer(status, b"x" * 100_000 if status == 200 else b"", headers=[("Location", elsewhere.url)]))
    sender: WebhookSender = HttpWebhookSender(local=True)

    assert sender.send(f"{server.url}/hook?a=1", headers={"webhook-id": "w-1"}, body=b'{"type": "x"}') == status

    seen = server.seen[0]
    assert (seen.method, seen.path, seen.body, seen.headers["webhook-id"]) == (
        "POST",
        "/hook?a=1",
        b'{"type": "x"}',
        "w-1",
    )
    assert len(server.seen) == 1
    assert not elsewhere.seen


def test_g1_a_receiver_that_is_silent_or_gone_is_tried_again_later(serve: Serve) -> None:
    for url in (serve(silent).url, f"http://127.0.0.1:{free_port()}"):
        with pytest.raises(VendorUnavailable) as caught:
            HttpWebhookSender(local=True, deadline_seconds=0.3).send(url, headers={}, body=b"{}")
        assert caught.value.retryable


@pytest.mark.parametrize("url", ["http://example.com/hook", "https://127.0.0.1/hook", "https://inside.test/hook"])
def test_g1_s1_a_webhook_never_goes_inside(url: str) -> None:
    sender = HttpWebhookSender(local=False, resolve=lambda *_: ("10.0.0.1",))

    with pytest.raises(EgressRefused) as caught:
        sender.send(url, headers={}, body=b"{}")
    assert not caught.value.retryable


def tls_server(folder: Path, name: str) -> tuple[int, list[str]]:
    """A TLS server for two connections with a certificate of its own making; the names that clients asked for."""
    context = server_context(folder, name)
    names: list[str] = []
    context.sni_callback = lambda _socket, asked, _context: names.append(str(asked))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for _ in range(2):
                plain, _ = listener.accept()
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        connection.recv(65536)
                        connection.sendall(answer(200, b"over TLS", headers=[("Connection", "close")]))
                except OSError:
                    plain.close()  # the client did not like the certificate

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1]), names
