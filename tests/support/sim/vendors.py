"""The repository's emulators as the vendors of a simulated world: their own logic, on the virtual loop."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from local.emulators import EMULATORS, base, creatify, playht, voiceai
from local.emulators.base import Emulator
from local.emulators.book import Purchase
from local.emulators.creatify import CreatifyEmulator, Webhook
from tests.support.sim import sounds
from tests.support.sim.machine import Machine
from tests.support.sim.network import Network, VirtualLoop

PORTS: Mapping[str, int] = {name: 4_701 + number for number, name in enumerate(EMULATORS)}
CUSTOMER = 4_790
"""Where customers' webhooks go."""

ADDRESSES: Mapping[str, str] = {name: f"http://127.0.0.1:{port}" for name, port in PORTS.items()}

CREATED_BUT_FAILED = ("job-failed", "job-without-id", "job-forgotten", "job-without-address", "job-unknown-status")
GENERIC = (
    *("throttled", "server-error", "unauthorized", "quota", "lost", "reset", "hang"),
    *("empty", "json", "html", "silent", "truncated", "cut", "json-after-audio", "wrong-content-type"),
    *("null", "text", "no-content", "stall", "redirect"),
)
"""Faults of the emulators that a world plays; each vendor plays those of them that it knows."""

SOCKET = ("socket-cut", "socket-close", "socket-error", "socket-without-last", "socket-last-with-audio")


@contextmanager
def quick_voices() -> Iterator[None]:
    """Nobody waits for an encoder twice."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (base, creatify, playht, voiceai):
            if hasattr(module, "encode"):
                patch.setattr(module, "encode", sounds.encode_once)
        yield


@dataclass(frozen=True, slots=True)
class Sale:
    """A purchase, and what it was: `text` is known here, the book has its fingerprint only."""

    vendor: str
    text: str
    purchase: Purchase


class Market:
    """All vendors of one world, and what they sold."""

    def __init__(self, machine: Machine, network: Network, loop: VirtualLoop) -> None:
        self._machine, self._network, self._loop = machine, network, loop
        self.emulators: dict[str, Emulator] = {}
        self.sales: list[Sale] = []
        self.on_sale: Callable[[Sale], None] = lambda _: None
        self.on_webhook: Callable[[Webhook], None] = lambda _: None

    def open(self, name: str, **switches: Any) -> Emulator:
        """Let a vendor do business."""
        kind = _SimulatedCreatify if name == "creatify" else EMULATORS[name]
        emulator = kind(**{**EMULATORS[name].in_tests, **switches})
        if isinstance(emulator, _SimulatedCreatify):
            emulator.market = self
        emulator.url = ADDRESSES[name]
        emulator.loop = self._loop
        emulator.stopping = asyncio.Event()
        emulator.speaker = sounds.ToneSpeaker()
        self._watch(emulator)
        self._network.serve(PORTS[name], name, emulator._application())
        self.emulators[name] = emulator
        return emulator

    def calm(self) -> None:
        """Nothing goes wrong at the vendors any more."""
        for emulator in self.emulators.values():
            emulator.faults.clear()

    def bill(self) -> Counter[str]:
        """What is charged, by text: purchases that the vendor took back are not."""
        charged = {id(entry) for emulator in self.emulators.values() for entry in emulator.book.entries}
        return Counter(sale.text for sale in self.sales if id(sale.purchase) in charged)

    def _watch(self, emulator: Emulator) -> None:
        enter = emulator.book.enter

        def entered(text: str, **facts: Any) -> Purchase:
            purchase = enter(text, **facts)
            sale = Sale(emulator.name, text, purchase)
            self.sales.append(sale)
            self.on_sale(sale)
            return purchase

        emulator.book.enter = entered  # type: ignore[method-assign] # every purchase of this vendor passes here


class _SimulatedCreatify(CreatifyEmulator):
    """Its webhooks are carried by the simulation."""

    market: Market

    async def _post(self, webhook: Webhook) -> None:
        self.webhooks.append(webhook)
        self.market.on_webhook(webhook)


class Customer:
    """Takes customers' webhooks: `answers` says with which status."""

    def __init__(self, network: Network, answers: Callable[[], int]) -> None:
        self.received: Counter[str] = Counter()
        self.bodies: list[str] = []
        self._answers = answers
        app = web.Application()
        app.router.add_post("/hook", self._hook)
        network.serve(CUSTOMER, "customer", app)

    async def _hook(self, request: web.Request) -> web.Response:
        body = await request.text()
        status = self._answers()
        self.bodies.append(body)
        if status == 200:
            self.received[request.headers["webhook-id"]] += 1
        return web.Response(status=status)
