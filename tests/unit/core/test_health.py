"""The gate and the breaker as plain arrows: who may call when, and what each call teaches."""

from dataclasses import replace
from typing import Any

import pytest

from speech.health import (
    FIRST_WAIT_MS,
    GONE,
    GONE_TRIALS,
    HORIZON_MS,
    LONGEST_SPACING_MS,
    LONGEST_WAIT_MS,
    MINUTE_MS,
    MOST_FAILURES,
    OTHERS_FIRST_MS,
    PROMISE_MS,
    Caller,
    Ending,
    Health,
    Lease,
    Turn,
    ended,
    given_back,
    learned_spacing,
    probed,
    turn,
)
from speech.policy import Limits
from tests.fakes import NOW

WELL = Health("scripted")
ONE = Caller("job/1", characters=500)
TWO = Caller("job/2", characters=500)
THREE = Caller("job/3", characters=500)
LEASE_MS = 120_000


def asked(health: Health, limits: Limits | None = None, caller: Caller = ONE, now: int = NOW) -> Turn:
    return turn(health, limits or Limits(), caller, now=now, lease_ms=LEASE_MS)


def after(health: Health, ending: Ending, caller: Caller = ONE, now: int = NOW, **facts: Any) -> Health:
    return ended(health, caller, ending, now=now, **facts) or health


def out(reason: str = "vendor-unavailable") -> Health:
    return after(WELL, Ending.OUT, reason=reason)


# --- A vendor that is well -------------------------------------------------------------------


def test_a_vendor_that_is_well_and_has_no_limits_is_never_written() -> None:
    assert asked(WELL) == Turn()
    assert ended(WELL, ONE, Ending.ANSWERED, now=NOW, took_ms=900) is None
    assert ended(WELL, ONE, Ending.UNCLEAR, now=NOW) is None
    assert given_back(WELL, ONE) is None


# --- Limits that are known -------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [Limits(requests_per_minute=20), Limits(characters_per_minute=10_000), Limits(20, 10_000)],
    ids=["requests", "characters", "both"],
)
def test_a_known_limit_is_kept_in_every_minute_and_used(limits: Limits) -> None:
    """Given forty segments of 500 characters that ask at once and come back when they are told to."""
    health, calls = WELL, []
    waiting = [(NOW, Caller(f"job/{number}", 500)) for number in range(40)]
    while waiting:
        waiting.sort(key=lambda each: each[0])
        now, caller = waiting.pop(0)
        said = asked(health, limits, caller, now)
        health = said.health or health
        if said.wait_until is None:
            calls.append(now)
            continue
        promised = said.wait_until if said.is_promised else None
        waiting.append((said.wait_until, caller._replace(promised_at=promised)))

    assert all(sum(each <= call < each + MINUTE_MS for call in calls) <= 21 for each in calls)
    assert calls[-1] - calls[0] <= 3 * MINUTE_MS


def test_a_promise_is_kept_for_two_minutes_and_costs_no_second_write() -> None:
    limits = Limits(requests_per_minute=20)
    health = asked(WELL, limits).health or WELL
    promise = asked(health, limits, TWO)
    assert promise.is_promised
    at = promise.wait_until or 0
    health = promise.health or WELL

    assert at == NOW + 3_000
    assert asked(health, limits, TWO._replace(promised_at=at), at) == Turn()
    assert asked(health, limits, TWO._replace(promised_at=at), at + PROMISE_MS).health is not None


def test_turns_are_promised_a_minute_ahead_and_no_further() -> None:
    limits = Limits(requests_per_minute=20)
    health = replace(WELL, next_at=NOW + HORIZON_MS + 1)

    said = asked(health, limits)

    assert (said.health, said.is_promised) == (None, False)
    assert said.wait_until == NOW + HORIZON_MS // 2


def test_a17_a_concurrency_of_one_is_kept_and_a_dead_workers_slot_comes_back() -> None:
    limits = Limits(concurrency=1)
    first = asked(WELL, limits)
    assert first.wait_until is None
    health = first.health or WELL

    assert asked(health, limits, TWO).wait_until is not None
    assert asked(health, limits, TWO, NOW + LEASE_MS).wait_until is None
    freed = after(health, Ending.ANSWERED, now=NOW + 4_000, took_ms=4_000)
    assert (freed.slots, freed.call_ms) == ((), 4_000)
    assert asked(freed, limits, TWO, NOW + 4_000).wait_until is None
    assert (given_back(health, ONE) or health).slots == ()


# --- Refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(("retry_after", "seconds"), [(1, 1), (42, 42), (0.01, 1), (-5, 1), (10**9, 900), (None, 2)])
def test_c3_what_the_vendor_asks_for_closes_the_gate_to_all_between_a_second_and_a_quarter_of_an_hour(
    retry_after: float | None, seconds: int
) -> None:
    health = after(WELL, Ending.THROTTLED, retry_after=retry_after)

    assert health.closed_until == NOW + seconds * 1000
    waits = [asked(health, caller=each).wait_until for each in (ONE, TWO)]
    assert all(wait is not None and wait >= NOW + seconds * 1000 for wait in waits)


def test_c3_those_who_wait_for_the_gate_come_one_after_another() -> None:
    health, turns = after(WELL, Ending.THROTTLED, retry_after=10), set()
    for number in range(20):
        said = asked(health, caller=Caller(f"job/{number}", 100))
        health = said.health or health
        turns.add(said.wait_until)

    assert len(turns) == 20
    assert min(each or 0 for each in turns) == NOW + 10_000


def test_c3_one_storm_is_one_lesson_and_the_next_one_doubles_it() -> None:
    once = after(WELL, Ending.THROTTLED, retry_after=10)
    storm = after(once, Ending.THROTTLED, TWO, NOW + 100, retry_after=30)
    again = after(storm, Ending.THROTTLED, TWO, NOW + 31_000, retry_after=10)

    assert (storm.refusals, storm.spacing) == (1, once.spacing)
    assert storm.closed_until == NOW + 30_100
    assert again.refusals == 2
    assert again.spacing > 1.5 * once.spacing


def test_c3_without_a_word_from_the_vendor_the_waits_double_until_it_answers() -> None:
    health, now, waits = WELL, NOW, []
    for _ in range(12):
        health = after(health, Ending.THROTTLED, now=now)
        waits.append((health.closed_until - now) // 1000)
        now = health.closed_until

    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert health.spacing <= LONGEST_SPACING_MS
    assert after(health, Ending.ANSWERED, now=now).refusals == 0


def test_c3_what_was_learned_is_unlearned_slowly_and_without_a_write() -> None:
    health = replace(WELL, spacing=8_000, refused_at=NOW)

    assert learned_spacing(health, NOW + 2 * MINUTE_MS) == 4_000
    assert learned_spacing(health, NOW + 4 * MINUTE_MS) == 2_000
    assert learned_spacing(health, NOW + 60 * MINUTE_MS) == 0
    assert asked(health, now=NOW + 60 * MINUTE_MS) == Turn()


# --- The breaker -----------------------------------------------------------------------------


def test_c23_five_segments_without_an_answer_open_the_breaker_and_one_alone_does_not() -> None:
    health = WELL
    for _ in range(10):
        health = after(health, Ending.FAILED)
    assert not health.is_open

    for number in range(MOST_FAILURES - 1):
        assert not health.is_open
        health = after(health, Ending.FAILED, Caller(f"other/{number}", 1))

    assert health.is_open
    assert health.retry_at == NOW + FIRST_WAIT_MS


def test_c1_where_nothing_could_be_sent_a_segment_alone_is_enough() -> None:
    health = WELL
    for _ in range(3):
        assert not health.is_open
        health = after(health, Ending.FAILED, was_unsent=True)

    assert health.is_open


def test_an_answer_between_failures_is_as_good_as_none_before_it() -> None:
    health = after(after(WELL, Ending.FAILED), Ending.FAILED, TWO)

    health = after(health, Ending.ANSWERED, Caller("other/0", 1))

    assert health.failed == ()


@pytest.mark.parametrize("reason", ["vendor-quota-exhausted", "vendor-unauthorized", GONE])
def test_c5_c7_c20_what_needs_no_second_opinion_opens_it_at_once(reason: str) -> None:
    assert out(reason).is_open
    assert out(reason).reason == reason


def test_c23_while_it_is_open_nobody_calls_and_then_one_at_a_time_finds_out() -> None:
    health = out()
    early = asked(health, caller=THREE, now=health.retry_at - 1)
    first = asked(health, caller=THREE, now=health.retry_at)
    on_trial = first.health or health
    second = asked(on_trial, caller=TWO, now=health.retry_at + 1)
    later = asked(on_trial, caller=TWO, now=health.retry_at + LEASE_MS)

    assert early.wait_until == health.retry_at
    assert first.is_trial
    assert on_trial.trial == Lease(THREE.name, health.retry_at + LEASE_MS)
    assert (second.is_trial, second.wait_until is None) == (False, False)
    assert later.is_trial, "whoever was on trial is dead"


def test_c23_whose_own_call_failed_is_on_trial_only_where_nobody_else_comes() -> None:
    """A text on which the vendor always fails must not keep the breaker open for all the others."""
    health = out()

    assert asked(health, now=health.retry_at).wait_until == health.retry_at + OTHERS_FIRST_MS
    assert asked(health, caller=TWO, now=health.retry_at).is_trial
    assert asked(health, now=health.retry_at + OTHERS_FIRST_MS).is_trial


def test_c5_a_job_that_is_refused_while_others_are_served_stops_them_no_second_time() -> None:
    health = out("vendor-unauthorized")
    stranger = Caller("other/0", 1)
    health = asked(health, caller=stranger, now=health.retry_at).health or health
    health = after(health, Ending.ANSWERED, stranger, health.retry_at)

    assert not after(health, Ending.OUT, TWO, NOW + 60_000, reason="vendor-unauthorized").is_open
    assert after(health, Ending.OUT, stranger, NOW + 60_000, reason="vendor-unauthorized").is_open
    assert after(health, Ending.OUT, TWO, NOW + 3_600_000, reason="vendor-unauthorized").is_open


def test_c23_a_trial_that_succeeds_closes_it_and_one_that_fails_doubles_the_wait() -> None:
    health, waits = out(), []
    for _ in range(9):
        now = health.retry_at
        health = asked(health, now=now, caller=Caller(f"n/{now}", 1)).health or health
        health = after(health, Ending.FAILED, Caller(f"n/{now}", 1), now=now)
        waits.append(health.retry_at - now)

    assert waits[:3] == [10_000, 20_000, 40_000]
    assert waits[-1] == LONGEST_WAIT_MS
    assert health.open_since == NOW
    health = asked(health, caller=THREE, now=health.retry_at).health or health
    assert not after(health, Ending.ANSWERED, THREE, now=health.retry_at).is_open


@pytest.mark.parametrize("ending", Ending)
def test_a_call_that_began_before_it_opened_decides_nothing(ending: Ending) -> None:
    health = out()
    on_trial = asked(health, caller=THREE, now=health.retry_at).health or health

    changed = after(on_trial, ending, TWO, health.retry_at)

    assert (changed.is_open, changed.trial, changed.trials) == (True, on_trial.trial, 0)


def test_a_trial_that_is_turned_away_for_its_pace_has_found_somebody() -> None:
    health = out()
    on_trial = asked(health, caller=THREE, now=health.retry_at).health or health

    changed = after(on_trial, Ending.THROTTLED, THREE, now=health.retry_at, retry_after=5)

    assert not changed.is_open
    assert changed.closed_until == health.retry_at + 5_000


def test_i5_whoever_may_have_been_billed_leaves_the_call_to_another_unless_nobody_comes() -> None:
    health = out()
    on_trial = asked(health, caller=THREE, now=health.retry_at).health or health
    left = probed(on_trial, THREE, now=health.retry_at)
    assert left is not None
    assert left.is_open
    assert left.trial is None

    again = asked(left, caller=THREE, now=left.retry_at).health or left

    assert not (probed(again, THREE, now=left.retry_at) or again).is_open
    assert probed(left, TWO, now=left.retry_at) is None, "whoever is not on trial has nothing to say"


def test_c20_who_is_found_gone_again_and_again_is_gone_and_nobody_else() -> None:
    health = out("vendor-unavailable")
    for number, reason in enumerate(["vendor-unavailable"] * 5 + [GONE] * GONE_TRIALS):
        assert not health.is_gone, number
        now = health.retry_at
        caller = Caller(f"n/{now}", 1)
        health = asked(health, caller=caller, now=now).health or health
        health = after(health, Ending.OUT, caller, now=now, reason=reason)

    assert health.is_gone
    now = health.retry_at
    health = asked(health, caller=THREE, now=now).health or health
    assert not after(health, Ending.ANSWERED, THREE, now=now).is_gone
