"""A network without sockets: the product's HTTP connections end in applications of this process.

What goes over the wire is real: httpcore writes its requests, aiohttp parses and answers them. In between there
is no kernel, so nothing happens in parallel, and time is virtual.
"""

import asyncio
import heapq
import re
from asyncio import events
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, TypeVarTuple

import httpcore
from aiohttp import web

from tests.support.sim.chance import Fault
from tests.support.sim.clock import VirtualClock
from tests.support.sim.machine import Machine

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BEFORE = ("unreachable", "unsent")
AFTER = ("unanswered",)

_AT_ONCE = 1e-5
"""Seconds that are no difference: epoch and monotonic time do not round alike."""

_IDS = re.compile(r"/(?=[^/]*\d)[0-9A-Za-z_.-]{12,}")
"""The part of an address that names a job or a file: it makes no other call site."""


class _Nothing:
    def select(self, timeout: float | None) -> list[Any]:
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that runs only when it is told to, in whoever's thread tells it, by the virtual clock."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._inner: Any = self  # what asyncio keeps to itself has no types
        self._virtual = clock
        self._selector = _Nothing()
        self._reached = 0.0
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return max(self._virtual.monotonic, self._reached)

    def next_timer(self) -> float:
        if self._inner._ready:
            return self._virtual.now
        scheduled = self._inner._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._inner._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        return self._virtual.now - self._virtual.monotonic + scheduled[0]._when if scheduled else float("inf")

    def spin(self) -> None:
        """Run whatever can run now."""
        inner = self._inner
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while inner._ready or (inner._scheduled and inner._scheduled[0]._when <= self.time() + _AT_ONCE):
                if not inner._ready:
                    # Whoever is woken a hair too early would go back to sleep until the same moment, for ever.
                    self._reached = max(self._reached, inner._scheduled[0]._when)
                inner._run_once()
        finally:
            events._set_running_loop(before)

    def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something that needs no time."""
        task = self.create_task(work)
        self.spin()
        return task.result()

    def shut(self) -> None:
        """Cancel what is left, and close."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.spin()
        self.close()

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """At once: there are no other threads here."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it, as from any executor
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        return

    def _write_to_self(self) -> None:
        return


class Application:
    """An aiohttp application under a host and a port of this network."""

    def __init__(self, name: str, app: web.Application, loop: VirtualLoop) -> None:
        self.name = name
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        loop.finish(self._runner.setup())

    def connection(self) -> Any:
        if self._runner.server is None:
            raise AssertionError("The application was not set up.")
        return self._runner.server()


class Network:
    """Port → application. `backend` takes the place of httpcore's own way to open connections."""

    def __init__(self, machine: Machine, loop: VirtualLoop) -> None:
        self.machine, self.loop = machine, loop
        self.apps: dict[int, Application] = {}
        self.on_request: Callable[[str, str], None] = lambda _app, _request: None

    def serve(self, port: int, name: str, app: web.Application) -> None:
        self.apps[port] = Application(name, app, self.loop)

    def backend(self) -> httpcore.NetworkBackend:
        return _Backend(self)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, network: Network) -> None:
        self._network = network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        app = self._network.apps.get(port)
        if host != "127.0.0.1" or app is None:
            raise AssertionError(f"I19: a connection to {host}:{port}, where nobody should go")
        if timeout is None:
            raise AssertionError("I18: a connection without a deadline")
        return _Stream(self._network, app)


class _Stream(httpcore.NetworkStream):
    """The client's end. What is written goes out when an answer is wanted: that is the call, and a point."""

    def __init__(self, network: Network, app: Application) -> None:
        self._network, self._app = network, app
        self._out = bytearray()
        self.inbox = bytearray()
        self.ended = self.was_reset = self._is_closed = False
        self.reader: Any = None
        self._protocol = app.connection()
        self._transport = _Transport(self, self._protocol, network.loop)
        network.loop.call_soon(self._protocol.connection_made, self._transport)
        network.loop.spin()

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self.was_reset:
            raise httpcore.WriteError("reset")
        self._out += buffer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if timeout is None:
            raise AssertionError("I18: waiting without a deadline")
        if self._out:
            self._call()
        machine = self._network.machine
        self.reader = machine.current
        try:
            came = machine.wait(timeout, lambda: bool(self.inbox) or self.ended or self.was_reset)
        finally:
            self.reader = None
        if not came:
            raise httpcore.ReadTimeout("nothing came")
        if self.was_reset:
            raise httpcore.ReadError("reset")
        data = bytes(self.inbox[:max_bytes])
        del self.inbox[:max_bytes]
        return data

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._out and not self.was_reset and not self._is_dead():
            self._deliver()
        self._transport.hung_up()
        self._network.loop.spin()

    def get_extra_info(self, info: str) -> Any:
        return (bool(self.inbox) or self.ended or self.was_reset) if info == "is_readable" else None

    def arrived(self) -> None:
        """Something came, or the connection ended."""
        reader = self.reader
        if reader is not None:
            self.reader = None
            self._network.machine.wake(reader)

    def _is_dead(self) -> bool:
        current = self._network.machine.current
        return current is not None and current.dead

    def _call(self) -> None:
        name = self._named()
        self._network.machine.point(name, self._deliver, before=BEFORE, after=AFTER, fail=self._fail)

    def _named(self) -> str:
        line, _, _ = bytes(self._out[:400]).partition(b"\r\n")
        if not line.endswith(b"HTTP/1.1"):
            return f"{self._app.name} socket"
        method, path, _ = line.decode("latin-1").split(" ", 2)
        return f"{self._app.name} {method} {_IDS.sub('/*', path.partition('?')[0])}"

    def _deliver(self) -> None:
        data = bytes(self._out)
        self._out.clear()
        self._network.on_request(self._app.name, "begin")
        self._network.loop.call_soon(self._protocol.data_received, data)
        self._network.loop.spin()

    def _fail(self, fault: Fault, effect: Callable[[], None]) -> None:
        if fault.kind == "unanswered":
            effect()
        self._out.clear()
        self.was_reset = True
        self._transport.hung_up()
        self._network.loop.spin()
        if fault.kind == "unreachable":
            raise httpcore.ConnectError("unreachable")


class _Transport(asyncio.Transport):
    """The server's end."""

    def __init__(self, stream: _Stream, protocol: Any, loop: VirtualLoop) -> None:
        super().__init__()
        self._stream, self._protocol, self._loop = stream, protocol, loop
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def is_reading(self) -> bool:
        return not self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def write(self, data: Any) -> None:
        if not self._closing:
            self._stream.inbox += data
            self._stream.arrived()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.write(data)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self._closing:
            self._stream.ended = True
            self._stream.arrived()
            self._lose()

    def abort(self) -> None:
        if not self._closing:
            self._stream.was_reset = True
            self._stream.arrived()
            self._lose()

    def hung_up(self) -> None:
        """The client is gone."""
        if not self._closing:
            self._lose()

    def _lose(self) -> None:
        self._closing = True
        self._loop.call_soon(self._protocol.connection_lost, None)
