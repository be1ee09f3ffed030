"""A world for every seed: who wants what of whom, how the stack is configured, and what goes wrong."""

import random
from collections.abc import Mapping
from typing import Any

from local.emulators import EMULATORS
from tests.support.sim.chance import Chaos, Mix, Name, Plan
from tests.support.sim.laboratory import Laboratory
from tests.support.sim.vendors import GENERIC, SOCKET
from tests.support.sim.world import WAYS, Circumstances, Order, VendorFault, World

JOBS = 6
"""Of each world."""

SUBJECTS = (
    "The lighthouse keeper",
    "A travelling clockmaker",
    "My grandmother",
    "The night librarian",
    "A young pilot",
)
VERBS = ("remembers", "describes", "has forgotten", "will rediscover", "once photographed")
OBJECTS = (
    "the waterfalls",
    "every constellation",
    "seven thunderstorms",
    "a marketplace",
    "the orchestra",
    "snowflakes",
)
SENTENCES = tuple(f"{who} {does} {what}." for who in SUBJECTS for does in VERBS for what in OBJECTS)

OPTIONS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "voiceai": (
        {"audio_format": "wav"},
        {"audio_format": "wav", "delivery": "stream"},
        {"audio_format": "wav", "delivery": "websocket"},
        {},
    ),
    "convai": ({"encoding": "wav"}, {}),
    "dify": ({},),
    "playht": (
        {"output_format": "wav"},
        {"output_format": "wav", "delivery": "events"},
        {},
    ),
    "creatify": ({},),
}

CALM_MIXES = (Mix(), Mix(slow=0.1))
MIXES = (
    Mix(errors=0.02, deaths=0.01, slow=0.05, messages=0.05, callbacks=0.2, vendors=0.1),
    Mix(errors=0.06, slow=0.05),
    Mix(deaths=0.04, slow=0.1),
    Mix(deaths=0.01, stalls=0.01, slow=0.2),
    Mix(slow=0.3, messages=0.3, callbacks=0.6),
    Mix(errors=0.01, deaths=0.005, messages=0.1, callbacks=0.4, vendors=0.5),
    Mix(errors=0.1, deaths=0.03, stalls=0.003, slow=0.1, messages=0.1, callbacks=0.3, vendors=0.3),
    Mix(errors=0.02, messages=0.5),
)
"""Too many faults at once hide bugs, so most worlds have few kinds of them."""


def orders_of(seed: int, jobs: int = JOBS, *, repeats: bool = True) -> list[Order]:
    """`repeats`: whether some want what others want too, and may both buy it; or change their minds."""
    dice = random.Random(f"orders {seed}")
    vendors = dice.sample(sorted(EMULATORS), dice.randint(1, 3))
    unused = list(SENTENCES)
    dice.shuffle(unused)
    orders: list[Order] = []
    for number in range(jobs):
        vendor = dice.choice(vendors)
        sentences = tuple(unused.pop() for _ in range(dice.choice((1, 1, 1, 2, 3, 5))))
        twin: Order | None = None
        if orders and repeats and dice.random() < 0.1:
            earlier = dice.choice(orders)
            vendor, sentences = earlier.vendor, earlier.sentences[:1]
            # Every other one wants the very same audio at nearly the same moment.
            twin = earlier if random.Random(f"twin {seed} {number}").random() < 0.5 else None
        way, options, webhook = dice.choice(WAYS), dice.choice(OPTIONS[vendor]), dice.random() < 0.4
        at = dice.choice((0.0, 0.0, 30.0, 100.0)) * dice.random()
        orders.append(
            Order(
                name=f"order-{seed}-{number}",
                way=way,
                vendor=vendor,
                sentences=sentences,
                options=twin.options if twin else options,
                webhook=webhook,
                at=twin.at if twin else at,
                format=dice.choice(("wav", "wav", "wav", "flac")),
                cancel=dice.choice((0.0, 0.2, 3.0, 60.0)) if repeats and dice.random() < 0.15 else None,
            )
        )
    return orders


def circumstances_of(seed: int, orders: list[Order], *, faulty: bool) -> Circumstances:
    dice = random.Random(f"circumstances {seed}")
    switches: dict[str, dict[str, Any]] = {
        "creatify": {
            "pace": dice.choice((0.5, 3.0, 20.0)),
            "webhooks": dice.choice(("final", "every", "duplicated", "reordered", "early", "forged", "never")),
        },
        "playht": {"pace": dice.choice((0.5, 3.0, 20.0))},
    }
    faults: list[VendorFault] = []
    if faulty and dice.random() < 0.7:
        for vendor in sorted({order.vendor for order in orders}):
            kinds = (*GENERIC, *EMULATORS[vendor].handled_faults, *(SOCKET if vendor == "voiceai" else ()))
            faults += [
                _fault(vendor, dice.choice(kinds), at=60.0 * dice.random(), times=dice.choice((1, 1, 2)))
                for _ in range(dice.choice((0, 1, 1, 2, 4)))
            ]
    return Circumstances(
        lease=dice.choice((120.0, 120.0, 100.0)),
        attempts=dice.choice((4, 4, 4, 1, 8)),
        deadline=dice.choice((7_200.0, 7_200.0, 900.0, 21_600.0)),
        small_transactions=dice.random() < 0.3,
        trouble=dice.choice((300.0, 900.0, 2_000.0)),
        switches=switches,
        faults=faults,
        forgeries=dice.choice((0, 0, 2)),
    )


def _fault(vendor: str, kind: str, *, at: float, times: int) -> VendorFault:
    # A socket that is closed before a sound is a refusal, as a status of 500 is: those are not billed.
    return VendorFault(vendor, kind, at, times, {"billed": False} if kind == "socket-close" else {})


def plan_of(seed: int, *, faulty: bool, only: frozenset[Name] | None = None) -> Plan:
    dice = random.Random(f"mix {seed}")
    return Chaos(seed, dice.choice(MIXES if faulty else CALM_MIXES), only=only)


def world_of(
    lab: Laboratory, seed: int, *, jobs: int = JOBS, faulty: bool = True, only: frozenset[Name] | None = None
) -> World:
    """The world of a seed; `only` leaves out all faults of its plan but these."""
    orders = orders_of(seed, jobs, repeats=faulty)
    return World(lab, plan_of(seed, faulty=faulty, only=only), orders, circumstances_of(seed, orders, faulty=faulty))
