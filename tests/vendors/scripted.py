"""A tiny scripted server on loopback: it answers what it is told, as bytes, and keeps what it received."""

import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from speech.vendors import keys_of, vendor_class
from speech.vendors.base import Vendor
from speech.vendors.http import VendorClient

Script = bytes | Callable[[socket.socket], None]


def answer(
    status: int = 200, body: Any = b"", *, headers: Iterable[tuple[str, str]] = (), length: int | None = None
) -> bytes:
    """A whole HTTP answer. Bodies that are not bytes are sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers)]
    lines.append(f"Content-Length: {len(raw) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


@dataclass
class Seen:
    """One request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Scripted:
    """Answers requests in order, each with the next script; afterwards, with the last one again."""

    scripts: list[Script]
    seen: list[Seen] = field(default_factory=list)
    _connections: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._listener.close()
        for connection in self._connections:
            connection.close()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._connections)

    def hang(self, connection: socket.socket) -> None:
        """A script that answers nothing until the server is stopped."""
        self._stopped.wait(30)

    def drip(self, connection: socket.socket) -> None:
        """A script that sends a byte of the body every now and then, for ever."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not self._stopped.wait(0.02):
            connection.sendall(b"\x01")

    def drip_headers(self, connection: socket.socket) -> None:
        """A script that sends a header every now and then, for ever."""
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not self._stopped.wait(0.02):
            connection.sendall(b"X-Drip: 1\r\n")

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            number = len(self._connections)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                while (first := reader.readline()).strip():
                    method, path, _ = first.decode().split(" ", 2)
                    headers = {}
                    while (line := reader.readline()).strip():
                        name, _, value = line.decode("latin-1").partition(":")
                        headers[name.strip().lower()] = value.strip()
                    body = reader.read(int(headers.get("content-length", "0")))
                    self.seen.append(Seen(method, path, headers, body, number))
                    script = self.scripts[min(len(self.seen), len(self.scripts)) - 1]
                    if callable(script):
                        script(connection)
                        return
                    connection.sendall(script)
        except (OSError, ValueError):
            return  # the client went away or spoke no HTTP, as some of these tests want it to


def vendor_at(name: str, server: Scripted, *, seconds: float = 10) -> Vendor:
    """An adapter whose vendor is the scripted server. Its keys are their own names in lower case."""
    client = VendorClient(name, server.url, local=True, deadline_seconds=seconds)
    return vendor_class(name)(client, {each: each.lower() for each in keys_of(name)})


def server_context(folder: Path, name: str) -> ssl.SSLContext:
    """What a TLS server of that name needs; a client trusts it by `cert.pem` in the folder."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
