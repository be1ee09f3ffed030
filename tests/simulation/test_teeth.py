"""Planted bugs: each is found within a few worlds, so that the simulation cannot go blind without anybody noticing."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from tests.simulation.run import examined
from tests.support.sim.bugs import BUGS
from tests.support.sim.chance import Chaos, Mix
from tests.support.sim.laboratory import Laboratory
from tests.support.sim.workload import SENTENCES
from tests.support.sim.world import WAYS, Circumstances, Order, VendorFault, World

SEEDS = 12
"""Worlds within which a bug must show."""

USUAL = {"errors": 0.04, "deaths": 0.02, "slow": 0.1, "messages": 0.15, "callbacks": 0.2, "vendors": 0.1}


def a_world(lab: Laboratory, seed: int, where: Mapping[str, Any]) -> World:
    """Three small jobs in trouble, and whatever a bug needs to show."""
    dice = random.Random(seed)
    mix = Mix(**{name: where.get(name, share) for name, share in USUAL.items()})
    vendor = where.get("vendor") or dice.choice(("voiceai", "convai", "creatify", "dify"))
    texts = dice.sample(SENTENCES, 15)
    size = where.get("sentences", 1 + dice.randrange(2))
    orders = [
        Order(
            f"order-{seed}-{number}",
            where.get("way") or WAYS[(seed + number) % 3],
            vendor,
            tuple(texts[:1] if where.get("repeats") else texts[5 * number : 5 * number + size]),
            webhook=where.get("webhook", False),
            at=0.0 if where.get("together") else 60.0 * number,
        )
        for number in range(3)
    ]
    of = Circumstances(
        switches={vendor: where.get("switches", {})},
        faults=[VendorFault(vendor, fault, at=0.0) for fault in where.get("faults", ())],
        forgeries=where.get("forgeries", 0),
    )
    return World(lab, Chaos(seed, mix), orders, of)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught(lab: Laboratory, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = BUGS[name]
    bug.plant(monkeypatch)

    found = next((seed for seed in range(SEEDS) if examined(a_world(lab, seed, bug.where)).violation), None)

    assert found is not None


def test_without_a_bug_nothing_is_caught(lab: Laboratory) -> None:
    worlds = [examined(a_world(lab, seed, bug.where)) for seed, bug in enumerate(list(BUGS.values())[::3])]

    assert [str(world.violation) for world in worlds if world.violation] == []
