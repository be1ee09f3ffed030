"""Who speaks: named, meant by a name, or chosen; and who may take over, judged before anything is accepted."""

from dataclasses import replace
from typing import Any

import pytest

from speech.errors import InvalidRequest, UnsupportedOption, VendorRetired
from speech.health import Health
from speech.jobs import Job, Narrator, Source
from speech.policy import Lifecycle, Policy, Speaker, Standing
from speech.prices import Price
from speech.requests import JobRequest, Way
from speech.usecases.accept_job import API, Arrival
from tests.support.edge import Edge

ACCENT = "6f8ca7a8-87b9-4f5d-905d-cc4598e79717"


def edge(policy: Policy | None = None, **settings: Any) -> Edge:
    made = Edge()
    made.settings = replace(made.settings, base_urls={"playht": "http://127.0.0.1:1"}, **settings)
    made.accept_job = replace(made.accept_job, settings=made.settings)
    made.policies.put(policy or Policy())
    return made


def accept(where: Edge, text: str = "Hello there.", **fields: Any) -> Job:
    request = JobRequest.parse({"text": text, **fields}, Way.API)
    return where.accept_job(Arrival(kind=API, source=Source(type="api")), request, text).job


def speaker(job: Job) -> tuple[str, str | None]:
    assert job.spec is not None
    return job.spec.vendor, job.spec.voice


# --- Named -----------------------------------------------------------------------------------


def test_who_was_named_speaks_and_nobody_takes_over() -> None:
    job = accept(edge(), vendor="convai")

    assert (speaker(job), job.fallback, job.why, job.choice) == (("convai", "WUMale 1"), (), "asked for", None)


def test_who_was_not_named_is_the_vendor_of_the_stack() -> None:
    job = accept(edge(Policy(prices={"dify": Price(per_character=0.0)})))

    assert (speaker(job), job.why) == (("voiceai", None), "the vendor of this stack")


# --- Who may take over -----------------------------------------------------------------------


def test_a_request_names_who_may_take_over_with_their_prices_of_today() -> None:
    price = Price(per_character=0.001)

    job = accept(
        edge(Policy(prices={"creatify": price})), vendor="voiceai", fallback=[f"creatify:{ACCENT}", "convai", "voiceai"]
    )

    assert job.fallback == (Narrator("creatify", ACCENT, price), Narrator("convai", "WUMale 1"))


def test_without_a_word_of_the_request_the_operators_list_holds() -> None:
    where = edge(Policy(fallback=(Speaker("convai"), Speaker("creatify"))))

    assert [each.vendor for each in accept(where).fallback] == ["convai", "creatify"]
    assert accept(where, fallback=[]).fallback == ()


def test_of_the_operators_list_those_who_cannot_are_left_out() -> None:
    where = edge(Policy(fallback=(Speaker("convai"), Speaker("playht", "s3://v"))))

    job = accept(where, vendor="dify", voice="alloy", language="en")
    fast = accept(where, vendor="playht", voice="s3://x", speed=2.0)

    assert [each.vendor for each in job.fallback] == ["convai", "playht"]
    assert [each.vendor for each in fast.fallback] == ["playht"]


@pytest.mark.parametrize(
    ("fallback", "field", "message"),
    [
        (["convai", "nobody"], "fallback.1", "must be one of"),
        (["creatify:not-a-uuid"], "fallback.0", "uuid"),
        (["playht"], "fallback.0", "needs a voice"),
    ],
)
def test_whoever_cannot_take_over_is_refused_by_name(fallback: list[str], field: str, message: str) -> None:
    where = edge()

    with pytest.raises(UnsupportedOption, match=message) as refused:
        accept(where, fallback=fallback)

    assert [each.field for each in refused.value.errors] == [field]
    assert where.store.jobs() == []


def test_who_is_retired_cannot_be_named_to_take_over() -> None:
    where = edge(Policy(lifecycle={"creatify": Lifecycle(Standing.RETIRED)}))

    with pytest.raises(UnsupportedOption, match="retired"):
        accept(where, fallback=["creatify"])


def test_who_takes_over_within_max_cost_needs_a_price() -> None:
    where = edge(Policy(prices={"voiceai": Price(per_character=0.001)}, fallback=(Speaker("convai"),)))

    assert accept(where, max_cost=1).fallback == ()
    with pytest.raises(UnsupportedOption, match="price of creatify is not known"):
        accept(where, max_cost=1, fallback=["creatify"])


def test_nobody_takes_over_what_only_one_vendor_has() -> None:
    where = edge(Policy(fallback=(Speaker("convai"),)), dify_message_ids=True)
    message = {"message_id": "8a4f1c5e-0000-4000-8000-000000000000"}

    assert accept(where, vendor="dify", voice="alloy", vendor_options=message).fallback == ()
    with pytest.raises(UnsupportedOption, match="nobody but the vendor"):
        accept(where, vendor="dify", voice="alloy", vendor_options=message, fallback=["convai"])


@pytest.mark.parametrize("wrong", ["convai", ["a:b"] * 6, [""], [":v"], [5], ["Conv ai"], ["convai:"]])
def test_a_fallback_is_a_short_list_of_voices(wrong: object) -> None:
    with pytest.raises(InvalidRequest, match="fallback"):
        JobRequest.parse({"text": "Hello.", "fallback": wrong}, Way.API)


def test_a_drop_names_who_may_take_over_in_its_metadata() -> None:
    job = edge().drop("a.txt", "Hello there.", metadata={"voicedrop-fallback": '["convai", "creatify"]'})

    assert [each.vendor for each in job.fallback] == ["convai", "creatify"]


# --- Retired ---------------------------------------------------------------------------------


def test_in_place_of_a_retired_vendor_the_next_one_speaks_from_the_start() -> None:
    where = edge(Policy(lifecycle={"creatify": Lifecycle(Standing.RETIRED)}))

    job = accept(where, vendor="creatify", fallback=["convai", "voiceai"])

    assert speaker(job) == ("convai", "WUMale 1")
    assert [each.vendor for each in job.fallback] == ["voiceai"]
    assert job.why == "in place of creatify: vendor-retired"
    assert job.choice is not None
    assert [each["vendor"] for each in job.choice["passed_over"]] == ["creatify"]


def test_a_retired_vendor_is_refused_where_nobody_may_take_over() -> None:
    where = edge(Policy(lifecycle={"creatify": Lifecycle(Standing.RETIRED)}))

    with pytest.raises(VendorRetired, match="The vendor creatify is retired"):
        accept(where, vendor="creatify")

    assert where.store.jobs() == []


# --- Aliases ---------------------------------------------------------------------------------


def test_an_alias_stands_for_its_list_of_voices_and_permits_them_all() -> None:
    where = edge(Policy(aliases={"narrator": (Speaker("creatify", ACCENT), Speaker("convai", "WUMale 3"))}))

    job = accept(where, voice="narrator")

    assert speaker(job) == ("creatify", ACCENT)
    assert job.fallback == (Narrator("convai", "WUMale 3"),)
    assert job.choice is not None
    assert job.choice["asked"] == "the voice narrator"


def test_an_alias_begins_with_the_first_who_can() -> None:
    where = edge(
        Policy(
            aliases={"narrator": (Speaker("creatify", ACCENT), Speaker("convai"), Speaker("voiceai"))},
            lifecycle={"creatify": Lifecycle(Standing.RETIRED)},
        )
    )

    job = accept(where, vendor="auto", voice="narrator")

    assert (speaker(job), [each.vendor for each in job.fallback]) == (("convai", "WUMale 1"), ["voiceai"])
    assert job.choice is not None
    assert [(each["vendor"], each["why"]) for each in job.choice["passed_over"]] == [("creatify", "It is retired.")]


def test_a_voice_of_a_vendor_that_was_named_is_no_alias() -> None:
    where = edge(Policy(aliases={"narrator": (Speaker("convai"),)}))

    assert speaker(accept(where, vendor="dify", voice="narrator")) == ("dify", "narrator")


def test_an_alias_of_which_nobody_can_is_refused_with_the_reasons() -> None:
    where = edge(Policy(aliases={"narrator": (Speaker("creatify", "no-uuid"), Speaker("convai"))}))

    with pytest.raises(UnsupportedOption, match=r"creatify: .*uuid.*convai: .*no speed"):
        accept(where, voice="narrator", speed=1.5)


# --- auto ------------------------------------------------------------------------------------


def test_auto_is_the_vendor_of_the_stack_among_equals_and_says_so() -> None:
    job = accept(edge(), vendor="auto")

    assert speaker(job) == ("voiceai", None)
    assert job.choice is not None
    assert job.choice["why"] == "auto: it can speak this, active and well, no price known"


def test_auto_takes_the_cheapest_of_those_that_can() -> None:
    prices = {"convai": Price(per_character=0.00002), "voiceai": Price(per_character=0.00003)}

    job = accept(edge(Policy(prices={**prices, "playht": Price(per_character=0.000001)})), vendor="auto")

    assert speaker(job) == ("convai", "WUMale 1")
    assert job.choice is not None
    assert [each["vendor"] for each in job.choice["passed_over"]] == ["playht"]  # it needs a voice
    assert "0.020000 US dollars" in job.why


def test_auto_prefers_who_is_in_good_standing_to_who_is_cheap() -> None:
    policy = Policy(
        prices={"convai": Price(per_character=0.00001)},
        lifecycle={"convai": Lifecycle(Standing.DEGRADED), "voiceai": Lifecycle(Standing.RETIRED)},
    )

    assert speaker(accept(edge(policy), vendor="auto"))[0] in ("creatify", "dify")


def test_auto_passes_by_who_is_out() -> None:
    where = edge()
    where.store.save_health(Health("voiceai", rev=1, open_since=1, reason="vendor-unavailable"))

    assert speaker(accept(where, vendor="auto"))[0] == "convai"
    assert speaker(accept(where))[0] == "voiceai"


def test_auto_asks_who_can_do_what_was_asked() -> None:
    where = edge(default_voices={"playht": "s3://v"})

    assert speaker(accept(where, vendor="auto", speed=1.5)) == ("playht", "s3://v")
    with pytest.raises(UnsupportedOption, match="Nobody here can speak this"):
        accept(edge(default_voices={}), vendor="auto", speed=1.5)
