"""What every emulated vendor shares: a server on loopback, a billing book, a journal, and faults on command."""

import asyncio
import json
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from local.emulators.book import BillingBook, Journal, Purchase, Received, Undocumented, masked
from local.emulators.faults import BEFORE, GENERIC, About, Answer, Fault, FaultError, FaultList, Kind, body_of, spoil
from local.emulators.voice import Encoding, Speaker, Speech, encode

WRONG_KEY: Final = "wrong-key"

# Headers that HTTP clients send by themselves; no vendor needs to document them.
_ORDINARY_HEADERS: Final = frozenset(
    {
        *("host", "user-agent", "connection", "keep-alive"),
        *("accept", "accept-encoding", "content-length", "content-type", "transfer-encoding"),
    }
)
_PIECE: Final = 8192
_T = TypeVar("_T")
_MOST_ENDLESS: Final = 64 * 1024 * 1024


class Switches(BaseModel):
    """How the vendor behaves where its documents leave a choice. Each may be changed at any time."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    api_key: str | None = None  # the only key that is accepted; None: any but an obviously wrong one
    latency: float = 0.0  # seconds before any synthesis begins
    concurrency: int | None = None  # more syntheses at once than this are refused as throttled


@dataclass(frozen=True)
class Spoken:
    """An answer that is audio. `chunked` leaves the length out, as vendors do that stream."""

    speech: Speech | None  # None only where a file exists already, and no fault is to be played on it
    encoding: Encoding
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False
    rewrite: Callable[[bytes], bytes] | None = None  # the last touch to the bytes
    file: bytes | None = None


@dataclass(frozen=True)
class Refusal:
    """A documented way to say no."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """A request on its way through a vendor's handler."""

    request: web.Request
    fields: Any  # what the body holds: usually an object
    fault: Fault | None
    purchases: list[Purchase] = field(default_factory=list)


class RefusedError(Exception):
    """The vendor says no; its answer is inside."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


Handler = Callable[[Call], Awaitable[web.StreamResponse | Spoken]]


@dataclass(frozen=True)
class Route:
    """One documented route, with all that the documents allow in its requests."""

    method: str
    path: str
    handler: Handler
    headers: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    query: frozenset[str] = frozenset()
    creates: bool = False  # accepts a synthesis
    gives_audio: bool = False  # answers with audio
    socket: bool = False  # becomes a WebSocket

    @property
    def about(self) -> frozenset[About]:
        """What its faults can be about."""
        told: dict[About, bool] = {"create": self.creates, "audio": self.gives_audio, "socket": self.socket}
        return frozenset(about for about, is_so in told.items() if is_so)


class Emulator(ABC):
    """One vendor on a free port of 127.0.0.1, from `start` to `stop`, in a thread of its own."""

    name: ClassVar[str]
    switches_type: ClassVar[type[Switches]] = Switches
    secret_headers: ClassVar[frozenset[str]]
    text_field: ClassVar[str]
    # The vendor's documented refusals, by names that all vendors share where they mean the same: "unauthorized",
    # "throttled", "quota", "rejected", "server-error". Each is also a fault of that name.
    refusals: ClassVar[Mapping[str, Refusal]]
    handled_faults: ClassVar[Mapping[str, About]] = {}  # faults of this vendor alone, and what they are about
    default_voice: ClassVar[str | None] = None  # one it knows, where requests must name one
    in_tests: ClassVar[Mapping[str, Any]] = {}  # switches with which the contract's tests need not wait
    examples: ClassVar[Mapping[str, Any]] = {}  # values of options that name something of an account: here it has them

    def __init__(self, *, port: int = 0, **switches: Any) -> None:
        self.switches = self.switches_type(**switches)
        self.book = BillingBook()
        self.journal = Journal()
        self.speaker = Speaker()
        in_handler = {name: Kind(about, after=True, in_handler=True) for name, about in self.handled_faults.items()}
        self.faults = FaultList({**GENERIC, **dict.fromkeys(self.refusals, BEFORE), **in_handler})
        self.url = ""
        self.in_flight = 0
        self.most_in_flight = 0
        self._port = port
        self._voices = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"{self.name}-voice")
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop
        self.stopping: asyncio.Event
        self._routes: dict[tuple[str, str], Route] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what a vendor adds ------------------------------------------------------------------------------------

    @abstractmethod
    def routes(self) -> Iterable[Route]:
        """The documented routes."""

    @abstractmethod
    def no_such_route(self, request: web.Request, status: int) -> web.Response:
        """What the vendor says to an address (404) or a method (405) it does not have."""

    def text_behind(self, request: web.Request) -> str | None:
        """The text that a request without one is about, if the emulator can tell."""
        return None

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the requests, at the latest until the server stops."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What lives as long as the server does."""
        yield

    def control_routes(self) -> Iterable[web.RouteDef]:
        """Further addresses under /_emulator."""
        return ()

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Serve; `url` is known when this returns."""
        self._thread = threading.Thread(target=self._run, name=f"{self.name}-emulator", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop serving and close every connection."""
        if self._thread is not None:
            self.loop.call_soon_threadsafe(self.stopping.set)
            self._thread.join()
            self._thread = None
        self._voices.shutdown()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:  # the port is taken
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with self.running():
                self._ready.set()
                await self.stopping.wait()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=2**26, middlewares=[self._every_request])
        for route in self.routes():
            self._routes[route.method, route.path] = route
            app.router.add_route(route.method, route.path, self._outside_our_middleware)
        app.router.add_get("/elsewhere", self._outside_our_middleware)
        self._routes["GET", "/elsewhere"] = Route("GET", "/elsewhere", self._elsewhere)
        app.router.add_post("/elsewhere", self._outside_our_middleware)
        self._routes["POST", "/elsewhere"] = Route("POST", "/elsewhere", self._elsewhere)
        app.router.add_routes([*_Control(self).routes(), *self.control_routes()])
        return app

    async def _outside_our_middleware(self, request: web.Request) -> web.StreamResponse:
        raise AssertionError(f"{request.path} is answered by the middleware")

    # -- one request -------------------------------------------------------------------------------------------

    @web.middleware
    async def _every_request(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith("/_emulator"):
            return await handler(request)
        resource = request.match_info.route.resource
        route = self._routes.get((request.method, resource.canonical)) if resource is not None else None
        fields = await _fields(request)
        received = self._written_down(request, fields, route)
        if route is None:
            missing = request.match_info.http_exception
            return self._noted(received, self.no_such_route(request, missing.status if missing is not None else 404))
        text = fields.get(self.text_field) if isinstance(fields, dict) else None
        fault = self.faults.take(
            route=f"{request.method} {request.path}",
            text=text if isinstance(text, str) else self.text_behind(request),
            about=route.about,
        )
        call = Call(request=request, fields=fields, fault=fault)
        if fault is None:
            return self._noted(received, await self._plain(call, route))
        received.fault = fault.fault
        response = await self._played(call, route, fault)
        if response is None:
            self.faults.give_back(fault)
            received.fault, call.fault = None, None
            response = await self._plain(call, route)
        return self._noted(received, response)

    def _written_down(self, request: web.Request, fields: Any, route: Route | None) -> Received:
        known = _ORDINARY_HEADERS | {name.lower() for name in self.secret_headers}
        known |= {name.lower() for name in route.headers} if route is not None else set()
        strange = Undocumented(route=route is None)
        if route is not None:
            strange.headers = sorted({name for name in request.headers if name.lower() not in known})
            strange.query = sorted(set(request.query) - route.query)
            strange.fields = sorted(set(fields) - route.fields) if isinstance(fields, dict) else []
        body = masked(fields.items(), self.secret_headers) if isinstance(fields, dict) else fields
        received = Received(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers=masked(request.headers.items(), self.secret_headers),
            body=body,
            undocumented=strange,
        )
        self.journal.record(received)
        return received

    @staticmethod
    def _noted(received: Received, response: web.StreamResponse) -> web.StreamResponse:
        received.status = None if isinstance(response, _NoAnswer) else response.status
        return response

    async def _outcome(self, call: Call, route: Route) -> web.StreamResponse | Answer:
        """What the vendor would answer if nothing went wrong."""
        if route.creates:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if route.creates:
                await self._admit()
            spoken = await route.handler(call)
            return await self.answer_with(spoken) if isinstance(spoken, Spoken) else spoken
        except RefusedError as refusal:
            return refusal.response
        finally:
            if route.creates:
                self.in_flight -= 1

    async def _admit(self) -> None:
        limit = self.switches.concurrency
        if limit is not None and self.in_flight > limit:
            raise RefusedError(self.refusal("throttled"))
        if self.switches.latency > 0:
            await asyncio.sleep(self.switches.latency)

    async def _plain(self, call: Call, route: Route) -> web.StreamResponse:
        outcome = await self._outcome(call, route)
        return await _delivered(call.request, outcome) if isinstance(outcome, Answer) else outcome

    async def _played(self, call: Call, route: Route, fault: Fault) -> web.StreamResponse | None:
        """The answer with its fault, or None where the vendor refuses the request anyway."""
        kind = self.faults.kinds[fault.fault]
        billed = kind.after if fault.billed is None else fault.billed
        if not kind.after and not billed:
            return await self._instead(call.request, fault)
        outcome = await self._outcome(call, route)
        if outcome.status >= 400:
            return None
        for purchase in call.purchases:
            purchase.fault = fault.fault
            if not billed:
                self.book.strike(purchase)
        if not kind.after:
            return await self._instead(call.request, fault)
        if isinstance(outcome, web.StreamResponse):
            if kind.in_handler or not isinstance(outcome, web.Response):
                return outcome
            outcome = _as_answer(outcome)
        whole = outcome
        spoiled = await self.in_voice_thread(lambda: spoil(fault, whole))
        return await _transported(call.request, fault, spoiled, self.stopping)

    async def _instead(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.fault == "hang":
            await _hang(request, fault.seconds, self.stopping)
            return _reset(request)
        if fault.fault == "reset":
            return _reset(request)
        if fault.fault == "redirect":
            status = 302 if fault.status == 500 else fault.status
            return web.Response(status=status, headers={"Location": fault.location or f"{self.url}/elsewhere"})
        if fault.fault in self.refusals:
            return self.refusal(fault.fault, body=fault.body, headers=fault.headers)
        body, content_type = body_of(fault, self.error_body(fault.status))
        return _response(fault.status, body, {"Content-Type": content_type, **fault.headers})

    # -- for the vendors ---------------------------------------------------------------------------------------

    def refusal(self, name: str, *, body: Any = None, headers: Mapping[str, str] | None = None) -> web.Response:
        """One of the documented refusals, perhaps in other words or with other headers."""
        refusal = self.refusals[name]
        text = refusal.body if body is None else body
        payload = text if isinstance(text, str) else json.dumps(text)
        content_type = "text/plain" if isinstance(text, str) else "application/json"
        all_headers = {"Content-Type": content_type, **refusal.headers, **(headers or {})}
        return _response(refusal.status, payload.encode(), all_headers)

    def error_body(self, status: int) -> Any:
        """The vendor's own words for a status."""
        for refusal in self.refusals.values():
            if refusal.status == status:
                return refusal.body
        return self.refusals["server-error"].body

    async def in_voice_thread(self, work: Callable[[], _T]) -> _T:
        """Do something slow off the event loop."""
        return await self.loop.run_in_executor(self._voices, work)

    async def speak(self, text: str, *, language: str, voice: str) -> Speech:
        """Speech, made off the event loop. `voice` is a variant or any name."""
        return await self.in_voice_thread(lambda: self.speaker.speak(text, language=language, voice_name=voice))

    async def answer_with(self, spoken: Spoken) -> Answer:
        """Encoded audio, ready to be sent."""
        data, speech = spoken.file, spoken.speech
        if data is None:
            if speech is None:
                raise AssertionError("An answer needs speech or a file.")
            data = await self.in_voice_thread(lambda: encode(speech, spoken.encoding))
        return Answer(
            status=200,
            headers=spoken.headers,
            content_type=spoken.encoding.content_type,
            body=spoken.rewrite(data) if spoken.rewrite is not None else data,
            speech=spoken.speech,
            encoding=spoken.encoding,
            chunked=spoken.chunked,
        )

    def key_is_right(self, key: str) -> bool:
        """Whether a key that was sent opens the door."""
        return key == self.switches.api_key if self.switches.api_key is not None else key != WRONG_KEY

    def charge(self, call: Call, text: str, **facts: Any) -> Purchase:
        """Enter a synthesis in the book."""
        purchase = self.book.enter(text, **facts)
        call.purchases.append(purchase)
        return purchase

    async def _elsewhere(self, call: Call) -> Spoken:
        speech = await self.speak("This comes from elsewhere.", language="en", voice="")
        return Spoken(speech, Encoding("wav", 22050))


class _Control:
    """The addresses under /_emulator, for whoever runs the emulator as a program."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/_emulator", self.overview),
            web.get("/_emulator/book", self.book),
            web.delete("/_emulator/book", self.clear_book),
            web.get("/_emulator/requests", self.requests),
            web.delete("/_emulator/requests", self.clear_requests),
            web.get("/_emulator/undocumented", self.undocumented),
            web.get("/_emulator/faults", self.faults),
            web.post("/_emulator/faults", self.play),
            web.delete("/_emulator/faults", self.clear_faults),
            web.get("/_emulator/switches", self.switches),
            web.put("/_emulator/switches", self.switch),
        ]

    async def overview(self, _request: web.Request) -> web.Response:
        emulator = self._emulator
        return web.json_response(
            {
                "vendor": emulator.name,
                "purchases": len(emulator.book),
                "characters": emulator.book.characters,
                "credits": emulator.book.credits,
                "in_flight": emulator.in_flight,
                "most_in_flight": emulator.most_in_flight,
                "faults": {name: asdict(kind) for name, kind in emulator.faults.kinds.items()},
            }
        )

    async def book(self, _request: web.Request) -> web.Response:
        return web.json_response(self._emulator.book.as_json())

    async def clear_book(self, _request: web.Request) -> web.Response:
        self._emulator.book.clear()
        return web.Response(status=204)

    async def requests(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(entry) for entry in self._emulator.journal.entries])

    async def clear_requests(self, _request: web.Request) -> web.Response:
        self._emulator.journal.clear()
        return web.Response(status=204)

    async def undocumented(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(entry) for entry in self._emulator.journal.undocumented])

    async def faults(self, _request: web.Request) -> web.Response:
        return web.json_response([fault.model_dump() for fault in self._emulator.faults.waiting])

    async def play(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            faults = [Fault.model_validate(fault) for fault in (wanted if isinstance(wanted, list) else [wanted])]
            for fault in faults:
                self._emulator.faults.add(fault)
        except (ValidationError, FaultError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"waiting": len(self._emulator.faults.waiting)}, status=201)

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._emulator.faults.clear()
        return web.Response(status=204)

    async def switches(self, _request: web.Request) -> web.Response:
        return web.json_response(self._emulator.switches.model_dump())

    async def switch(self, request: web.Request) -> web.Response:
        switches = self._emulator.switches
        try:
            changed = {**switches.model_dump(), **(await request.json())}
            self._emulator.switches = type(switches).model_validate(changed)
        except (ValidationError, json.JSONDecodeError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return await self.switches(request)


class _NoAnswer(web.Response):
    """Stands for an answer that never went out; the connection is already closed."""


async def _fields(request: web.Request) -> Any:
    """The body as the sender meant it: an object of fields, other JSON, or None where it cannot be read."""
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        try:
            return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        except ValueError:
            return None
    raw = await request.read()
    try:
        return json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        return None


def _response(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=body, headers=dict(headers))


def _as_answer(response: web.Response) -> Answer:
    body = response.body if isinstance(response.body, bytes) else b""
    return Answer(response.status, {}, response.content_type, body)


async def _delivered(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Send an answer as it should be sent."""
    headers = {"Content-Type": answer.content_type, **answer.headers}
    if not answer.chunked:
        return _response(answer.status, answer.body, headers)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    for piece in _pieces(answer.body, _PIECE):
        await response.write(piece)
    await response.write_eof()
    return response


def _pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


async def _transported(
    request: web.Request, fault: Fault, answer: Answer, stopping: asyncio.Event
) -> web.StreamResponse:
    """Send an answer in the way the fault sends it."""
    if fault.fault == "lost":
        return _reset(request)
    if fault.fault == "cut":
        keep = len(answer.body) // 2 if fault.bytes is None else fault.bytes
        return _cut(request, answer, answer.body[:keep], fault.framing)
    if fault.fault == "stall":
        keep = len(answer.body) // 2 if fault.bytes is None else fault.bytes
        return await _stall(request, answer, answer.body[:keep], len(answer.body), fault.seconds, stopping)
    if fault.fault == "false-length":
        claimed = fault.bytes or len(answer.body) * 2
        return await _stall(request, answer, answer.body, claimed, fault.seconds, stopping)
    if fault.fault == "drip":
        return await _drip(request, answer, fault.seconds, stopping)
    if fault.fault == "endless":
        return await _endless(request, answer, fault.bytes or _MOST_ENDLESS, stopping)
    return await _delivered(request, answer)


def _reset(request: web.Request) -> web.StreamResponse:
    """Reset the connection: whatever was not read is gone, and the client sees an error rather than an end."""
    if request.transport is not None:
        sock = request.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return _NoAnswer()


def _cut(request: web.Request, answer: Answer, kept: bytes, framing: str) -> web.StreamResponse:
    """Send the head and a part of the body by hand, then close: aiohttp would rightly refuse to."""
    lines = [f"HTTP/1.1 {answer.status} OK", f"Content-Type: {answer.content_type}"]
    body = kept
    if framing == "length":
        lines.append(f"Content-Length: {len(answer.body)}")
    elif framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n" % (len(kept), kept) if kept else b""
    else:
        lines.append("Connection: close")
    if request.transport is not None:
        request.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        request.transport.close()
    return _NoAnswer()


async def _stall(
    request: web.Request, answer: Answer, sent: bytes, claimed: int, seconds: float, stopping: asyncio.Event
) -> web.StreamResponse:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {answer.content_type}\r\nContent-Length: {claimed}\r\n\r\n"
    if request.transport is not None:
        request.transport.write(head.encode() + sent)
        await _hang(request, seconds, stopping)
    if request.transport is not None:
        request.transport.close()
    return _NoAnswer()


async def _drip(request: web.Request, answer: Answer, seconds: float, stopping: asyncio.Event) -> web.StreamResponse:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    drops = max(1, min(len(answer.body), round(seconds * 20)))
    for piece in _pieces(answer.body, -(-len(answer.body) // drops) or 1):
        await response.write(piece)
        await _hang(request, seconds / drops, stopping)
        if stopping.is_set():
            return _reset(request)
    await response.write_eof()
    return response


async def _endless(request: web.Request, answer: Answer, most: int, stopping: asyncio.Event) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    await response.prepare(request)
    sent = 0
    while sent < most and not stopping.is_set():
        await response.write(answer.body or bytes(_PIECE))
        sent += len(answer.body) or _PIECE
    await response.write_eof()
    return response


async def _hang(request: web.Request, seconds: float, stopping: asyncio.Event) -> None:
    """Wait; no longer than the client does."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopping.is_set():
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(min(left, 0.05))
