"""The real handlers, each with the environment that the template gives it, in as many processes as Lambda has.

A process is a module of its own with services of its own; one that was killed is never used again.
"""

import itertools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from local.template import Function
from speech.aws.clients import Clients
from speech.bootstrap import Services
from speech.settings import Settings
from tests.support.edge import function


class Process:
    """One execution environment of a function."""

    def __init__(self, module: ModuleType, settings: Settings, clients: Clients) -> None:
        self.module = module
        self.services = Services(settings)
        self.services._clients = clients
        # Its composition root is that of a real process; here each process has its own.
        module.services = lambda: self.services  # type: ignore[attr-defined]  # a module's own name, set from outside


class Modules:
    """Loaded modules of functions, used again by the next world."""

    def __init__(self) -> None:
        self._idle: dict[str, list[ModuleType]] = {}

    def take(self, folder: str) -> ModuleType:
        idle = self._idle.setdefault(folder, [])
        return idle.pop() if idle else function(folder)

    def give_back(self, folder: str, module: ModuleType) -> None:
        self._idle[folder].append(module)


class Context:
    """What Lambda tells a function about its invocation."""

    memory_limit_in_mb = 512

    def __init__(self, of: Function, number: int) -> None:
        self.function_name = of.name
        self.invoked_function_arn = of.arn
        self.aws_request_id = f"8a4f1c5e-0000-0000-0000-{number:012d}"


class Fleet:
    """The functions of one world."""

    def __init__(
        self, wired: Mapping[str, Function], modules: Modules, clients: Clients, overrides: Mapping[str, str]
    ) -> None:
        self.wired = wired
        self._modules, self._clients, self._overrides = modules, clients, overrides
        self._idle: dict[str, list[Process]] = {}
        self._all: list[tuple[str, Process]] = []
        self._numbers = itertools.count()

    def settings(self, name: str) -> Settings:
        environment = self.wired[name].environment
        known = {key: value for key, value in self._overrides.items() if key in environment}
        return Settings.from_env({**environment, **known})

    def run(self, name: str, event: dict[str, Any]) -> Callable[[], Any]:
        """What a worker does: the handler in a process that is idle or new."""

        def work() -> Any:
            idle = self._idle.setdefault(name, [])
            process = idle.pop() if idle else self._started(name)
            answer = process.module.handler(event, Context(self.wired[name], next(self._numbers)))
            idle.append(process)  # not where it died or failed
            return answer

        return work

    def close(self) -> None:
        for name, process in self._all:
            self._modules.give_back(name, process.module)

    def _started(self, name: str) -> Process:
        process = Process(self._modules.take(name), self.settings(name), self._clients)
        self._all.append((name, process))
        return process
