"""The most a call may come to, and what it came to: known, or None; never 0 for want of knowledge."""

import pytest

from speech.errors import InvalidRequest
from speech.jobs import cost_of
from speech.plans import PLANS, price_of, require_known_plans
from speech.policy import Policy
from speech.prices import Price, at_most, came_to, committed
from speech.segments import Entry, Outcome, SegmentStatus, claim, fail, forgo, retry, store
from tests.fakes import a_problem, a_segment, an_attempt, some_audio

BY_CHARACTER = Price(per_character=0.00003)
BY_CREDIT = Price(per_credit=0.2, credits_per_second=1 / 30)
BY_SECOND = Price(per_second=0.001)


@pytest.mark.parametrize(
    ("price", "most", "came"),
    [
        (BY_CHARACTER, 0.03, 0.03),
        (BY_CREDIT, 17 * 0.2, 3 * 0.2),
        (BY_SECOND, 0.5, 0.066),
        (Price(per_credit=0.2), None, None),
        (Price(), None, None),
        (None, None, None),
    ],
)
def test_a_call_for_a_thousand_characters_that_makes_66_seconds(
    price: Price | None, most: float | None, came: float | None
) -> None:
    """Slower than 2 characters a second is refused, so 500 seconds is the most that can be paid for."""
    assert at_most(price, characters=1_000) == (most if most is None else pytest.approx(most))
    assert came_to(price, characters=1_000, seconds=66) == (came if came is None else pytest.approx(came))


def test_what_the_vendor_says_it_took_counts_more_than_what_was_heard() -> None:
    assert came_to(BY_CREDIT, characters=1_000, credits=1.5, seconds=66) == 0.3


def test_letters_that_are_read_out_long_and_slow_speech_may_cost_more() -> None:
    plain = at_most(BY_SECOND, characters=1_000)
    digits = at_most(BY_SECOND, characters=1_000, read_out=12_000)
    slow = at_most(BY_SECOND, characters=1_000, speed=0.5)

    assert (plain, digits, slow) == (0.5, 6.0, 1.0)


def test_what_only_the_vendor_knows_the_text_of_has_no_known_price() -> None:
    assert at_most(BY_CHARACTER, characters=0) is None
    assert came_to(BY_CHARACTER, characters=0) is None


def test_little_is_never_nothing_and_free_is() -> None:
    assert came_to(Price(per_character=1e-9), characters=1) == 0.000001
    assert came_to(Price(per_character=0.0), characters=1) == 0.0


def test_a_published_plan_holds_only_for_who_names_it_and_his_own_figures_win() -> None:
    starter = PLANS["creatify"]["api-starter"]
    policy = Policy(prices={"creatify": Price(plan="api-starter"), "voiceai": Price(per_credit=1.0, plan="starter")})

    named = price_of(policy, "creatify")

    assert named is not None
    assert (named.per_credit, named.plan) == (starter.per_credit, "api-starter")
    assert price_of(policy, "voiceai") == Price(per_credit=1.0, plan="starter")
    assert price_of(policy, "convai") is None
    assert price_of(Policy(prices={"convai": Price(plan="nobody's")}), "convai") is None


def test_a_plan_that_nobody_publishes_is_named_before_it_is_put_in_force() -> None:
    require_known_plans(Policy(prices={"convai": Price(per_character=1.0, plan="ours"), "dify": Price()}))

    with pytest.raises(InvalidRequest, match="there are starter, launch") as caught:
        require_known_plans(Policy(prices={"voiceai": Price(plan="gold")}))

    assert [each.field for each in caught.value.errors] == ["prices.voiceai.plan"]


# --- The ledger ------------------------------------------------------------------------------


def test_a_call_goes_through_the_ledger_from_reserved_to_settled() -> None:
    pending = a_segment(reserved=0.5)
    calling = claim(pending, now=1, lease_ms=10, vendor="acme")
    stored = store(calling, some_audio(), now=2, credits=2.0, amount=0.4, request_id="r-1")

    assert [each.ledger for each in (pending, calling, stored)] == [
        (Entry.RESERVED,),
        (Entry.SENT,),
        (Entry.SETTLED,),
    ]
    assert [each.attempts[-1].amount for each in (calling, stored)] == [0.5, 0.4]
    assert (stored.attempts[0].vendor, stored.attempts[0].characters) == ("acme", 12)
    assert [committed(each) for each in (pending, calling, stored)] == [500_000, 500_000, 400_000]


def test_a_lost_answer_keeps_the_most_it_may_have_come_to_and_the_next_call_is_reserved_beside_it() -> None:
    calling = claim(a_segment(reserved=0.5), now=1, lease_ms=10)
    again = retry(calling, now=2, not_before=3, due_at=4, outcome=Outcome.AMBIGUOUS, problem=a_problem())

    assert again.ledger == (Entry.AMBIGUOUS, Entry.RESERVED)
    assert again.attempts[0].amount == 0.5
    assert committed(again) == 1_000_000
    assert cost_of([again]).amount == 0.5


def test_a_released_call_came_to_nothing() -> None:
    calling = claim(a_segment(reserved=0.5), now=1, lease_ms=10)
    failed = fail(calling, now=2, outcome=Outcome.RELEASED, problem=a_problem())

    assert failed.ledger == (Entry.RELEASED,)
    assert committed(failed) == 0
    assert cost_of([failed]).amount == 0.0


def test_a_call_that_was_turned_away_at_the_door_is_no_attempt_but_is_counted() -> None:
    calling = claim(a_segment(), now=1, lease_ms=10)
    pending = forgo(calling, not_before=5, due_at=6, problem=a_problem())

    assert (pending.calls, pending.refusals, pending.ledger) == (0, 1, (Entry.RESERVED,))


def test_one_unknown_price_makes_the_sum_unknown() -> None:
    known = a_segment(status=SegmentStatus.STORED, attempts=(an_attempt(outcome=Outcome.SETTLED, amount=0.25),))
    unknown = a_segment(index=1, attempts=(an_attempt(outcome=Outcome.AMBIGUOUS),))

    assert cost_of([known]).amount == 0.25
    assert cost_of([known, unknown]).amount is None
    assert cost_of([a_segment()]).amount is None
    assert cost_of([a_segment(reserved=0.1)]).amount == 0.0
    assert cost_of([]).amount is None
