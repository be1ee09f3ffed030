"""Run each function's own code in its own processes, under the real Lambda runtime client.

Each process talks to a Runtime API of its own port, as on Lambda, where every environment has its own:
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from aiohttp import web

from local.deployed import START, absent
from local.process import Household, plain_environment
from local.template import REGION, Function

RESPONSE_LIMIT = 6 * 1024 * 1024 + 100
"""Bytes of a synchronous answer (and, on the way in, of a synchronous event)."""

INIT_SECONDS = 10.0
"""How long a function may take to load before its own timeout starts to count."""

CONCURRENCY = 10
"""How many processes a function may have, unless its queues together ask for more."""

COLD_STARTS = os.cpu_count() or 2
"""How many processes of all functions start at once. More would start no sooner, on one machine; and who waits for a
start may find meanwhile that a process has become idle."""

COLD_START_PATIENCE_SECONDS = 2.0
"""How long a start waits for others: one that hangs holds up nobody for long."""

IDLE_SECONDS = 60.0
"""How long a process waits for more to do. The newest of a function stays, so that a lone call is a warm one."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an invocation came to. When `failed`, the payload is Lambda's error object."""

    payload: bytes
    failed: bool = False


@dataclass(slots=True)
class _Invocation:
    id: str
    event: bytes
    deadline: float
    """Epoch seconds."""
    result: asyncio.Future[Result]


def _error(kind: str, message: str) -> Result:
    return Result(json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)


class Environment:
    """One process of a function: one invocation at a time, then the next."""

    process: asyncio.subprocess.Process

    def __init__(self, function: Function, folder: Path) -> None:
        self.function = function
        self.folder = folder
        self.ready: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
        """Done when the process asks for its first event (None), or cannot (the error)."""
        self.inbox: asyncio.Queue[_Invocation] = asyncio.Queue(1)
        self.current: _Invocation | None = None
        self.alive = True
        self.idle_since = 0.0

    def settle(self, result: Result) -> None:
        """Answer the current invocation, or the wait for readiness."""
        if not self.ready.done():
            self.ready.set_result(result)
        elif self.current is not None and not self.current.result.done():
            self.current.result.set_result(result)

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        self.alive = False


class Pool:
    """The processes of one function. Idle ones are used again, newest first; a call waits for a free one."""

    def __init__(self, function: Function, *, runtime: "Runtime", concurrency: int) -> None:
        self.function = function
        self._runtime = runtime
        self._slots = asyncio.Semaphore(concurrency)
        self._idle: list[Environment] = []
        self._retiring: asyncio.TimerHandle | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self.log: IO[bytes] = (runtime.stack_dir / "logs" / f"{function.name}.log").open("ab", buffering=0)
        self._pids = runtime.stack_dir / "pids" / function.name
        self._pids.mkdir(parents=True)

    async def invoke(self, event: bytes) -> Result:
        """Run the function once, synchronously. Never raises: what goes wrong inside is a failed result."""
        if len(event) > RESPONSE_LIMIT:
            return _error("RequestTooLarge", "The event is larger than a synchronous invocation allows.")
        async with self._slots:
            started = time.perf_counter()
            environment, initialised = await self._environment()
            init_ms = (time.perf_counter() - started) * 1000 if initialised else None
            problem = await environment.ready
            if problem is not None:
                return problem
            invocation = _Invocation(
                id=str(uuid.uuid4()),
                event=event,
                deadline=time.time() + self.function.timeout,
                result=asyncio.get_running_loop().create_future(),
            )
            self._write(f"START RequestId: {invocation.id} Version: $LATEST Pid: {environment.process.pid}")
            started = time.perf_counter()
            result = await self._run(environment, invocation)
            milliseconds = (time.perf_counter() - started) * 1000
            self._report(invocation.id, milliseconds, init_ms)
            self._runtime.observe(
                function=self.function.name,
                request_id=invocation.id,
                pid=environment.process.pid,
                milliseconds=round(milliseconds, 2),
                init_milliseconds=None if init_ms is None else round(init_ms, 2),
                failed=result.failed,
            )
            return result

    async def _environment(self) -> tuple[Environment, bool]:
        """An idle process, or a new one that has loaded its code or failed to; and whether it is new."""
        if await self._runtime.may_start(self._is_any_idle):
            return await self._new(), True
        return self._idle.pop(), False

    def _is_any_idle(self) -> bool:
        while self._idle and not self._idle[-1].alive:
            self._idle.pop()
        return bool(self._idle)

    async def _new(self) -> Environment:
        try:
            return await self._loaded()
        finally:
            self._runtime.started()

    async def _loaded(self) -> Environment:
        environment = await self._runtime.start(self)
        (self._pids / str(environment.process.pid)).touch()
        watcher = asyncio.create_task(self._watch(environment))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        limit = INIT_SECONDS + self.function.timeout
        try:
            await asyncio.wait_for(asyncio.shield(environment.ready), limit)
        except TimeoutError:
            environment.settle(_error("Sandbox.Timedout", f"The function did not load within {limit:.0f} seconds."))
            await environment.kill()
        return environment

    async def _run(self, environment: Environment, invocation: _Invocation) -> Result:
        environment.current = invocation
        if environment.alive:
            environment.inbox.put_nowait(invocation)
        else:
            environment.settle(_error("Runtime.ExitError", "Runtime exited between invocations."))
        try:
            result = await asyncio.wait_for(asyncio.shield(invocation.result), self.function.timeout)
        except TimeoutError:
            message = f"Task timed out after {self.function.timeout:.2f} seconds"
            self._write(f"{invocation.id} {message}")
            environment.current = None
            await environment.kill()
            return _error("Sandbox.Timedout", f"RequestId: {invocation.id} Error: {message}")
        environment.current = None
        if environment.alive:
            self._rest(environment)
        return result

    def _rest(self, environment: Environment) -> None:
        """Keep a process for the next call, for a while."""
        environment.idle_since = asyncio.get_running_loop().time()
        self._idle.append(environment)
        self._runtime.changed()
        if self._retiring is None and len(self._idle) > 1:
            self._retire()

    def _retire(self) -> None:
        """Let go of processes that nobody has needed, and come back when the next one is due."""
        loop, patience = asyncio.get_running_loop(), self._runtime.idle_seconds
        self._idle = [each for each in self._idle if each.alive]
        while len(self._idle) > 1 and self._idle[0].idle_since + patience <= loop.time():
            with contextlib.suppress(ProcessLookupError):
                self._idle.pop(0).process.terminate()
        waits = len(self._idle) > 1
        self._retiring = loop.call_at(self._idle[0].idle_since + patience, self._retire) if waits else None

    async def _watch(self, environment: Environment) -> None:
        """Notice the end of a process, whoever ended it."""
        status = await environment.process.wait()
        environment.alive = False
        pid = environment.process.pid
        self._write(f"EXIT Pid: {pid} Status: {status}")
        environment.settle(_error("Runtime.ExitError", f"Runtime exited with status {status}"))
        (self._pids / str(pid)).unlink(missing_ok=True)
        await self._runtime.forget(environment)

    def _report(self, request_id: str, milliseconds: float, init_ms: float | None) -> None:
        billed = int(milliseconds + (init_ms or 0)) + 1
        init = "" if init_ms is None else f" Init Duration: {init_ms:.2f} ms"
        self._write(
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id} Duration: {milliseconds:.2f} ms Billed Duration: {billed} ms "
            f"Memory Size: {self.function.memory} MB{init}"
        )

    def _write(self, line: str) -> None:
        self.log.write(line.encode() + b"\n")


class Runtime:
    """The Runtime API of every process of the stack, and the pools that use it."""

    def __init__(
        self,
        *,
        stack_dir: Path,
        household: Household,
        endpoint: str,
        invocations_log: Path | None = None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`invocations_log` gets a line of JSON for every invocation: what ran, for how long, and whether it failed."""
        self.stack_dir = stack_dir
        self.idle_seconds = idle_seconds
        self._invocations_log = invocations_log
        self._household = household
        self._endpoint = endpoint
        self._by_port: dict[int, Environment] = {}
        self._sites: dict[Environment, tuple[web.TCPSite, int]] = {}
        self._starting = 0
        self._changed = asyncio.Event()
        application = web.Application(client_max_size=RESPONSE_LIMIT)
        application.router.add_get("/2018-06-01/runtime/invocation/next", self._next)
        application.router.add_post("/2018-06-01/runtime/invocation/{id}/response", self._response)
        application.router.add_post("/2018-06-01/runtime/invocation/{id}/error", self._failure)
        application.router.add_post("/2018-06-01/runtime/init/error", self._failure)
        # The connection is idle while the function works, so it must not be closed for being idle.
        self._server = web.AppRunner(
            application, access_log=None, keepalive_timeout=3600, handler_cancellation=True, shutdown_timeout=0.5
        )

    async def __aenter__(self) -> Self:
        await self._server.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.cleanup()

    def pool(self, function: Function, *, wanted: int = 0) -> Pool:
        """`wanted` is what its queues together may ask for at once."""
        concurrency = function.reserved_concurrency or max(CONCURRENCY, wanted)
        return Pool(function, runtime=self, concurrency=concurrency)

    def observe(self, **facts: Any) -> None:
        if self._invocations_log is not None:
            with self._invocations_log.open("a") as log:
                log.write(json.dumps(facts) + "\n")

    async def may_start(self, is_any_idle: Callable[[], bool]) -> bool:
        """Whether to start a process, which is then counted until `started`; else there is an idle one to be taken.

        Between the answer and what the caller does with it nobody else has a turn.
        """
        loop = asyncio.get_running_loop()
        latest = loop.time() + COLD_START_PATIENCE_SECONDS
        while not is_any_idle():
            if self._starting < COLD_STARTS or loop.time() >= latest:
                self._starting += 1
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(latest):
                    await self._changed.wait()
        return False

    def started(self) -> None:
        self._starting -= 1
        self.changed()

    def changed(self) -> None:
        """Whoever waits for a process looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def start(self, pool: Pool) -> Environment:
        """Start a process of the function: a cold start."""
        function = pool.function
        site = web.TCPSite(self._server, "127.0.0.1", 0)
        await site.start()
        port = _port(site)
        folder = self.stack_dir / "tmp" / f"{function.name}-{port}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        environment = Environment(function, folder)
        self._by_port[port] = environment
        self._sites[environment] = (site, port)
        environment.process = await self._household.spawn(
            [sys.executable, "-c", START, ",".join(absent()), function.handler],
            cwd=function.folder,
            env=self._variables(function, port=port, folder=folder),
            log=pool.log,
        )
        return environment

    async def forget(self, environment: Environment) -> None:
        """A process is gone: close its port and remove its /tmp."""
        site, port = self._sites.pop(environment)
        del self._by_port[port]
        shutil.rmtree(environment.folder, ignore_errors=True)
        with contextlib.suppress(RuntimeError):  # the server is being closed as a whole
            await site.stop()

    def _variables(self, function: Function, *, port: int, folder: Path) -> Mapping[str, str]:
        return {
            **variables(function, endpoint=self._endpoint),
            "TMPDIR": str(folder),
            "AWS_LAMBDA_LOG_STREAM_NAME": folder.name,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
        }

    # --- the Runtime API ---

    def _who(self, request: web.Request) -> Environment:
        if request.transport is None:
            raise web.HTTPGone
        return self._by_port[request.transport.get_extra_info("sockname")[1]]

    async def _next(self, request: web.Request) -> web.Response:
        environment = self._who(request)
        if not environment.ready.done():
            environment.ready.set_result(None)
        invocation = await environment.inbox.get()
        return web.Response(
            body=invocation.event,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": invocation.id,
                "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": environment.function.arn,
                "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}",
            },
        )

    async def _response(self, request: web.Request) -> web.Response:
        environment = self._who(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
            environment.settle(_error("Function.ResponseSizeTooLarge", message))
            raise
        environment.settle(Result(body))
        return _accepted()

    async def _failure(self, request: web.Request) -> web.Response:
        self._who(request).settle(Result(await request.read(), failed=True))
        return _accepted()


def variables(function: Function, *, endpoint: str) -> dict[str, str]:
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
    log_format = {"AWS_LAMBDA_LOG_FORMAT": "JSON"} if function.json_logs else {}
    return {
        **plain_environment(),
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, (*function.layers, function.folder))),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.logical_id,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.logical_id}",
        "LAMBDA_TASK_ROOT": str(function.folder),
        "_HANDLER": function.handler,
        **log_format,
        **function.environment,
    }


def _accepted() -> web.Response:
    return web.Response(status=202, text='{"status":"OK"}', content_type="application/json")


def _port(site: web.TCPSite) -> int:
    server: Any = site._server  # aiohttp says the port it was given, not the one it got
    return int(server.sockets[0].getsockname()[1])
