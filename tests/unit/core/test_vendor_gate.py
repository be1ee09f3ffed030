"""One gate and one breaker for all workers of a vendor: who calls, who waits, and what that costs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from speech import segments
from speech.errors import (
    StoreUnavailable,
    VendorAmbiguous,
    VendorError,
    VendorGone,
    VendorQuotaExhausted,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.health import FIRST_WAIT_MS, GONE_TRIALS, MOST_FAILURES, OTHERS_FIRST_MS, Health
from speech.jobs import Job, JobStatus
from speech.messages import StartSegment
from speech.policy import Lifecycle, Limits, Policy, Standing
from speech.segments import Outcome, SegmentStatus
from speech.settings import TENANT
from speech.vendors.base import AudioReady, StillWorking, SynthesisRequest
from tests.fakes import FakePolicies, a_job, a_segment, a_spec
from tests.support.world import ScriptedVendor, World, spoken

SENTENCE = "The sun is up and the birds are singing."


@dataclass
class Company(ScriptedVendor):
    """A vendor in the world's time: `trouble` says what it answers now; it counts calls and free questions."""

    world: World | None = None
    calls: list[int] = field(default_factory=list)
    probes: list[int] = field(default_factory=list)
    until: int = 0
    trouble: VendorError | None = None
    probe_trouble: VendorError | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def _now(self) -> int:
        assert self.world is not None
        return self.world.clock.now()

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        self.calls.append(self._now())
        if self.trouble is not None and self._now() < self.until:
            raise _anew(self.trouble)
        self.requests.append(request)
        return AudioReady(spoken(len(request.text)), "audio/wav")

    def probe(self) -> None:
        self.probes.append(self._now())
        trouble = self.probe_trouble or self.trouble
        if trouble is not None and self._now() < self.until:
            raise _anew(trouble)


def _anew(error: VendorError) -> VendorError:
    return type(error)(
        error.detail, vendor=error.vendor, vendor_status=error.vendor_status, retry_after=error.retry_after
    )


def a_world(company: Company, **facts: Any) -> World:
    world = World(vendor=company, **facts)
    company.world = world
    return world


def some_jobs(world: World, number: int) -> list[Job]:
    """Jobs of one segment each, whose messages are on the vendor's queue."""
    now = world.clock.now()
    jobs = []
    for each in range(number):
        job = a_job(
            id=f"job_{each:026d}",
            text_id=f"text-{each}",
            status=JobStatus.SYNTHESIZING,
            segments_total=1,
            characters=len(SENTENCE),
            due_at=now + 60_000,
            deadline_at=now + 21_600_000,
            spec=a_spec(vendor="scripted"),
        )
        row = a_segment(job_id=job.id, end=len(SENTENCE), characters=len(SENTENCE), audio_key=f"key-{each}")
        world.store.put(job, replace(row, due_at=now + 120_000))
        world.texts.put_text(job.tenant, job.text_id, SENTENCE.encode())
        world.dispatcher.start("scripted", [StartSegment(TENANT, job.id, 0, vendor="scripted")])
        jobs.append(job)
    return jobs


def ends(world: World) -> set[JobStatus]:
    return {job.status for job in world.store.jobs()}


def attempts(world: World) -> Iterator[segments.Attempt]:
    for job in world.store.jobs():
        for row in world.store.segments(TENANT, job.id):
            yield from row.attempts


def unavailable(status: int | None = None) -> VendorUnavailable:
    return VendorUnavailable("down", vendor="scripted", vendor_status=status)


def throttled(retry_after: float | None = None) -> VendorThrottled:
    return VendorThrottled("slow down", vendor="scripted", vendor_status=429, retry_after=retry_after)


# --- Well ------------------------------------------------------------------------------------


def test_a_segment_of_a_vendor_that_is_well_costs_no_call_more() -> None:
    world = a_world(Company())
    some_jobs(world, 1)
    world.store.calls.clear()

    world.run()

    assert ends(world) == {JobStatus.COMPLETED}
    assert world.store.calls[:2] == ["job_segment_and_health", "claim_audio"]
    assert not {"health", "save_health"} & set(world.store.calls)


def test_e11_a_message_of_the_previous_release_names_no_vendor_and_is_carried_out() -> None:
    world = a_world(Company())
    [job] = some_jobs(world, 1)
    world.dispatcher.take()

    world.start(StartSegment(TENANT, job.id, 0))
    world.run()

    assert ends(world) == {JobStatus.COMPLETED}


# --- Storms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", [20.0, None])
def test_c3_a_storm_of_refusals_costs_few_calls_and_no_attempt(retry_after: float | None) -> None:
    """Given 40 segments and a vendor that refuses everything for two minutes."""
    company = Company(trouble=throttled(retry_after))
    world = a_world(company)
    company.until = world.clock.now() + 120_000
    some_jobs(world, 40)

    world.run_with_sweeps(seconds=900)

    assert ends(world) == {JobStatus.COMPLETED}
    refused = [call for call in company.calls if call < company.until]
    assert len(refused) <= 12
    assert len(company.calls) == len(refused) + 40
    assert {each.outcome for each in attempts(world)} == {Outcome.SETTLED}
    assert len(list(attempts(world))) == 40


def test_c3_when_the_gate_opens_nobody_stampedes() -> None:
    company = Company(trouble=throttled(30))
    world = a_world(company)
    company.until = world.clock.now() + 1
    some_jobs(world, 30)

    world.run_with_sweeps(seconds=600)

    assert ends(world) == {JobStatus.COMPLETED}
    after = [call for call in company.calls if call >= company.until]
    assert min(after) >= company.until + 29_000
    assert all(sum(each <= call < each + 1_000 for call in after) <= 4 for each in after)


def test_c3_a_check_that_is_refused_closes_the_gate_for_calls_as_well() -> None:
    world = World()
    world.vendor.starts = [StillWorking("vj", check_after=1)]
    world.vendor.checks = [throttled(60)]
    world.a_synthesizing_job(SENTENCE, "And another one.", spec=a_spec(vendor="scripted"))
    [first, second] = world.dispatcher.take()
    world.handle(first)
    world.run(seconds=5)

    world.handle(second)

    assert len(world.vendor.requests) == 1
    assert world.segment(1).not_before is not None
    world.run_with_sweeps(seconds=600)
    assert ends(world) == {JobStatus.COMPLETED}


def test_c3_known_limits_are_kept_without_a_single_refusal() -> None:
    company = Company()
    policies = FakePolicies(Policy(limits={"scripted": Limits(requests_per_minute=30)}))
    world = a_world(company, policies=policies)
    some_jobs(world, 45)

    world.run_with_sweeps(seconds=600)

    assert ends(world) == {JobStatus.COMPLETED}
    assert all(sum(each <= call < each + 60_000 for call in company.calls) <= 31 for each in company.calls)


@pytest.mark.parametrize("limits", [Limits(requests_per_minute=30), Limits(concurrency=1)])
def test_c3_jobs_that_wait_for_anothers_purchase_take_no_turns_from_those_who_would_use_them(limits: Limits) -> None:
    company = Company()
    world = a_world(company, policies=FakePolicies(Policy(limits={"scripted": limits})))
    same, others = some_jobs(world, 100)[:90], 10
    for job in same:
        row = world.store.segment(TENANT, job.id, 0)
        assert row is not None
        world.store.put(replace(row, audio_key="key-of-all"))
    # One of them is under way: its vendor takes its time.
    owner = world.store.segment(TENANT, same[0].id, 0)
    assert owner is not None
    calling = segments.claim(owner, now=world.clock.now(), lease_ms=100_000, vendor="scripted")
    assert world.store.claim_audio(calling, until=same[0].deadline_at) is None
    began = world.clock.now()

    world.run(seconds=60)

    done = [job for job in world.store.jobs() if job.status is JobStatus.COMPLETED]
    assert len(done) == len(company.calls) == others
    assert all(call <= began + 25_000 for call in company.calls)  # at thirty a minute they need twenty seconds
    assert world.store.health("scripted").next_at <= began + 25_000


# --- Outages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [unavailable(), unavailable(503)])
def test_c23_an_outage_burns_no_attempts_and_every_job_completes(trouble: VendorError) -> None:
    """Given 20 jobs and a vendor that is out for ten minutes."""
    company = Company(trouble=trouble)
    world = a_world(company)
    company.until = world.clock.now() + 600_000
    some_jobs(world, 20)

    world.run_with_sweeps(seconds=3_600)

    assert ends(world) == {JobStatus.COMPLETED}
    assert len([call for call in company.calls if call < company.until]) <= MOST_FAILURES
    assert len(company.probes) <= 9
    assert len(company.calls) <= MOST_FAILURES + 20
    assert all(
        later - earlier >= FIRST_WAIT_MS for earlier, later in zip(company.probes, company.probes[1:], strict=False)
    )
    assert not world.store.health("scripted").is_open


def test_c1_a_job_that_is_alone_survives_an_outage_too() -> None:
    company = Company(trouble=unavailable())
    world = a_world(company)
    company.until = world.clock.now() + 600_000
    some_jobs(world, 1)

    world.run_with_sweeps(seconds=3_600)

    assert ends(world) == {JobStatus.COMPLETED}
    assert len(company.calls) == 4


@pytest.mark.parametrize("error", [unavailable(500), VendorUnauthorized("no", vendor="scripted", vendor_status=403)])
def test_c4_c5_texts_that_a_vendor_always_refuses_keep_the_others_waiting_for_a_while_only(error: VendorError) -> None:
    """Given 30 jobs, of which the vendor always fails on every third."""
    company = Company()
    world = a_world(company)
    jobs = some_jobs(world, 30)
    for each in jobs[::3]:
        world.texts.put_text(TENANT, each.text_id, SENTENCE.replace("birds", "bards").encode())
    start = company.start

    def picky(request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        if "bards" in request.text:
            raise _anew(error)
        return start(request, callback_url=callback_url)

    company.start = picky  # type: ignore[method-assign]  # what it cannot speak
    world.run_with_sweeps(seconds=300, every=5)

    assert [world.job(job.id).status for job in jobs if job not in jobs[::3]] == [JobStatus.COMPLETED] * 20


def test_c4_a_text_that_a_vendor_always_fails_on_takes_nobody_with_it() -> None:
    company = Company(trouble=unavailable(500), probe_trouble=None)
    world = a_world(company)
    [job] = some_jobs(world, 1)
    company.until = world.clock.now() + 10**9

    world.run(seconds=120)

    assert world.job(job.id).problem == {**(world.job(job.id).problem or {}), "code": "vendor-unavailable"}
    assert len(company.calls) == 4
    assert not world.store.health("scripted").is_open


@pytest.mark.parametrize(
    "trouble",
    [
        VendorQuotaExhausted("no credit", vendor="scripted", vendor_status=402),
        VendorUnauthorized("no", vendor="scripted", vendor_status=401),
    ],
)
def test_c5_c7_a_key_or_an_account_that_was_mended_is_found_out_by_itself(trouble: VendorError) -> None:
    company = Company(trouble=trouble)
    world = a_world(company)
    company.until = world.clock.now() + 300_000
    some_jobs(world, 20)

    world.run_with_sweeps(seconds=60)
    waiting = world.segment()
    fresh = world.fresh_keys
    world.run_with_sweeps(seconds=2_400)

    assert len([call for call in company.calls if call < company.until]) <= 2
    assert (waiting.status, waiting.attempts) == (SegmentStatus.PENDING, ())
    assert (waiting.problem or {})["code"] == trouble.code
    assert world.fresh_keys > fresh
    assert ends(world) == {JobStatus.COMPLETED}


def test_c23_only_one_worker_at_a_time_is_on_trial() -> None:
    """Given two workers that see the breaker ready for a trial at the same moment."""
    company = Company()
    world = a_world(company)
    first, second = some_jobs(world, 2)
    world.dispatcher.take()
    row = replace(Health("scripted", rev=1), open_since=1, retry_at=1, reason="vendor-unavailable")
    world.store.save_health(row)
    asked: list[Job] = []

    def while_the_other_asks() -> None:
        asked.append(second)
        world.start(StartSegment(TENANT, second.id, 0, vendor="scripted"))

    company.probe = while_the_other_asks  # type: ignore[method-assign]  # the second worker comes by meanwhile
    world.start(StartSegment(TENANT, first.id, 0, vendor="scripted"))

    assert asked == [second]
    assert len(company.calls) == 1
    assert not world.store.health("scripted").is_open


def test_i5_a_trial_never_buys_a_text_again() -> None:
    """Given an outage that a call with an unknown outcome began, and jobs that have bought nothing."""
    company = Company(trouble=VendorAmbiguous("lost", vendor="scripted"))
    world = a_world(company)
    company.until = world.clock.now() + 1
    jobs = some_jobs(world, MOST_FAILURES)
    world.run()
    health = world.store.health("scripted")
    assert health.is_open

    billed = {each.id for each in jobs}
    [clean] = [replace(each, id="job_clean") for each in jobs[:1]]
    world.store.put(clean, a_segment(job_id=clean.id, end=40, characters=40, audio_key="clean"))
    world.texts.put_text(TENANT, clean.text_id, SENTENCE.encode())
    world.clock.set(health.retry_at + OTHERS_FIRST_MS)
    called: list[str] = []
    start = company.start

    def noted(request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        trial = world.store.health("scripted").trial
        called.append(trial.holder if trial else "")
        return start(request, callback_url=callback_url)

    company.start = noted  # type: ignore[method-assign]  # to see on whose behalf it is called
    world.start(StartSegment(TENANT, jobs[0].id, 0, vendor="scripted"))
    assert called == []
    world.clock.advance(6)
    world.start(StartSegment(TENANT, clean.id, 0, vendor="scripted"))

    assert called == ["job_clean/0"]
    assert not world.store.health("scripted").is_open
    assert not any(holder.partition("/")[0] in billed for holder in called)


def test_i5_where_every_text_may_have_been_bought_two_free_answers_are_proof_enough() -> None:
    company = Company(trouble=VendorAmbiguous("lost", vendor="scripted"))
    world = a_world(company)
    company.until = world.clock.now() + 1
    some_jobs(world, MOST_FAILURES)

    world.run_with_sweeps(seconds=600)

    assert ends(world) == {JobStatus.COMPLETED}
    assert len(company.calls) == 2 * MOST_FAILURES
    assert {each.outcome for each in attempts(world)} == {Outcome.AMBIGUOUS, Outcome.SETTLED}


# --- Gone, and retired -----------------------------------------------------------------------


def test_c20_a_vendor_that_is_gone_for_good_is_given_up_after_a_few_free_questions() -> None:
    company = Company(trouble=VendorGone("no such name", vendor="scripted"))
    world = a_world(company)
    company.until = world.clock.now() + 10**9
    jobs = some_jobs(world, 10)

    world.run_with_sweeps(seconds=900)

    assert ends(world) == {JobStatus.FAILED}
    assert {(world.job(job.id).problem or {})["code"] for job in jobs} == {"vendor-gone"}
    assert len(company.calls) == 1
    assert GONE_TRIALS <= len(company.probes) <= GONE_TRIALS + 3
    assert all(each.outcome is Outcome.RELEASED for each in attempts(world))


def test_c20_a_name_that_was_lost_for_a_moment_costs_nobody_a_job() -> None:
    company = Company(trouble=VendorGone("no such name", vendor="scripted"))
    world = a_world(company)
    company.until = world.clock.now() + 20_000
    some_jobs(world, 10)

    world.run_with_sweeps(seconds=900)

    assert ends(world) == {JobStatus.COMPLETED}


def test_c20_what_is_retired_in_the_middle_of_a_book_is_not_called_any_more() -> None:
    company = Company()
    policies = FakePolicies()
    world = a_world(company, policies=policies)
    job = world.a_synthesizing_job(SENTENCE, "Another one.", "And one more.")
    messages = world.dispatcher.take()
    world.handle(messages[0])
    policies.put(Policy(lifecycle={"scripted": Lifecycle(Standing.RETIRED, note="The contract has ended.")}))

    for each in messages[1:]:
        world.handle(each)
    world.run_with_sweeps(seconds=300)

    ended = world.job(job.id)
    assert (ended.status, (ended.problem or {})["code"]) == (JobStatus.FAILED, "vendor-retired")
    assert "The contract has ended." in (ended.problem or {})["detail"]
    assert len(company.calls) == 1
    assert world.segment(1).attempts == ()


# --- What must not hang on it ----------------------------------------------------------------


def test_e2_what_a_call_came_to_does_not_hang_on_what_is_told_of_its_vendor() -> None:
    company = Company(trouble=throttled(5))
    world = a_world(company)
    company.until = world.clock.now() + 1
    world.store.fail_next("save_health", StoreUnavailable("busy"))
    some_jobs(world, 1)

    world.run_with_sweeps(seconds=120)

    assert ends(world) == {JobStatus.COMPLETED}


def test_f6_a_segment_of_a_job_that_was_cancelled_meanwhile_is_not_held() -> None:
    company = Company()
    world = a_world(company)
    [job] = some_jobs(world, 1)
    row = replace(Health("scripted", rev=1), open_since=1, retry_at=world.clock.now() + 60_000, reason="vendor-gone")
    world.store.save_health(row)
    world.cancel(job)

    world.run_with_sweeps(seconds=600)

    assert world.segment().due_at is None
    assert (company.calls, company.probes) == ([], [])


def test_i15_waiting_for_a_gate_chains_no_more_messages_than_the_platform_takes() -> None:
    """A18: without a sweep, a segment that waits sends itself on a few times and then comes to rest."""
    world = a_world(Company())
    some_jobs(world, 1)
    row = replace(Health("scripted", rev=1), open_since=1, retry_at=world.clock.now() + 10**8, reason="vendor-gone")
    world.store.save_health(row)
    handled = 0
    while sent := world.dispatcher.take():
        for each in sent:
            handled += 1
            world.clock.advance(each.delay + 10**5)
            world.handle(each)

    assert handled <= 6
    assert world.segment().due_at is not None
