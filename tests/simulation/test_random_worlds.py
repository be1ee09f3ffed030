"""Random failures, deaths, duplicates and races, a different mix for each seed; then calm, and all must be well."""

import random

import pytest

from speech.policy import Policy
from speech.prices import Price
from speech.settings import Settings
from speech.usecases import accept_job
from tests.support.simulation import Chaos, Simulation

SENTENCES = (
    "The sun is up and birds are singing.",
    "A cold wind blows over the quiet bay.",
    "Seven small boats sail out to sea now.",
    "Nobody knows when they will be back.",
    "The lamp in the tower burns all night.",
)
WORLDS = 40


def a_troubled_world(seed: int, *, calls_back: bool) -> Simulation:
    """Two jobs that share a sentence, one of which says it twice, on a stack that is configured somehow."""
    dice = random.Random(f"world {seed}")
    random.seed(seed)  # the jitter of waits
    lease = dice.choice((120, 120, 10))
    settings = Settings(
        callback_base_url="https://speech.example",
        default_vendor="scripted",
        lease_seconds=lease,
        segment_attempts=dice.choice((4, 4, 1, 20)),
        job_deadline_seconds=dice.choice((7_200, 7_200, 300)),
    )
    simulation = Simulation(Chaos(seed), calls_back=calls_back, settings=settings, longest_life=min(90.0, lease * 0.75))
    simulation.submit("one", SENTENCES[seed % 5], webhook=True)
    simulation.submit("four", *SENTENCES[1:4], SENTENCES[1])
    return simulation


@pytest.mark.parametrize("calls_back", [False, True], ids=["at-once", "calls-back"])
@pytest.mark.parametrize("seed", range(WORLDS))
def test_the_invariants_hold_in_a_troubled_world(seed: int, calls_back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """I1 to I5, I11, I14, I15, I20, I21."""
    monkeypatch.setattr(accept_job, "SEGMENTS_AT_CREATION", 2)
    simulation = a_troubled_world(seed, calls_back=calls_back)

    try:
        simulation.run(seconds=1_200)
        simulation.calm(seconds=200_000)
    finally:
        simulation.stop()

    simulation.check()


def test_i22_the_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        simulation = a_troubled_world(7, calls_back=True)
        try:
            simulation.run(seconds=1_200)
            simulation.calm(seconds=200_000)
        finally:
            simulation.stop()
        runs.append((simulation.handled, simulation.world.store.jobs(), simulation.vendor.billed))

    assert runs[0] == runs[1]


@pytest.mark.parametrize("calls_back", [False, True], ids=["at-once", "calls-back"])
@pytest.mark.parametrize("seed", range(WORLDS))
def test_i12_budgets_and_other_narrators_hold_in_a_troubled_world(
    seed: int, calls_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1 to I4, I12, I14, I20: whoever speaks in the end, one voice, nothing lost, nothing above the budget."""
    monkeypatch.setattr(accept_job, "SEGMENTS_AT_CREATION", 2)
    dice = random.Random(f"narrators {seed}")
    random.seed(seed)  # the jitter of waits
    settings = Settings(
        callback_base_url="https://speech.example",
        default_vendor="scripted",
        segment_attempts=dice.choice((4, 2, 1)),
        job_deadline_seconds=dice.choice((7_200, 7_200, 300)),
    )
    simulation = Simulation(Chaos(seed), calls_back=calls_back, settings=settings, others=("second", "third"))
    price = Price(per_character=0.001)
    simulation.world.policies.put(Policy(prices=dict.fromkeys(("scripted", "second", "third"), price)))
    others = ["second:v2", "third:v3"]
    simulation.submit("free", SENTENCES[seed % 5], SENTENCES[0], fallback=others)
    tight = dice.choice((0.15, 0.2, 0.3, 0.5, 1.0))
    simulation.submit("budget", *SENTENCES[1:4], SENTENCES[1], fallback=others, max_cost=tight)

    try:
        simulation.run(seconds=1_200)
        simulation.calm(seconds=200_000)
    finally:
        simulation.stop()

    simulation.check()
