"""A vendor that gives up mid-book: the next narrator speaks all of it, where and only where the job allows that."""

import json
from dataclasses import replace
from typing import Any

import pytest

from speech import prices
from speech.errors import (
    SpeechError,
    StaleWrite,
    VendorAmbiguous,
    VendorError,
    VendorGone,
    VendorJobFailed,
    VendorQuotaExhausted,
    VendorRejected,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.jobs import Cost, Job, JobStatus, Narrator
from speech.messages import StartSegment
from speech.policy import Lifecycle, Policy, Standing
from speech.prices import Price
from speech.segments import Outcome, SegmentStatus, claim, postpone
from speech.settings import TENANT
from speech.vendors.base import AudioReady, StillWorking
from tests.fakes import a_spec
from tests.support.world import CallbackVendor, ScriptedVendor, World, is_settled

TEXTS = ("The first sentence is here. ", "The second sentence follows. ", "The third one is the last.")
PRICE = Price(per_character=0.01)


class Small(ScriptedVendor):
    """Takes a sentence at a time."""

    capabilities = replace(ScriptedVendor.capabilities, character_limit=40)


def heard(vendor: ScriptedVendor) -> str:
    return " ".join(request.text for request in vendor.requests)


def down(times: int = 1) -> list[Any]:
    return [VendorUnavailable("down", vendor="scripted") for _ in range(times)]


def a_world(**others: ScriptedVendor) -> World:
    return World(others=others or {"second": Small()})


def a_book(world: World, *others: Narrator, max_cost: float | None = None, **changes: Any) -> Job:
    """A job of three segments whose first narrator is `scripted`, each character priced where it has a budget."""
    price = PRICE if max_cost is not None else None
    fallback = tuple(replace(each, price=price) for each in others or (Narrator("second", "v2"),))
    job = world.a_synthesizing_job(
        *TEXTS, fallback=fallback, price=price, max_cost=max_cost, why="asked for", **changes
    )
    if price is not None:
        rows = [replace(row, reserved=row.characters * 0.01) for row in world.store.segments(TENANT, job.id)]
        world.store.put(*rows)
        world.store._commit(TENANT, job.id, sum(map(prices.committed, rows)), None)
    return job


def manifest(world: World) -> dict[str, Any]:
    result = world.job().result
    assert result is not None
    read: dict[str, Any] = json.loads(world.results.objects[f"{result.key}.manifest.json"].data)
    return read


def committed(world: World) -> int:
    return world.store.progress(TENANT, world.job().id).committed


def expect_an_exact_ledger(world: World) -> None:
    """I12: the counter is the sum of its rows, and a job that has ended reserves nothing."""
    rows = list(world.store.segments(TENANT, world.job().id))
    assert committed(world) == sum(map(prices.committed, rows))


def test_what_a_job_cost_is_known_where_only_who_was_paid_has_a_known_price() -> None:
    world = a_world()
    world.vendor.starts = [VendorRejected("no such voice", vendor="scripted")]
    a_book(world, Narrator("second", "v2", PRICE))
    world.store.put(replace(world.job(), fallback=(Narrator("second", "v2", PRICE),)))

    world.run_with_sweeps(seconds=300)

    cost = world.job().cost
    assert cost is not None
    assert cost.amount == sum(len(text.strip()) for text in TEXTS) / 100


def test_c23_at_the_deadline_the_problem_is_that_of_who_was_waited_for() -> None:
    world = a_world()
    world.vendor.starts = [VendorRejected("no such voice", vendor="scripted")]
    world.others["second"].starts = [VendorThrottled("slow down", vendor="second", retry_after=500.0)] * 100
    a_book(world)
    world.store.put(
        replace(world.segment(1), problem={"code": "vendor-throttled", "detail": "x", "vendor": "scripted"})
    )

    world.run_with_sweeps(seconds=4_000)

    problem = world.job().problem
    assert problem is not None
    assert problem["vendor"] == "second"


@pytest.mark.parametrize("why", ["too dear", "retired"])
@pytest.mark.parametrize("error", [VendorQuotaExhausted, VendorUnauthorized])
def test_c23_a_job_waits_for_its_own_narrator_where_nobody_else_could_take_over(
    error: type[VendorError], why: str
) -> None:
    """To give up for somebody who is too dear, or gone as well, would only end the job."""
    world = a_world()
    world.vendor.starts = [error("mended later", vendor="scripted")]
    a_book(world, max_cost=1.0)
    if why == "retired":
        world.policies.put(Policy(lifecycle={"second": Lifecycle(Standing.RETIRED)}))
    else:
        world.store.put(replace(world.job(), fallback=(Narrator("second", "v2", Price(per_character=1.0)),)))

    world.run_with_sweeps(seconds=1_200)

    assert (world.job().status, world.job().take) == (JobStatus.COMPLETED, 0)
    expect_an_exact_ledger(world)


# --- Nothing was bought: whoever is next speaks ---------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        VendorRejected("no such voice", vendor="scripted"),
        VendorQuotaExhausted("no credit", vendor="scripted"),
        VendorUnauthorized("no key", vendor="scripted"),
    ],
)
def test_c7_c20_a_narrator_who_cannot_go_on_is_replaced_before_anything_was_bought(error: SpeechError) -> None:
    world = a_world()
    world.vendor.starts = [error, error, error, error]
    a_book(world)

    world.run_with_sweeps(seconds=300)

    job = world.job()
    assert job.status is JobStatus.COMPLETED
    assert job.spec == a_spec(vendor="second", voice="v2")
    assert heard(world.others["second"]) == "".join(TEXTS)
    assert [request.voice for request in world.others["second"].requests] == ["v2"] * 3
    assert (job.take, [(turn.vendor, turn.ended_by) for turn in job.turns]) == (1, [("scripted", error.code)])
    assert is_settled(world)


def test_c4_attempts_that_run_out_are_a_reason_and_the_record_says_so() -> None:
    """Must show: who spoke each second, and why."""
    world = a_world()
    world.vendor.starts = down(100)
    a_book(world)

    world.run_with_sweeps(seconds=600)

    said = manifest(world)
    assert world.job().status is JobStatus.COMPLETED
    end = said["segments"][-1]["end"]
    assert said["narrators"] == [
        {
            "vendor": "scripted",
            "voice": None,
            "from": None,
            "to": None,
            "why": "asked for",
            "ended_by": "vendor-unavailable",
        },
        {
            "vendor": "second",
            "voice": "v2",
            "from": 0.0,
            "to": end,
            "why": "in place of scripted: vendor-unavailable",
            "ended_by": None,
        },
    ]
    assert {(each["vendor"], each["voice"]) for each in said["segments"]} == {("second", "v2")}
    assert (said["job"]["vendor"], said["job"]["voice"]) == ("second", "v2")
    calls = len(world.vendor.requests) + len(world.others["second"].requests)
    assert said["job"]["cost"]["vendor_calls"] == calls
    attempts = said["earlier_attempts"] + [each for segment in said["segments"] for each in segment["attempts"]]
    assert len(attempts) == calls
    assert {each["vendor"] for each in said["earlier_attempts"]} == {"scripted"}


def test_f1_nothing_more_is_asked_of_a_narrator_who_gave_up() -> None:
    world = a_world()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    job = a_book(world)
    messages = [StartSegment(TENANT, job.id, segment=index) for index in range(3)]

    world.run()
    for message in messages:
        world.start(message)

    assert len(world.vendor.requests) == 1
    assert world.job().status is JobStatus.COMPLETED


def test_calls_under_way_are_waited_for_before_another_narrator_may_buy() -> None:
    """What they come to decides: here the vendor's own jobs fail, too, and nothing was bought."""
    first = CallbackVendor()
    first.starts = [StillWorking("job-1", check_after=5), VendorRejected("no", vendor="scripted")]
    world = World(vendor=first, others={"second": Small()})
    world.vendor.checks = [StillWorking("job-1", check_after=5)] * 3
    a_book(world)

    world.run(seconds=2)
    held = world.job()
    world.run_with_sweeps(seconds=1_200)

    assert held.status is JobStatus.SYNTHESIZING
    assert held.held is not None
    assert held.take == 0
    job = world.job()
    assert job.status is JobStatus.FAILED  # the vendor's job was a success: it was bought
    assert "max_cost" in (job.problem or {})["detail"]
    assert world.others["second"].requests == []


def test_when_nobody_else_is_named_the_job_fails_as_ever() -> None:
    world = a_world()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    world.a_synthesizing_job(*TEXTS)

    world.run()

    assert world.job().status is JobStatus.FAILED
    assert world.others["second"].requests == []


def test_each_narrator_has_one_turn_and_then_the_job_fails() -> None:
    third = Small()
    world = a_world(second=Small(), third=third)
    for vendor in (world.vendor, world.others["second"], third):
        vendor.starts = [VendorRejected("no", vendor="x")] * 9
    a_book(world, Narrator("second"), Narrator("third"))

    world.run_with_sweeps(seconds=300)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert [turn.vendor for turn in job.turns] == ["scripted", "second"]
    assert [len(each.requests) for each in (world.vendor, world.others["second"], third)] == [1, 1, 1]
    assert is_settled(world)


def test_a_narrator_who_was_retired_meanwhile_is_passed_over() -> None:
    third = Small()
    world = a_world(second=Small(), third=third)
    world.policies.put(Policy(lifecycle={"second": Lifecycle(Standing.RETIRED)}))
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    a_book(world, Narrator("second"), Narrator("third"))

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert (world.job().take, len(third.requests)) == (2, 3)


# --- Something was bought --------------------------------------------------------------------


def test_without_max_cost_nothing_is_bought_twice_and_the_problem_says_what_to_set() -> None:
    world = a_world()
    world.run()
    a_book(world)
    first, *_ = world.dispatcher.take()
    world.handle(first)
    world.vendor.starts = [VendorRejected("no", vendor="scripted")] * 9
    world.start(StartSegment(TENANT, world.job().id, segment=1))
    world.run_with_sweeps(seconds=300)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert (job.problem or {})["code"] == "vendor-rejected"
    assert "Set `max_cost`" in (job.problem or {})["detail"]
    assert world.others["second"].requests == []


def test_i12_within_max_cost_the_whole_text_is_spoken_again_and_all_of_it_counts() -> None:
    world = a_world()
    a_book(world, max_cost=5)
    world.handle(world.dispatcher.take()[0])
    world.vendor.starts = [VendorRejected("no", vendor="scripted")] * 9

    world.start(StartSegment(TENANT, world.job().id, segment=1))
    world.run_with_sweeps(seconds=300)

    job, characters = world.job(), sum(len(request.text) for request in world.others["second"].requests)
    assert job.status is JobStatus.COMPLETED
    assert heard(world.others["second"]) == "".join(TEXTS)
    assert job.cost is not None
    assert job.cost.amount is not None
    assert job.cost.amount == pytest.approx((characters + len(TEXTS[0])) * 0.01)
    assert committed(world) == round(job.cost.amount * 1_000_000)
    expect_an_exact_ledger(world)


def test_i12_above_max_cost_nobody_takes_over() -> None:
    world = a_world()
    a_book(world, max_cost=0.9)
    world.handle(world.dispatcher.take()[0])
    world.vendor.starts = [VendorRejected("no", vendor="scripted")] * 9

    world.start(StartSegment(TENANT, world.job().id, segment=1))
    world.run_with_sweeps(seconds=300)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert "max_cost" in (job.problem or {})["detail"]
    assert world.others["second"].requests == []
    expect_an_exact_ledger(world)


def test_i12_a_lost_answer_leaves_no_second_call_without_room_for_it() -> None:
    world = World()
    world.vendor.starts = [VendorAmbiguous("no answer", vendor="scripted")]
    world.a_synthesizing_job(TEXTS[0], price=PRICE, max_cost=0.4)
    row = replace(world.segment(), reserved=0.28)
    world.store.put(row)
    world.store._commit(TENANT, world.job().id, prices.committed(row), None)

    world.run_with_sweeps(seconds=300)

    job = world.job()
    assert job.status is JobStatus.FAILED
    assert len(world.vendor.requests) == 1
    assert job.cost is not None
    assert job.cost.amount == 0.28
    assert world.segment().attempts[0].outcome is Outcome.AMBIGUOUS
    expect_an_exact_ledger(world)


def test_i12_what_a_call_did_not_come_to_is_free_again() -> None:
    world = World()
    world.a_synthesizing_job(TEXTS[0], TEXTS[1], price=Price(per_second=0.01), max_cost=1)
    rows = [replace(world.segment(index), reserved=0.3) for index in (0, 1)]
    world.store.put(*rows)
    world.store._commit(TENANT, world.job().id, sum(map(prices.committed, rows)), None)

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert 0 < committed(world) < 100_000
    assert world.job().cost is not None
    expect_an_exact_ledger(world)


# --- Whatever dies when ----------------------------------------------------------------------


def test_b14_a_death_after_the_change_leaves_rows_that_the_sweep_adds() -> None:
    world = a_world()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    a_book(world)
    world.store.fail_next("add_segments", RuntimeError("gone"))
    first, *_ = world.dispatcher.take()

    with pytest.raises(RuntimeError):
        world.handle(first)
    world.run_with_sweeps(seconds=600)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.others["second"].requests) == 3


def test_b14_a_text_that_is_gone_when_the_missing_rows_are_added_ends_the_job() -> None:
    world = a_world()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    job = a_book(world)
    world.store.fail_next("add_segments", RuntimeError("gone"))
    first, *_ = world.dispatcher.take()
    with pytest.raises(RuntimeError):
        world.handle(first)

    world.texts.erase_texts(job.tenant, job.id)
    world.run_with_sweeps(seconds=600)

    problem = world.job().problem
    assert problem is not None
    assert problem["code"] == "input-gone"


def test_of_two_who_change_the_narrator_at_once_one_does() -> None:
    world = a_world()
    a_book(world)
    job = world.job()
    problem = {"code": "vendor-gone", "vendor": "scripted", "detail": "Nobody is there."}

    world.change(job, problem)
    world.change(job, problem)
    world.run()

    assert (world.job().take, len(world.job().turns)) == (1, 1)
    assert world.job().status is JobStatus.COMPLETED
    assert len(world.others["second"].requests) == 3


def test_a_late_answer_of_the_first_narrator_is_counted_but_changes_nothing() -> None:
    world = a_world()
    a_book(world, max_cost=5)
    world.dispatcher.take()
    job = world.job()
    calling = replace(world.segment(2), rev=2)

    class Slow(ScriptedVendor):
        def start(self, request: Any, *, callback_url: str | None = None) -> Any:
            if request.text == TEXTS[2]:
                world.change(world.job(), {"code": "vendor-gone", "vendor": "scripted", "detail": "Nobody."})
                world.run()
            return super().start(request, callback_url=callback_url)

    world.vendor = Slow()
    world.start(StartSegment(TENANT, job.id, segment=2))
    world.run_with_sweeps(seconds=300)

    row = world.segment(2)
    assert (row.status, row.take, row.rev) == (SegmentStatus.STORED, 0, calling.rev + 1)
    assert world.job().status is JobStatus.COMPLETED
    assert world.job().take == 1
    expect_an_exact_ledger(world)


def test_a_change_that_was_overtaken_by_the_end_changes_nothing() -> None:
    world = a_world()
    a_book(world)
    job = world.job()
    world.cancel(job)

    world.change(job, {"code": "vendor-gone", "vendor": "scripted", "detail": "Nobody."})

    assert world.job().status is JobStatus.CANCELLED
    assert world.others["second"].requests == []


def test_i12_a_cancelled_job_reserves_nothing() -> None:
    world = a_world()
    a_book(world, max_cost=5)

    world.cancel(world.job())

    assert committed(world) == 0
    expect_an_exact_ledger(world)


def test_i12_rows_that_move_while_others_are_stopped_keep_what_they_reserve() -> None:
    world = a_world()
    job = a_book(world, max_cost=5)
    rows = list(world.store.segments(TENANT, job.id))
    calling = claim(rows[1], now=world.clock.now(), lease_ms=120_000)
    world.store.save_segment(calling)

    world.finish.save_segments(job, [(row, postpone(row, due_at=None)) for row in rows])

    assert committed(world) == prices.committed(calling)
    expect_an_exact_ledger(world)


def test_a_stale_write_while_changing_is_tried_again() -> None:
    world = a_world()
    world.vendor.starts = [VendorRejected("no", vendor="scripted")]
    a_book(world)
    world.store.fail_next("save", StaleWrite("the sweep postponed the job"))

    world.run()

    assert world.job().status is JobStatus.COMPLETED


# --- Out, retired, gone: what the gate knows of a vendor -------------------------------------


def dead(error: SpeechError) -> ScriptedVendor:
    """A vendor that answers nothing but this, whatever it is asked."""

    class Dead(Small):
        def start(self, request: Any, *, callback_url: str | None = None) -> Any:
            self.requests.append(request)
            raise error

        def probe(self) -> None:
            raise error

    return Dead()


@pytest.mark.parametrize(
    "error", [VendorUnavailable("down", vendor="scripted"), VendorGone("nobody", vendor="scripted", vendor_status=410)]
)
def test_c23_nobody_waits_long_for_a_vendor_that_is_out_where_somebody_else_may_speak(error: SpeechError) -> None:
    world = World(vendor=dead(error), others={"second": Small()})
    a_book(world)

    world.run_with_sweeps(seconds=600)

    assert world.job().status is JobStatus.COMPLETED
    assert heard(world.others["second"]) == "".join(TEXTS)
    assert [turn.ended_by for turn in world.job().turns] == [error.code]
    assert len(world.vendor.requests) <= 12


def test_c23_what_was_bought_already_waits_for_its_own_narrator_as_if_there_were_nobody_else() -> None:
    world = World(vendor=Small(), others={"second": Small()})
    job = a_book(world)
    world.handle(world.dispatcher.take()[0])
    well, world.vendor = world.vendor, dead(VendorQuotaExhausted("no credit", vendor="scripted"))

    world.run_with_sweeps(seconds=600)
    waiting = world.job()
    world.vendor = well
    world.run_with_sweeps(seconds=2_000)

    assert waiting.status is JobStatus.SYNTHESIZING
    assert world.job().status is JobStatus.COMPLETED
    assert (world.job().take, job.take) == (0, 0)
    assert world.others["second"].requests == []


def test_a_vendor_that_is_retired_mid_book_is_not_called_and_the_record_says_why() -> None:
    """Must show: a retired vendor, and the job ends as its options say."""
    world = World(vendor=Small(), others={"second": Small()})
    a_book(world, max_cost=5)
    world.handle(world.dispatcher.take()[0])
    world.policies.put(Policy(lifecycle={"scripted": Lifecycle(Standing.RETIRED)}))

    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 1
    assert [each["ended_by"] for each in manifest(world)["narrators"]] == ["vendor-retired", None]
    expect_an_exact_ledger(world)


def test_a_vendor_that_is_retired_mid_book_fails_the_job_where_nobody_may_take_over() -> None:
    world = World(vendor=Small(), others={"second": Small()})
    world.a_synthesizing_job(*TEXTS)
    world.handle(world.dispatcher.take()[0])
    world.policies.put(Policy(lifecycle={"scripted": Lifecycle(Standing.RETIRED)}))

    world.run_with_sweeps(seconds=300)

    job = world.job()
    assert (job.status, (job.problem or {})["code"]) == (JobStatus.FAILED, "vendor-retired")
    assert world.others["second"].requests == []


# --- C22: what a failure cost ----------------------------------------------------------------


def test_c22_a_vendor_that_charges_for_its_failure_is_in_the_ledger_with_its_charge() -> None:
    world = World(vendor=CallbackVendor())
    world.vendor.starts = [StillWorking("job-1", check_after=1)] * 9
    world.vendor.checks = [VendorJobFailed("failed", vendor="scripted", credits=2.0, request_id="r-7")]
    world.a_synthesizing_job(TEXTS[0], price=Price(per_credit=0.5))

    world.run_with_sweeps(seconds=300)

    [attempt] = world.segment().attempts
    assert (attempt.outcome, attempt.credits, attempt.amount, attempt.request_id) == (Outcome.SETTLED, 2.0, 1.0, "r-7")
    assert world.job().cost is not None
    assert (world.job().cost or Cost()).amount == 1.0


def test_c22_bad_audio_was_bought_all_the_same() -> None:
    world = World()
    world.vendor.starts = [AudioReady(b"{}", "audio/wav", request_id="r-1", credits=3.0)]
    world.a_synthesizing_job(TEXTS[0], price=Price(per_credit=0.1, credits_per_second=1.0))

    world.run_with_sweeps(seconds=300)

    bad, good = world.segment().attempts
    assert (bad.outcome, bad.credits, bad.amount, bad.request_id) == (Outcome.SETTLED, 3.0, 0.3, "r-1")
    assert good.amount == pytest.approx(0.2)
    assert (world.job().cost or Cost()).amount == pytest.approx(0.5)
    said = manifest(world)["segments"][0]
    assert [each["amount"] for each in said["attempts"]] == [0.3, 0.2]
    assert said["cost"]["amount"] == 0.5


def test_c2_a_second_call_after_a_lost_answer_is_flagged_in_attempt_and_manifest() -> None:
    world = World()
    world.vendor.starts = [VendorAmbiguous("no answer", vendor="scripted")]
    world.a_synthesizing_job(TEXTS[0])

    world.run_with_sweeps(seconds=300)

    said = manifest(world)["segments"][0]
    assert [each["outcome"] for each in said["attempts"]] == ["ambiguous", "settled"]
    assert said["cost"] == {"currency": "USD", "amount": None, "credits": None, "vendor_calls": 2}
