"""What an operator may decide without a deploy, what is told of mistakes, and how a vendor stands by it."""

from typing import Any

import pytest

from speech.errors import InvalidRequest
from speech.policy import Lifecycle, Limits, Policy, Speaker, Standing, standing_of
from speech.prices import Price
from speech.settings import Settings
from speech.vendors import VENDORS
from tests.fakes import NOW

DAY_MS = 86_400_000


def test_every_part_may_be_left_out() -> None:
    assert Policy.parse({}) == Policy()


def test_a_policy_is_read_as_it_was_written() -> None:
    policy = Policy(
        prices={"convai": Price(per_character=0.00002)},
        limits={"dify": Limits(concurrency=1)},
        lifecycle={"playht/engine=PlayHT1.0": Lifecycle(Standing.RETIRED)},
        aliases={"narrator": (Speaker("playht", "s3://voice/a:b"), Speaker("dify"))},
        fallback=(Speaker("voiceai"),),
    )

    assert Policy.parse(policy.to_json(), vendors=VENDORS) == policy


def test_the_plan_of_a_vendor_stands_for_its_documented_limits() -> None:
    policy = Policy.parse({"limits": {"playht": "startup"}})

    assert policy.limits_of("playht") == Limits(requests_per_minute=50, characters_per_minute=87_500)
    assert policy.limits_of("convai") == Limits()


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ([], "policy"),
        ({"price": {}}, "policy.price"),
        ({"prices": []}, "prices"),
        ({"prices": {"convai": 3}}, "prices.convai"),
        ({"prices": {"convai": {"per_charcter": 1}}}, "prices.convai.per_charcter"),
        ({"prices": {"convai": {"per_character": -1}}}, "prices.convai.per_character"),
        ({"prices": {"convai": {"per_second": True}}}, "prices.convai.per_second"),
        ({"prices": {"convai": {"per_credit": float("nan")}}}, "prices.convai.per_credit"),
        ({"prices": {"convai": {"plan": "two\nlines"}}}, "prices.convai.plan"),
        ({"prices": {"nobody": {}}}, "prices.nobody"),
        ({"prices": {"convai/voice=a": {}}}, "prices.convai/voice=a"),
        ({"limits": {"convai": {"concurrency": 0}}}, "limits.convai.concurrency"),
        ({"limits": {"convai": {"concurrency": 1.5}}}, "limits.convai.concurrency"),
        ({"limits": {"convai": {"requests_per_minute": 0}}}, "limits.convai.requests_per_minute"),
        ({"limits": {"convai": "gold"}}, "limits.convai"),
        ({"lifecycle": {"convai": {"standing": "gone"}}}, "lifecycle.convai.standing"),
        ({"lifecycle": {"convai": {"standing": "retiring"}}}, "lifecycle.convai.date"),
        ({"lifecycle": {"convai": {"standing": "retiring", "date": "soon"}}}, "lifecycle.convai.date"),
        ({"lifecycle": {"convai": {"standing": "retiring", "date": 2027}}}, "lifecycle.convai.date"),
        ({"lifecycle": {"convai/mood=a": {"standing": "active"}}}, "lifecycle.convai/mood=a"),
        ({"lifecycle": {"convai": {"standing": "active", "note": "x" * 501}}}, "lifecycle.convai.note"),
        ({"aliases": {"narrator": []}}, "aliases.narrator"),
        ({"aliases": {"narrator": ["convai:"]}}, "aliases.narrator.0"),
        ({"aliases": {"narrator": ["convai", "nobody:a"]}}, "aliases.narrator.1"),
        ({"aliases": {"a\nb": ["convai"]}}, "aliases"),
        ({"fallback": "convai"}, "fallback"),
        ({"fallback": ["convai"] * 6}, "fallback"),
        ({"fallback": [{}]}, "fallback.0"),
    ],
)
def test_whatever_is_wrong_is_named_by_its_field(policy: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Policy.parse(policy, vendors=VENDORS)

    assert [each.field for each in caught.value.errors] == [field]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        Policy.parse({"moods": 1, "prices": {"convai": {"per_second": "1"}}, "fallback": [""]})

    assert {each.field for each in caught.value.errors} == {
        "policy.moods",
        "prices.convai.per_second",
        "fallback.0",
    }


def test_a_policy_has_its_limits_too() -> None:
    with pytest.raises(InvalidRequest, match="65,536 bytes"):
        Policy.parse({"aliases": {f"name {number}": ["convai:" + "v" * 900] for number in range(80)}})


# --- Standing --------------------------------------------------------------------------------


def standing(
    policy: Policy | None = None,
    vendor: str = "convai",
    voice: str | None = None,
    *,
    settings: Settings | None = None,
    now: int = NOW,
    **options: Any,
) -> Standing:
    return standing_of(policy or Policy(), settings or Settings(), vendor, voice, options, now).standing


def test_c20_playht_is_retired_unless_the_stack_has_a_server_of_its_own_or_the_operator_says_otherwise() -> None:
    own = Settings(base_urls={"playht": "https://speech.example"})
    revived = Policy(lifecycle={"playht": Lifecycle(Standing.ACTIVE)})
    doomed = Policy(lifecycle={"playht": Lifecycle(Standing.RETIRED)})

    assert standing(vendor="playht") is Standing.RETIRED
    assert standing(vendor="playht", settings=own) is Standing.ACTIVE
    assert standing(revived, "playht") is Standing.ACTIVE
    assert standing(doomed, "playht", settings=own) is Standing.RETIRED
    assert standing(vendor="convai") is Standing.ACTIVE


def test_retiring_is_retired_from_its_date_on_and_keeps_it() -> None:
    policy = Policy(lifecycle={"convai": Lifecycle(Standing.RETIRING, "2026-11-21", "The contract ends.")})
    midnight = NOW - NOW % DAY_MS + DAY_MS

    before = standing_of(policy, Settings(), "convai", None, {}, midnight - 1)
    after = standing_of(policy, Settings(), "convai", None, {}, midnight)

    assert before == Lifecycle(Standing.RETIRING, "2026-11-21", "The contract ends.")
    assert after == Lifecycle(Standing.RETIRED, "2026-11-21", "The contract ends.")


def test_the_date_of_another_time_zone_is_kept_to() -> None:
    policy = Policy.parse({"lifecycle": {"convai": {"standing": "retiring", "date": "2026-11-20T10:00:00.123+01:00"}}})

    assert standing(policy, now=NOW - 1) is Standing.RETIRING
    assert standing(policy, now=NOW) is Standing.RETIRED


def test_of_vendor_engine_and_voice_the_worst_counts() -> None:
    policy = Policy(
        lifecycle={
            "playht": Lifecycle(Standing.DEGRADED),
            "playht/engine=PlayHT1.0": Lifecycle(Standing.RETIRED),
            "playht/voice=a": Lifecycle(Standing.ACTIVE),
            "voiceai/voice=v": Lifecycle(Standing.RETIRED),
            "voiceai/engine=m": Lifecycle(Standing.DEGRADED),
        }
    )

    assert standing(policy, "playht", "a", voice_engine="PlayHT2.0") is Standing.DEGRADED
    assert standing(policy, "playht", "a", voice_engine="PlayHT1.0") is Standing.RETIRED
    assert standing(policy, "voiceai", "v") is Standing.RETIRED
    assert standing(policy, "voiceai", "w", model="m") is Standing.DEGRADED
    assert standing(policy, "voiceai", None) is Standing.ACTIVE
