"""What a job may cost, asked and answered before anything is bought (T3, I12)."""

from dataclasses import replace
from typing import Any

import pytest

from speech.errors import InvalidRequest, MaxCostTooLow
from speech.jobs import Job, Source
from speech.policy import Lifecycle, Policy, Speaker, Standing
from speech.prices import Price
from speech.requests import JobRequest, Way
from speech.usecases.accept_job import API, Arrival
from tests.support.edge import Edge

PRICED = Policy(prices={"voiceai": Price(per_character=0.001)})


def accept(edge: Edge, text: str = "Hello there.", **fields: Any) -> Job:
    request = JobRequest.parse({"text": text, **fields}, Way.API)
    return edge.accept_job(Arrival(kind=API, source=Source(type="api")), request, text).job


def priced() -> Edge:
    edge = Edge()
    edge.policies.put(PRICED)
    return edge


def test_the_price_of_the_day_stands_in_the_rows() -> None:
    edge = priced()

    job = accept(edge)

    [row] = edge.store.segments("default", job.id)
    assert (job.price, row.reserved) == (Price(per_character=0.001), 0.012)


def test_without_a_price_nothing_is_reserved_and_nothing_is_0() -> None:
    edge = Edge()

    job = accept(edge)

    [row] = edge.store.segments("default", job.id)
    assert (job.price, job.max_cost, row.reserved) == (None, None, None)


def test_a_job_with_max_cost_reserves_all_of_its_text_at_once() -> None:
    edge = priced()

    job = accept(edge, "Good morning to you all. " * 100, max_cost=3)

    reserved = sum(row.reserved or 0 for row in edge.store.segments("default", job.id))
    assert job.max_cost == 3
    assert edge.store.progress("default", job.id).committed == round(reserved * 1_000_000) > 2_000_000


def test_a_text_that_may_cost_more_is_refused_with_what_it_may_cost() -> None:
    edge = priced()

    with pytest.raises(MaxCostTooLow, match=r"0\.012000 US dollars with voiceai") as refused:
        accept(edge, max_cost=0.011)

    assert [each.field for each in refused.value.errors] == ["max_cost"]
    assert edge.store.jobs() == []
    assert edge.texts.texts == {}


def test_a_max_cost_cannot_be_kept_where_the_price_is_not_known() -> None:
    edge = Edge()

    with pytest.raises(MaxCostTooLow, match="price of voiceai is not known"):
        accept(edge, max_cost=100)

    assert edge.store.jobs() == []


@pytest.mark.parametrize("wrong", [0, -1, "5", True, 2_000_000, float("inf"), float("nan"), [1]])
def test_a_max_cost_is_dollars(wrong: object) -> None:
    with pytest.raises(InvalidRequest, match="max_cost"):
        JobRequest.parse({"text": "Hello.", "max_cost": wrong}, Way.API)


def test_a_drop_says_its_max_cost_in_its_metadata() -> None:
    edge = priced()

    accepted = edge.drop("a.txt", "Hello there.", metadata={"voicedrop-max-cost": "0.5"})
    refused = edge.drop("b.txt", "Hello there.", metadata={"voicedrop-max-cost": "0.001"})

    assert accepted.max_cost == 0.5
    assert refused.problem is not None
    assert refused.problem["code"] == "max-cost-too-low"


def test_auto_with_a_max_cost_passes_by_who_has_no_price() -> None:
    edge = Edge()
    lifecycle = {"convai": Lifecycle(Standing.DEGRADED)}
    edge.policies.put(Policy(prices={"convai": Price(per_character=0.001)}, lifecycle=lifecycle))

    job = accept(edge, vendor="auto", max_cost=1)

    assert job.spec is not None
    assert job.spec.vendor == "convai"
    assert job.choice is not None
    assert "price of voiceai is not known" in str(job.choice["passed_over"])


def test_a_name_with_a_max_cost_passes_by_who_has_no_price() -> None:
    edge = Edge()
    narrator = (Speaker("convai", "WUMale 1"), Speaker("voiceai"))
    edge.policies.put(replace(PRICED, aliases={"narrator": narrator}))

    job = accept(edge, voice="narrator", max_cost=1)

    assert job.spec is not None
    assert job.spec.vendor == "voiceai"


def test_a_drop_says_its_max_cost_and_who_may_take_over_in_its_front_matter() -> None:
    edge = priced()
    edge.policies.put(replace(PRICED, prices={**PRICED.prices, "convai": Price(per_character=0.002)}))

    job = edge.drop("a.txt", "---\nvoicedrop:\n  max_cost: 0.5\n  fallback: [convai]\n---\nHello there.")

    assert (job.problem, job.max_cost, [each.vendor for each in job.fallback]) == (None, 0.5, ["convai"])
