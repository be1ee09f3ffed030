"""The HTTP client that adapters share: one total deadline, byte caps, vetted addresses, no redirects, no retries.

httpx over a transport of our own, because httpx lets nobody own the socket and its engine httpcore does: there the
guard vets what is really connected to, and the deadline bounds every operation. Import this module only where
vendors are called.
"""

import contextvars
import copy
import functools
import ipaddress
import json as jsonlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode

import httpcore
import httpx

from speech import __version__, egress
from speech.errors import VendorAmbiguous, VendorError, VendorGone, VendorMisbehaved, VendorUnavailable
from speech.vendors.answers import opens_like_text
from speech.vendors.base import Conversation, Reply
from speech.vendors.websocket import Sockets

USER_AGENT = f"Voicedrop/{__version__}"

CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 4.0
"""Less than the 5 s after which common servers hang up: a request that meets the end of an old connection
is lost, and nobody can say whether it was billed."""
WEBHOOK_SECONDS = 15.0

NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""What the resolver says of a name that does not exist; whatever else it says may pass."""

MAX_AUDIO = 64 * 1024 * 1024
MAX_LIST = 16 * 1024 * 1024
"""A vendor's list of jobs holds their texts."""
MAX_JSON = 1024 * 1024
MAX_ERROR = 64 * 1024
"""Of an error page we read this much and leave the rest."""

_ends_at: contextvars.ContextVar[float] = contextvars.ContextVar("ends_at", default=0.0)
"""When the exchange under way must be over, on the monotonic clock; without one, it is over."""


class NotSent(Exception):
    """The request never left: no address, no connection, no TLS."""


class _NoSuchName(httpcore.ConnectError):
    """The name of the host does not exist, says whoever must know."""


class NotAnswered(Exception):
    """The request may have left, and no whole answer came back in time."""


class TooLarge(Exception):
    """The answer is larger than any answer may be."""


def _remaining() -> float:
    return _ends_at.get() - time.monotonic()


@contextmanager
def _ending_in(seconds: float) -> Iterator[None]:
    """An exchange: whatever is done on connections meanwhile is over after this time."""
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation ends with the exchange, so that a slow drip is cut as well."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = _remaining()
        if left <= 0:
            raise httpcore.ReadTimeout
        return self._inner.read(max_bytes, timeout=left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), 16384):
            left = _remaining()
            if left <= 0:
                raise httpcore.WriteTimeout
            self._inner.write(buffer[start : start + 16384], timeout=left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = min(_remaining(), CONNECT_SECONDS)
        if left <= 0:
            raise httpcore.ConnectTimeout
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout=left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Guard(httpcore.NetworkBackend):
    """Resolves and vets a host whenever a connection is opened, and connects to what was vetted."""

    def __init__(self, *, local: bool, private: bool, resolve: egress.Resolver) -> None:
        self._local = local
        self._private = private
        self._resolve = resolve
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        ends = time.monotonic() + min(CONNECT_SECONDS, _remaining())
        failure: Exception = httpcore.ConnectTimeout()
        vetted = self._vetted(host, port, ends - time.monotonic())
        for tried, address in enumerate(vetted):
            # Each has its share of the time: an address that swallows everything must not hide the next one.
            share = (ends - time.monotonic()) / (len(vetted) - tried)
            if share <= 0:
                break
            try:
                return _Stream(self._inner.connect_tcp(address, port, timeout=share, socket_options=socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _vetted(self, host: str, port: int, seconds: float) -> tuple[str, ...]:
        def resolve(host: str, port: int) -> tuple[str, ...]:
            return tuple(_resolved_within(seconds, self._resolve, host, port))

        try:
            return egress.addresses(host, port, local=self._local, private=self._private, resolve=resolve)
        except OSError as error:
            nobody = isinstance(error, socket.gaierror) and error.errno in NO_SUCH_NAME
            raise (_NoSuchName if nobody else httpcore.ConnectError)("no address") from error


def _resolved_within(seconds: float, resolve: egress.Resolver, host: str, port: int) -> tuple[str, ...]:
    """Resolve with a deadline, which the system's resolver does not have. Raises OSError."""
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    found: list[tuple[str, ...]] = []
    failed: list[OSError] = []

    def work() -> None:
        try:
            found.append(tuple(resolve(host, port)))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if found:
        return found[0]
    raise failed[0] if failed else TimeoutError("the name was not resolved in time")


@functools.cache
def _trust() -> ssl.SSLContext:
    """Whom we trust; reading the certificates takes long enough to do it once."""
    return httpcore.default_ssl_context()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class _Transport(httpx.BaseTransport):
    """What httpx's own transport does, over connections that the guard opens. Errors stay httpcore's."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method, url, headers=request.headers.raw, content=request.read(), extensions=request.extensions
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        self._pool.close()


class Outbound:
    """Connections to vetted addresses, kept for the next call. For one thread at a time.

    `private` counts only when local: a base URL may then be anywhere.
    """

    def __init__(
        self,
        *,
        local: bool,
        private: bool = False,
        resolve: egress.Resolver = egress.resolve_host,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = _Guard(local=local, private=private, resolve=resolve)
        self._ssl_context = ssl_context
        self._client: httpx.Client | None = None
        self._used_at = 0.0

    def exchange(
        self,
        target: egress.Target,
        method: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        seconds: float,
        limit: Callable[[bytes], int] | None = None,
        until: Callable[[bytes], bool] | None = None,
    ) -> Reply:
        """Send one request and read its answer whole. Raises NotSent, NotAnswered, TooLarge or EgressRefused.

        `limit` is asked with the beginning of a success how large it may be. Without it the status is all
        that counts, as with every refusal: of the body as much is kept as came, 64 KB at most. For `until`
        see `VendorHttp.request`.
        """
        host = f"[{target.host}]" if ":" in target.host else target.host
        request = httpx.Request(
            method,
            f"{target.scheme}://{host}:{target.port}/",
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
            content=body,
            # Path and query go out as they are: a signed address must not be spelled in another way.
            extensions={"timeout": {"pool": seconds}, "target": target.path.encode()},
        )
        try:
            with (
                _ending_in(seconds),
                closing(self._connections(target.scheme).send(request, stream=True)) as response,
            ):
                return _read(response, limit, until)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
            raise NotSent from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
            raise NotAnswered from error
        finally:
            self._used_at = time.time()

    def connect(self, target: egress.Target) -> httpcore.NetworkStream:
        """A connection for another protocol, within the exchange under way. Raises NotSent or EgressRefused."""
        try:
            stream = self._guard.connect_tcp(target.host, target.port)
            if target.scheme == "https":
                stream = stream.start_tls(self._ssl_context or _trust(), server_hostname=target.host)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise NotSent from error
        return stream

    def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connections(self, scheme: str) -> httpx.Client:
        # A frozen environment does not notice that its connections died meanwhile; only the wall clock tells.
        if self._client is not None and abs(time.time() - self._used_at) > KEEP_ALIVE_SECONDS:
            self.close()
        if self._client is None:
            pool = httpcore.ConnectionPool(
                ssl_context=self._ssl_context or (_trust() if scheme == "https" else None),
                max_connections=10,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
                network_backend=self._guard,
            )
            self._client = httpx.Client(transport=_Transport(pool), trust_env=False, follow_redirects=False)
        return self._client


def _read(
    response: httpx.Response, limit: Callable[[bytes], int] | None, until: Callable[[bytes], bool] | None
) -> Reply:
    success = 200 <= response.status_code < 300
    whole = limit is not None and success
    until = until if success else None
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    body = bytearray()
    largest = 0
    complete = False
    try:
        for chunk in response.iter_raw():
            body += chunk
            largest = largest or (limit(bytes(body[:512])) if limit and whole else MAX_ERROR)
            if len(body) > largest:
                if whole and not until:
                    raise TooLarge
                break
            if until and until(chunk):
                break
        else:
            complete = True
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError):
        if whole and not until:
            raise
        # The status was the answer; the page that came with it is evidence, whole or not.
    kept = bytes(body if whole else body[:MAX_ERROR])
    return Reply(status=response.status_code, headers=headers, body=kept, complete=complete)


class VendorClient:
    """A vendor's HTTP API as an adapter sees it: implements `VendorHttp` of speech.vendors.base.

    `deadline_seconds` is the total for each call. `within` gives a client for one piece of work that may
    need several calls.
    """

    def __init__(
        self,
        vendor: str,
        base_url: str,
        *,
        local: bool = False,
        deadline_seconds: float = 60.0,
        max_audio: int = MAX_AUDIO,
        resolve: egress.Resolver = egress.resolve_host,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._vendor = vendor
        self._base_url = base_url
        self._local = local
        self._deadline = deadline_seconds
        self._max_audio = max_audio
        self._ends_at: float | None = None
        self.memory: dict[Any, Any] = {}
        self._api = Outbound(local=local, private=True, resolve=resolve, ssl_context=ssl_context)
        self._files = Outbound(local=local, resolve=resolve, ssl_context=ssl_context)
        self._sockets = Sockets(self._api.connect, vendor=vendor, max_audio=max_audio)

    def within(self, seconds: float) -> "VendorClient":
        """This client, on the same connections, for work that must be over that many seconds from now."""
        other = copy.copy(self)
        other._ends_at = time.monotonic() + seconds
        return other

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        until: Callable[[bytes], bool] | None = None,
    ) -> Reply:
        """Call the vendor's API at base URL + path; for `until` see `VendorHttp.request`."""
        target = self._target(path + (f"?{urlencode(params)}" if params else ""))
        sent = dict(headers or {})
        body = b""
        if json is not None:
            sent["Content-Type"] = "application/json"
            body = jsonlib.dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

        def limit(head: bytes) -> int:
            if method == "GET":
                return min(MAX_LIST, self._max_audio)
            return MAX_JSON if opens_like_text(head) else self._max_audio

        return self._exchange(
            self._api, target, method, headers=sent, body=body, limit=limit, ambiguous=method != "GET", until=until
        )

    def fetch(self, url: str) -> Reply:
        """GET a result from anywhere, without credentials, through the egress guard. Raises EgressRefused."""
        target = egress.parse(url, local=self._local)
        return self._exchange(
            self._files,
            target,
            "GET",
            headers={"Accept": "*/*"},
            body=b"",
            limit=lambda _: self._max_audio,
            ambiguous=False,
        )

    @contextmanager
    def converse(self, path: str, *, headers: Mapping[str, str], keep: str) -> Iterator[Conversation]:
        """Open a WebSocket at base URL + path, or go on with the one that the last exchange left open."""
        sent = {"User-Agent": USER_AGENT, **headers}
        try:
            with _ending_in(self._seconds()), self._sockets.exchange(self._target(path), sent, keep) as socket:
                yield socket
        except NotSent as error:
            raise self._unreached(error) from error

    def close(self) -> None:
        """Close every connection."""
        self._api.close()
        self._files.close()
        self._sockets.close()

    def _target(self, path: str) -> egress.Target:
        base = egress.parse(self._base_url, local=self._local)
        return egress.Target(base.scheme, base.host, base.port, base.path.rstrip("/") + path)

    def _unreached(self, error: BaseException, *, is_api: bool = True) -> VendorError:
        """Nobody there just now, or nobody of that name at all."""
        if is_api and isinstance(error.__cause__, _NoSuchName):
            return VendorGone("The vendor's address does not exist.", vendor=self._vendor)
        return VendorUnavailable("The vendor could not be reached.", vendor=self._vendor)

    def _seconds(self) -> float:
        """How long the next exchange may take. Raises VendorUnavailable when its time is over."""
        seconds = self._deadline
        if self._ends_at is not None:
            seconds = min(seconds, self._ends_at - time.monotonic())
        if seconds <= 0:
            raise VendorUnavailable("No time was left to call the vendor.", vendor=self._vendor)
        return seconds

    def _exchange(
        self,
        outbound: Outbound,
        target: egress.Target,
        method: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        limit: Callable[[bytes], int],
        ambiguous: bool,
        until: Callable[[bytes], bool] | None = None,
    ) -> Reply:
        seconds = self._seconds()
        try:
            return outbound.exchange(
                target, method, headers=headers, body=body, seconds=seconds, limit=limit, until=until
            )
        except NotSent as error:
            raise self._unreached(error, is_api=outbound is self._api) from error
        except NotAnswered as error:
            kind = VendorAmbiguous if ambiguous else VendorUnavailable
            raise kind("The vendor did not give a whole answer in time.", vendor=self._vendor) from error
        except TooLarge as error:
            raise VendorMisbehaved(
                "The vendor's answer is larger than any answer may be.", vendor=self._vendor
            ) from error


class HttpWebhookSender:
    """Posts to customers' addresses: implements `WebhookSender` of speech.ports."""

    def __init__(
        self, *, local: bool, deadline_seconds: float = WEBHOOK_SECONDS, resolve: egress.Resolver = egress.resolve_host
    ) -> None:
        self._local = local
        self._deadline = deadline_seconds
        self._outbound = Outbound(local=local, resolve=resolve)

    def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> int:
        """POST once; returns the status, of redirects too. Raises VendorUnavailable or EgressRefused."""
        target = egress.parse(url, local=self._local)
        try:
            return self._outbound.exchange(target, "POST", headers=headers, body=body, seconds=self._deadline).status
        except (NotSent, NotAnswered) as error:
            raise VendorUnavailable("The webhook's receiver did not answer.", vendor="webhook") from error
