"""What every job store promises: the one in memory and the one in DynamoDB pass the same tests."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from speech import jobs, segments
from speech.aws.clients import Clients
from speech.aws.dynamo import DynamoJobStore
from speech.errors import OverBudget, StaleWrite
from speech.health import Health, Lease
from speech.jobs import Job, JobStatus, Progress, Source
from speech.ports import Due, JobStore
from speech.segments import Outcome, Segment
from speech.settings import TENANT
from tests.fakes import (
    JOB_ID,
    NOW,
    FakeClock,
    FakeJobStore,
    a_cleanup,
    a_cost,
    a_delivery,
    a_job,
    a_problem,
    a_result,
    a_segment,
    a_spec,
    an_api_key,
    an_attempt,
    some_audio,
)
from tests.fakes.aws import create_table, in_process_aws

_tables = count()


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        yield clients


@pytest.fixture(params=["fake", "dynamodb"])
def store(request: pytest.FixtureRequest) -> JobStore:
    if request.param == "fake":
        return FakeJobStore()
    clients: Clients = request.getfixturevalue("aws")
    return DynamoJobStore(clients.dynamodb, create_table(clients.dynamodb, f"jobs-{next(_tables)}"), clock=FakeClock())


def a_full_job() -> Job:
    return a_job(
        source=Source(type="upload", bucket="texts", key="a b/ü+%2F.txt", version_id="v1"),
        spec=a_spec(voice="s3://voices/é.json", speed=1.25, vendor_options={"delivery": "whole", "depth": {"x": [1]}}),
        metadata={"title": "Grüße 👋", "empty": ""},
        webhook_url="https://customer.example/hook",
        request_id="r-1",
        request_digest="00ff",
        retry_of="job_0",
    )


# --- Jobs ------------------------------------------------------------------------------------


def test_when_the_first_and_the_last_segment_of_a_take_was_stored_is_kept(store: JobStore) -> None:
    store.create(a_job(), [a_segment(), a_segment(index=1)])

    store.count(TENANT, JOB_ID, stored=1, at=NOW + 5)
    store.count(TENANT, JOB_ID, failed=1)
    store.save_within([replace(a_segment(), rev=2)], change=0, limit=None, stored=1, at=NOW + 9)
    counted = store.count(TENANT, JOB_ID, take=1, stored=1, at=NOW + 20)

    first = store.progress(TENANT, JOB_ID)
    assert (first.stored, first.first_at, first.last_at) == (2, NOW + 5, NOW + 9)
    assert (counted.first_at, counted.last_at) == (NOW + 20, NOW + 20)


def test_a_job_is_read_as_it_was_written(store: JobStore) -> None:
    job = a_full_job()

    created = store.create(job)

    assert created
    assert store.get(TENANT, JOB_ID) == job


def test_what_a_job_is_to_sound_like_is_read_as_it_was_written(store: JobStore) -> None:
    spec = a_spec(lexicon={"Grüße": "Gruesse"}, loudness=-16.0, trim_silence=True, vendor_options={"deep": [True, 1]})

    store.create(a_job(spec=spec))

    job = store.get(TENANT, JOB_ID)
    assert job is not None
    assert job.spec == spec


def test_a_job_that_was_refused_before_its_options_were_understood_is_kept(store: JobStore) -> None:
    job = a_job(spec=None, characters=None, segments_total=None, status=JobStatus.FAILED, problem=a_problem())

    store.create(job, delivery=a_delivery())

    assert store.get(TENANT, JOB_ID) == job
    assert store.delivery(TENANT, JOB_ID) == a_delivery()


def test_a_completed_job_keeps_its_result_and_its_cost(store: JobStore) -> None:
    assembling = a_job(status=JobStatus.ASSEMBLING, rev=3)
    store.create(assembling)
    result = a_result(duration_seconds=1771.42, versions={"mp3": "v1", "vtt": "v2"})
    completed = jobs.complete(assembling, result, cost=a_cost(credits=0.1), now=NOW + 1)

    store.finish(completed, a_delivery())

    assert store.get(TENANT, JOB_ID) == completed


def test_what_is_not_there_is_none(store: JobStore) -> None:
    assert store.get(TENANT, "job_unknown") is None
    assert store.segment(TENANT, "job_unknown", 0) is None
    assert store.delivery(TENANT, "job_unknown") is None
    assert store.job_and_segment(TENANT, "job_unknown", 0) == (None, None)
    assert list(store.segments(TENANT, "job_unknown")) == []
    assert store.progress(TENANT, "job_unknown") == Progress()


def test_a_job_is_created_once_and_the_second_changes_nothing(store: JobStore) -> None:
    """A1: the same trigger again finds the job that is there."""
    first, second = a_job(metadata={"who": "first"}), a_job(metadata={"who": "second"})
    store.create(first, [a_segment()])

    created = store.create(second, [a_segment(characters=99), a_segment(index=1)])

    assert not created
    assert store.get(TENANT, JOB_ID) == first
    assert list(store.segments(TENANT, JOB_ID)) == [a_segment()]


def test_of_many_creators_at_once_exactly_one_wins(store: JobStore) -> None:
    """A12."""
    with ThreadPoolExecutor(8) as threads:
        wins = list(threads.map(lambda who: store.create(a_job(metadata={"who": str(who)})), range(8)))

    assert sum(wins) == 1
    winner = store.get(TENANT, JOB_ID)
    assert winner is not None
    assert winner.metadata == {"who": str(wins.index(True))}


def test_ninety_segments_are_written_with_their_job(store: JobStore) -> None:
    """A19: the largest transaction, with a delivery, stays below a hundred actions."""
    rows = [a_segment(index=index) for index in range(90)]

    store.create(a_job(), rows, delivery=a_delivery())

    assert list(store.segments(TENANT, JOB_ID)) == rows


def test_more_segments_than_a_transaction_takes_are_refused_before_anything_is_written(store: JobStore) -> None:
    with pytest.raises(ValueError, match="91 segments"):
        store.create(a_job(), [a_segment(index=index) for index in range(91)])

    assert store.get(TENANT, JOB_ID) is None


def test_jobs_of_two_tenants_do_not_see_each_other(store: JobStore) -> None:
    """T2."""
    store.create(a_job(), [a_segment()])
    store.create(a_job(tenant="other", metadata={"whose": "other"}))

    mine, other = store.get(TENANT, JOB_ID), store.get("other", JOB_ID)

    assert mine == a_job()
    assert other == a_job(tenant="other", metadata={"whose": "other"})
    assert list(store.segments("other", JOB_ID)) == []


# --- Revisions -------------------------------------------------------------------------------


def test_a_job_moves_when_its_row_still_has_the_revision_it_came_from(store: JobStore) -> None:
    store.create(a_job())
    moved = jobs.begin_synthesis(a_job(), now=NOW + 1, due_at=NOW + 60_000)

    store.save(moved)

    assert store.get(TENANT, JOB_ID) == moved


def test_a_stale_job_changes_nothing(store: JobStore) -> None:
    """E3, I7: two workers read the same revision; the slower one is refused."""
    store.create(a_job())
    faster = jobs.begin_synthesis(a_job(), now=NOW + 1, due_at=NOW + 60_000)
    slower = jobs.fail(a_job(), a_problem(), cost=a_cost(), now=NOW + 2)
    store.save(faster)

    with pytest.raises(StaleWrite):
        store.save(slower)

    assert store.get(TENANT, JOB_ID) == faster


def test_writing_the_same_revision_twice_is_stale_the_second_time(store: JobStore) -> None:
    store.create(a_job())
    moved = jobs.begin_synthesis(a_job(), now=NOW, due_at=NOW)
    store.save(moved)

    with pytest.raises(StaleWrite):
        store.save(moved)


def test_a_row_that_does_not_exist_cannot_be_moved(store: JobStore) -> None:
    """A14: what was erased is never made again by a late write."""
    with pytest.raises(StaleWrite):
        store.save(a_job(rev=2))
    with pytest.raises(StaleWrite):
        store.save_segment(a_segment(rev=2))
    with pytest.raises(StaleWrite):
        store.save_delivery(a_delivery(rev=2))

    assert store.job_and_segment(TENANT, JOB_ID, 0) == (None, None)


def test_of_many_claims_at_once_exactly_one_holds(store: JobStore) -> None:
    """A12, I6."""
    store.create(a_job(), [a_segment()])

    def claim(worker: int) -> bool:
        try:
            store.save_segment(segments.claim(a_segment(), now=NOW + worker, lease_ms=120_000))
        except StaleWrite:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        held = list(threads.map(claim, range(8)))

    assert sum(held) == 1
    row = store.segment(TENANT, JOB_ID, 0)
    assert row is not None
    assert row.attempts == (an_attempt(started_at=NOW + held.index(True), characters=12),)


def test_a_worker_paused_past_its_lease_is_fenced_off(store: JobStore) -> None:
    """I7: its revision is old, so what it brings back changes nothing."""
    store.create(a_job(), [a_segment()])
    store.save_segment(claimed := segments.claim(a_segment(), now=NOW, lease_ms=1_000))
    store.save_segment(taken := segments.take_over(claimed, now=NOW + 2_000, lease_ms=1_000))

    with pytest.raises(StaleWrite):
        store.save_segment(segments.store(claimed, some_audio(), now=NOW + 3_000))

    assert store.segment(TENANT, JOB_ID, 0) == taken


# --- The end of a job ------------------------------------------------------------------------


def test_a_job_ends_together_with_its_delivery(store: JobStore) -> None:
    store.create(a_job())
    failed = jobs.fail(a_job(), a_problem(), cost=a_cost(), now=NOW + 1)

    store.finish(failed, a_delivery(webhook="https://customer.example/hook"))

    assert store.get(TENANT, JOB_ID) == failed
    assert store.delivery(TENANT, JOB_ID) == a_delivery(webhook="https://customer.example/hook")


def test_a_stale_end_leaves_no_delivery(store: JobStore) -> None:
    """I2: both rows or neither."""
    store.create(a_job())
    store.save(jobs.begin_synthesis(a_job(), now=NOW, due_at=NOW))

    with pytest.raises(StaleWrite):
        store.finish(jobs.fail(a_job(), a_problem(), cost=a_cost(), now=NOW + 1), a_delivery())

    assert store.delivery(TENANT, JOB_ID) is None


def test_of_two_finishers_one_is_stale(store: JobStore) -> None:
    """F3."""
    store.create(a_job())
    failed = jobs.fail(a_job(), a_problem(), cost=a_cost(), now=NOW)
    store.finish(failed, a_delivery())

    with pytest.raises(StaleWrite):
        store.finish(failed, a_delivery(webhook="https://other.example"))

    assert store.delivery(TENANT, JOB_ID) == a_delivery()


def test_a_delivery_moves_by_revision(store: JobStore) -> None:
    store.create(a_job(), delivery=a_delivery())
    told = replace(a_delivery(), rev=2, attempts=1, published=True, webhook_done=True, due_at=None, outcome="delivered")

    store.save_delivery(told)

    assert store.delivery(TENANT, JOB_ID) == told
    with pytest.raises(StaleWrite):
        store.save_delivery(told)


# --- Segments --------------------------------------------------------------------------------


def a_full_segment() -> Segment:
    attempts = (
        an_attempt(outcome=Outcome.AMBIGUOUS, ended_at=NOW + 5, request_id="r-é", problem_code="vendor-ambiguous"),
        an_attempt(number=2, started_at=NOW + 9, outcome=Outcome.SETTLED, credits=0.25),
    )
    return a_segment(rev=5, attempts=attempts, due_at=None, not_before=NOW + 7, audio=some_audio(), checks=2, sends=1)


def test_a_segment_is_read_as_it_was_written(store: JobStore) -> None:
    store.create(a_job(), [a_full_segment(), a_segment(index=1, problem=a_problem(), vendor_job_id="vj-1")])

    both = list(store.segments(TENANT, JOB_ID))

    assert both == [a_full_segment(), a_segment(index=1, problem=a_problem(), vendor_job_id="vj-1")]
    assert store.segment(TENANT, JOB_ID, 0) == a_full_segment()


def test_a_job_and_one_of_its_segments_are_read_together(store: JobStore) -> None:
    store.create(a_job(), [a_segment(), a_segment(index=1)])

    assert store.job_and_segment(TENANT, JOB_ID, 1) == (a_job(), a_segment(index=1))
    assert store.job_and_segment(TENANT, JOB_ID, 2) == (a_job(), None)


def test_a_vendors_row_is_read_with_them(store: JobStore) -> None:
    store.create(a_job(), [a_segment()])

    assert store.job_segment_and_health(TENANT, JOB_ID, 0, "convai") == (a_job(), a_segment(), Health("convai"))
    store.save_health(health := a_health(rev=1))

    assert store.job_segment_and_health(TENANT, JOB_ID, 0, "convai") == (a_job(), a_segment(), health)
    assert store.job_segment_and_health(TENANT, JOB_ID, 1, "dify") == (a_job(), None, Health("dify"))


def test_c23_of_two_who_write_a_vendors_row_at_once_one_is_told_to_look_again(store: JobStore) -> None:
    store.save_health(a_health(rev=1))
    with pytest.raises(StaleWrite):
        store.save_health(a_health(rev=1, reason="vendor-gone"))

    store.save_health(second := a_health(rev=2, trials=4))
    with pytest.raises(StaleWrite):
        store.save_health(a_health(rev=2))

    assert store.health("convai") == second
    assert store.health("dify") == Health("dify")


def a_health(**changes: Any) -> Health:
    whole = Health(
        "convai",
        closed_until=NOW + 1,
        next_at=NOW + 2,
        spacing=3,
        refused_at=NOW + 4,
        refusals=5,
        slots=(Lease("job/1", NOW + 6), Lease("job/2", NOW + 7)),
        call_ms=8,
        failed=("job/3", "job/4"),
        open_since=NOW + 9,
        reason="vendor-unavailable",
        retry_at=NOW + 10,
        trials=1,
        trial=Lease("job/5", NOW + 11),
        is_probed=True,
        suspects=(Lease("job", NOW + 12),),
    )
    return replace(whole, **changes)


def test_a_segment_row_that_moved_on_is_never_overwritten(store: JobStore) -> None:
    """A1, I5: whoever resumes a half-written job must not make a segment pending again."""
    store.create(a_job(segments_total=4), [a_segment(index=1)])
    store.save_segment(claimed := segments.claim(a_segment(index=1), now=NOW, lease_ms=1_000))

    store.add_segments([a_segment(index=index) for index in range(4)])

    assert list(store.segments(TENANT, JOB_ID)) == [a_segment(), claimed, a_segment(index=2), a_segment(index=3)]


def test_more_segments_than_one_transaction_takes_are_added_and_come_back_by_index(store: JobStore) -> None:
    """A19."""
    rows = [a_segment(index=index) for index in range(120)]

    store.add_segments(rows[::-1])
    store.add_segments(rows)

    assert list(store.segments(TENANT, JOB_ID)) == rows


def test_adding_no_segments_is_nothing(store: JobStore) -> None:
    store.add_segments([])

    assert list(store.segments(TENANT, JOB_ID)) == []


# --- Counters --------------------------------------------------------------------------------


def test_counters_add_up_and_are_returned(store: JobStore) -> None:
    store.count(TENANT, JOB_ID, stored=1, calls=2)

    counted = store.count(TENANT, JOB_ID, failed=1, calls=1)

    assert counted == Progress(stored=1, failed=1, calls=3)
    assert store.progress(TENANT, JOB_ID) == counted


def test_no_count_is_lost_between_threads_and_one_of_them_sees_the_last(store: JobStore) -> None:
    """B11: whoever stores the last segment knows that it was the last."""
    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(lambda _: store.count(TENANT, JOB_ID, stored=1).stored, range(40)))

    assert sorted(seen) == list(range(1, 41))


# --- What is due -----------------------------------------------------------------------------


def test_what_is_overdue_comes_oldest_first(store: JobStore) -> None:
    store.create(a_job(due_at=NOW - 1), [a_segment(due_at=NOW - 3)], delivery=a_delivery(due_at=NOW - 2))

    due = store.due(NOW, 10)

    assert due == [Due("segment", TENANT, JOB_ID, 0), Due("delivery", TENANT, JOB_ID), Due("job", TENANT, JOB_ID)]


def test_what_is_due_now_is_due_and_what_is_due_later_is_not(store: JobStore) -> None:
    store.create(a_job(due_at=NOW), [a_segment(due_at=NOW + 1)])

    assert store.due(NOW, 10) == [Due("job", TENANT, JOB_ID)]
    assert store.due(NOW - 1, 10) == []


def test_a_limit_keeps_the_oldest(store: JobStore) -> None:
    store.add_segments([a_segment(index=index, due_at=NOW - 100 + index) for index in range(40)])

    due = store.due(NOW, 7)

    assert [each.segment for each in due] == list(range(7))


def test_what_will_never_come_due_again_leaves_the_index(store: JobStore) -> None:
    store.create(a_job(due_at=None), [a_segment()])

    store.save_segment(segments.store(a_segment(), some_audio(), now=NOW))

    assert store.due(NOW + 10**9, 10) == []


def test_a_row_in_quarantine_no_longer_comes_due(store: JobStore) -> None:
    """E12."""
    store.create(a_job(due_at=NOW), [a_segment(due_at=NOW), a_segment(index=1, due_at=NOW + 1)])

    store.quarantine(Due("segment", TENANT, JOB_ID, 0))
    store.quarantine(Due("job", TENANT, JOB_ID))
    store.quarantine(Due("job", TENANT, "job_unknown"))

    assert store.due(NOW + 5, 10) == [Due("segment", TENANT, JOB_ID, 1)]
    assert store.get(TENANT, "job_unknown") is None


# --- Uploads and API keys --------------------------------------------------------------------


def test_the_newest_upload_of_a_key_moves_forward_only(store: JobStore) -> None:
    """A2: events for one key may come in any order."""
    for order, job_id in [("0005", "job_5"), ("0009", "job_9"), ("0007", "job_7"), ("0009", "job_again")]:
        store.advance_upload(TENANT, "texts", "a.txt", order=order, job_id=job_id)

    assert store.latest_upload(TENANT, "texts", "a.txt") == "job_9"
    assert store.latest_upload(TENANT, "texts", "b.txt") is None
    assert store.latest_upload("other", "texts", "a.txt") is None


@pytest.mark.parametrize("key", ["k" * 1024, "ü" * 512, "a b/+%2F/../#job#", "\t\n"])
def test_any_object_key_is_remembered(store: JobStore, key: str) -> None:
    """A4."""
    store.advance_upload(TENANT, "texts", key, order="1", job_id="job_1")

    assert store.latest_upload(TENANT, "texts", key) == "job_1"


def test_an_api_key_is_kept_and_can_be_disabled(store: JobStore) -> None:
    """T1."""
    store.put_api_key(an_api_key())
    store.put_api_key(an_api_key(key_id="k2"))

    store.put_api_key(an_api_key(disabled=True))

    assert store.api_key(TENANT, "k1") == an_api_key(disabled=True)
    assert store.api_key(TENANT, "k2") == an_api_key(key_id="k2")
    assert store.api_key("other", "k1") is None


def test_a_segment_is_split_together_with_its_job(store: JobStore) -> None:
    job, segment = a_job(), a_segment()
    store.create(job, [segment])
    moved = replace(job, rev=2, segments_total=2)

    store.split(moved, replace(segment, rev=2, end=6), [a_segment(index=1)])

    assert store.get(job.tenant, job.id) == moved
    assert [each.end for each in store.segments(job.tenant, job.id)] == [6, 24]


@pytest.mark.parametrize("stale", ["job", "segment", "added"])
def test_a_stale_split_changes_nothing(store: JobStore, stale: str) -> None:
    job, segment = a_job(), a_segment()
    store.create(job, [segment])
    moved, shrunk = replace(job, rev=2, segments_total=2), replace(segment, rev=2, end=6)
    added = a_segment(index=1)
    if stale == "job":
        store.save(replace(job, rev=2))
    elif stale == "segment":
        store.save_segment(replace(segment, rev=2))
    else:
        store.add_segments([replace(added, end=99)])
    before = (store.get(job.tenant, job.id), list(store.segments(job.tenant, job.id)))

    with pytest.raises(StaleWrite):
        store.split(moved, shrunk, [added])

    assert (store.get(job.tenant, job.id), list(store.segments(job.tenant, job.id))) == before


def test_the_only_segment_is_stored_and_counted_together_with_its_job(store: JobStore) -> None:
    job, claimed = a_job(), segments.claim(a_segment(rev=0), now=NOW, lease_ms=1_000)
    store.create(job, [claimed])
    moved, stored = replace(job, rev=2), segments.store(claimed, some_audio(), now=NOW)

    store.store_only(moved, stored)

    assert store.get(job.tenant, job.id) == moved
    assert list(store.segments(job.tenant, job.id)) == [stored]
    assert store.progress(job.tenant, job.id) == Progress(stored=1, calls=1)


@pytest.mark.parametrize("stale", ["job", "segment"])
def test_a_stale_job_or_segment_changes_neither(store: JobStore, stale: str) -> None:
    job, segment = a_job(), a_segment()
    store.create(job, [segment])
    if stale == "job":
        store.save(replace(job, rev=2))
    else:
        store.save_segment(replace(segment, rev=2))
    before = (store.get(job.tenant, job.id), list(store.segments(job.tenant, job.id)))

    with pytest.raises(StaleWrite):
        store.store_only(replace(job, rev=2), replace(segment, rev=2))

    assert (store.get(job.tenant, job.id), list(store.segments(job.tenant, job.id))) == before
    assert store.progress(job.tenant, job.id) == Progress()


def test_a_job_and_what_is_to_be_told_of_it_are_read_together(store: JobStore) -> None:
    job, delivery = a_job(status=JobStatus.FAILED), a_delivery()
    store.create(job, delivery=delivery)
    store.create(other := a_job(id="job_01JD0000000000000000000009"))

    assert store.job_and_delivery(job.tenant, job.id) == (job, delivery)
    assert store.job_and_delivery(other.tenant, other.id) == (other, None)
    assert store.job_and_delivery(job.tenant, "job_nobody") == (None, None)


def test_many_segments_are_written_at_once_but_for_those_that_moved(store: JobStore) -> None:
    """F6: a cancelled job's segments are stopped together, and whoever was faster keeps its row."""
    rows = [a_segment(index=index) for index in range(205)]
    store.create(a_job(segments_total=205), rows[:90])
    store.add_segments(rows[90:])
    moved = {index: segments.claim(rows[index], now=NOW, lease_ms=1_000) for index in (0, 101, 204)}
    for segment in moved.values():
        store.save_segment(segment)

    store.save_segments([segments.postpone(row, due_at=None) for row in rows])

    after = list(store.segments(TENANT, JOB_ID))
    assert [row.index for row in after if row.due_at is not None] == sorted(moved)
    assert {row.index: row for row in after if row.due_at is not None} == moved
    assert {row.rev for row in after} == {2}


def test_a_segment_that_was_fenced_off_cannot_be_claimed_any_more(store: JobStore) -> None:
    """I11, I7."""
    pending = a_segment()
    store.create(a_job(), [pending])

    store.save_segments([segments.stop(pending, now=NOW, problem=a_problem())])

    with pytest.raises(StaleWrite):
        store.save_segment(segments.claim(pending, now=NOW, lease_ms=1_000))


# --- Budgets ---------------------------------------------------------------------------------


def test_a_budget_counts_what_is_reserved_from_the_start(store: JobStore) -> None:
    """I12."""
    store.create(a_job(), [a_segment(reserved=0.5)], committed=500_000)

    store.save_within([replace(a_segment(reserved=0.5), rev=2)], change=-200_000, limit=None, stored=1, calls=1)

    assert store.progress(TENANT, JOB_ID) == Progress(stored=1, calls=1, committed=300_000)


def test_what_does_not_fit_into_the_budget_is_not_written(store: JobStore) -> None:
    """I12."""
    store.create(a_job(), [a_segment(), a_segment(index=1)], committed=900_000)

    with pytest.raises(OverBudget):
        store.save_within([replace(a_segment(), rev=2)], change=100_001, limit=1_000_000)
    with pytest.raises(OverBudget):
        store.save_take(replace(a_job(), rev=2), change=100_001, limit=1_000_000)
    with pytest.raises(OverBudget):
        store.split(
            replace(a_job(), rev=2), replace(a_segment(), rev=2), [a_segment(index=2)], change=100_001, limit=1_000_000
        )
    store.save_within([replace(a_segment(), rev=2)], change=100_000, limit=1_000_000)

    assert store.progress(TENANT, JOB_ID).committed == 1_000_000
    assert store.get(TENANT, JOB_ID) == a_job()
    assert store.segment(TENANT, JOB_ID, 2) is None


def test_a_first_reservation_above_the_budget_is_refused(store: JobStore) -> None:
    store.create(a_job(), [a_segment()])

    with pytest.raises(OverBudget):
        store.save_within([replace(a_segment(), rev=2)], change=2, limit=1)

    assert store.progress(TENANT, JOB_ID).committed == 0


def test_a_row_that_has_moved_leaves_the_budget_alone(store: JobStore) -> None:
    """I7."""
    store.create(a_job(), [a_segment(), a_segment(index=1)], committed=10)

    with pytest.raises(StaleWrite):
        store.save_within([replace(a_segment(), rev=2), replace(a_segment(index=1), rev=3)], change=-10, limit=None)
    with pytest.raises(StaleWrite):
        store.save_take(replace(a_job(), rev=5), change=5, limit=100)

    assert store.progress(TENANT, JOB_ID).committed == 10
    assert store.segment(TENANT, JOB_ID, 0) == a_segment()


def test_t3_of_a_thousand_reservations_at_once_exactly_those_that_fit_are_made(store: JobStore) -> None:
    """T3, I12: overshoot 0."""
    workers, each_makes, limit, price = 20, 50, 1_000_000, 2_990
    store.create(a_job(), [a_segment(index=index) for index in range(workers)])

    def reserve(index: int) -> int:
        row = a_segment(index=index)
        for _ in range(each_makes):
            with suppress(OverBudget):
                store.save_within([after := replace(row, rev=row.rev + 1)], change=price, limit=limit)
                row = after
        return row.rev - 1

    with ThreadPoolExecutor(workers) as threads:
        made = sum(threads.map(reserve, range(workers)))

    assert workers * each_makes == 1_000
    assert made == limit // price == 334
    assert store.progress(TENANT, JOB_ID).committed == made * price


def test_each_take_has_its_own_counters_and_the_job_has_its_calls(store: JobStore) -> None:
    store.count(TENANT, JOB_ID, stored=2, calls=3)
    store.create(a_job(), [a_segment(index=100_000, take=1)])

    counted = store.count(TENANT, JOB_ID, take=1, failed=1, calls=1)
    moved = jobs.begin_assembly(a_job(status=JobStatus.SYNTHESIZING), now=NOW, due_at=NOW)
    store.store_only(moved, replace(a_segment(index=100_000, take=1), rev=2), change=7)

    assert counted == Progress(failed=1, calls=4)
    assert store.progress(TENANT, JOB_ID, 1) == Progress(stored=1, failed=1, calls=4, committed=7)
    assert store.progress(TENANT, JOB_ID) == Progress(stored=2, calls=4, committed=7)


# --- Erasing ---------------------------------------------------------------------------------


def test_a_job_is_erased_with_its_outbox_in_one_write(store: JobStore) -> None:
    """F7."""
    failed = replace(a_full_job(), status=JobStatus.FAILED, problem=a_problem())
    store.create(failed, delivery=a_delivery(webhook="https://customer.example/hook"))
    tombstone = jobs.erase(failed, now=NOW + 5)
    silent = a_delivery(rev=2, webhook=None)

    store.erase(tombstone, silent, a_cleanup())

    assert store.get(TENANT, JOB_ID) == tombstone
    assert store.delivery(TENANT, JOB_ID) == silent
    assert store.cleanup(TENANT, JOB_ID) == a_cleanup()


@pytest.mark.parametrize("stale", ["job", "delivery", "cleanup"])
def test_an_erasure_whose_job_or_outbox_moved_changes_nothing(store: JobStore, stale: str) -> None:
    """I7."""
    failed = a_job(status=JobStatus.FAILED, due_at=None)
    store.create(failed, delivery=a_delivery())
    if stale == "cleanup":
        store.save_cleanup(a_cleanup(keys=("begun",)))
    tombstone = jobs.erase(failed, now=NOW)
    rev = {"job": 7, "delivery": 2, "cleanup": 2}[stale]

    with pytest.raises(StaleWrite):
        store.erase(
            replace(tombstone, rev=rev if stale == "job" else 2),
            a_delivery(rev=5 if stale == "delivery" else 2),
            a_cleanup(),
        )

    assert store.get(TENANT, JOB_ID) == failed
    assert store.delivery(TENANT, JOB_ID) == a_delivery()


def test_a_cleanup_is_new_follows_its_row_and_goes_with_the_revision_it_was_read_with(store: JobStore) -> None:
    first = a_cleanup(keys=("a.mp3", "ü.vtt"), erases=False)
    store.save_cleanup(first)
    with pytest.raises(StaleWrite):
        store.save_cleanup(first)
    second = replace(first, rev=2, due_at=NOW + 1)
    store.save_cleanup(second)

    with pytest.raises(StaleWrite):
        store.drop_cleanup(first)
    kept = store.cleanup(TENANT, JOB_ID)
    store.drop_cleanup(second)
    store.drop_cleanup(second)

    assert kept == second
    assert store.cleanup(TENANT, JOB_ID) is None


def test_a_job_that_ends_leaves_what_is_to_be_taken_back(store: JobStore) -> None:
    """I3."""
    store.create(a_job(status=JobStatus.ASSEMBLING))

    store.finish(a_job(status=JobStatus.FAILED, rev=2, due_at=None), a_delivery(), a_cleanup(erases=False))

    assert store.cleanup(TENANT, JOB_ID) == a_cleanup(erases=False)


def test_a_cleanup_comes_due(store: JobStore) -> None:
    """B14."""
    store.save_cleanup(a_cleanup(due_at=NOW))

    assert list(store.due(NOW, 10)) == [Due("cleanup", TENANT, JOB_ID)]


def test_the_jobs_that_share_audio_are_found_by_it(store: JobStore) -> None:
    other = "job_0000000000000000000000000A"
    store.create(a_job(segments_total=2), [a_segment(audio_key="shared"), a_segment(index=1, audio_key="mine")])
    store.create(a_job(id=other), [a_segment(job_id=other, audio_key="shared")])

    assert sorted(store.users_of("shared")) == sorted([(TENANT, JOB_ID), (TENANT, other)])
    assert list(store.users_of("mine")) == [(TENANT, JOB_ID)]
    assert list(store.users_of("nobody's")) == []
    assert list(store.audio_of(TENANT, JOB_ID)) == [(0, "shared"), (1, "mine")]


def test_segments_that_are_dropped_are_gone_and_used_by_nobody(store: JobStore) -> None:
    rows = [a_segment(index=index, audio_key="one") for index in range(205)]
    store.create(a_job(segments_total=205), rows[:90])
    store.add_segments(rows[90:])

    store.drop_segments(TENANT, JOB_ID, range(1, 205))
    store.drop_segments(TENANT, JOB_ID, [1, 7_000])

    assert list(store.segments(TENANT, JOB_ID)) == rows[:1]
    assert set(store.users_of("one")) == {(TENANT, JOB_ID)}
    with pytest.raises(StaleWrite):
        store.save_segment(segments.claim(rows[3], now=NOW, lease_ms=1_000))


# --- Who buys an audio that several want ------------------------------------------------------


def several_pending(store: JobStore, many: int) -> list[Segment]:
    """One segment each of so many jobs, all of the same audio."""
    rows = [a_segment(job_id=f"job_{number:026d}", audio_key="default/ab/same") for number in range(many)]
    store.add_segments(rows)
    return rows


def calling(row: Segment) -> Segment:
    return segments.claim(row, now=NOW, lease_ms=120_000, vendor="voiceai")


def test_the_first_to_claim_an_audio_is_the_one_to_call(store: JobStore) -> None:
    first, second = several_pending(store, 2)

    assert store.claim_audio(calling(first), until=NOW) is None
    rival = store.claim_audio(calling(second), until=NOW)

    assert rival is not None
    assert (rival.job_id, rival.segment) == (first.job_id, first.index)
    assert store.segment(TENANT, first.job_id, 0) == calling(first)
    assert store.segment(TENANT, second.job_id, 0) == second


def test_who_buys_an_audio_can_be_asked_without_wanting_to(store: JobStore) -> None:
    first, second = several_pending(store, 2)
    before = store.claim_on(second)

    store.claim_audio(calling(first), until=NOW)
    seen = store.claim_on(second)

    assert before is None
    assert seen is not None
    assert seen == store.claim_audio(calling(second), until=NOW)
    assert store.claim_on(first) is None  # nobody else


def test_whoever_has_the_claim_calls_again_without_asking(store: JobStore) -> None:
    (row,) = several_pending(store, 1)
    store.claim_audio(calling(row), until=NOW)
    again = segments.retry(
        calling(row), now=NOW, not_before=NOW, due_at=NOW, outcome=Outcome.RELEASED, problem=a_problem()
    )
    store.save_segment(again)

    assert store.claim_audio(calling(again), until=NOW) is None


def test_a_claim_is_taken_over_once_and_only_from_whom_was_seen(store: JobStore) -> None:
    lost, *others = several_pending(store, 4)
    store.claim_audio(calling(lost), until=NOW)
    seen = store.claim_audio(calling(others[0]), until=NOW)

    answers = [store.claim_audio(calling(each), until=NOW, over=seen) for each in others]

    assert answers[0] is None
    assert [(each.job_id if each else None) for each in answers[1:]] == [others[0].job_id] * 2


def test_i7_a_segment_that_moved_claims_nothing(store: JobStore) -> None:
    moved, other = several_pending(store, 2)
    store.save_segment(segments.postpone(moved, due_at=None))

    with pytest.raises(StaleWrite):
        store.claim_audio(calling(moved), until=NOW)

    assert store.claim_audio(calling(other), until=NOW) is None


def test_a_claim_is_none_of_those_who_have_the_audio(store: JobStore) -> None:
    """Its row must be in no index that an erasure asks."""
    (row,) = several_pending(store, 1)
    store.claim_audio(calling(row), until=NOW)

    assert list(store.users_of("default/ab/same")) == [(TENANT, row.job_id)]
    assert {due.kind for due in store.due(NOW + 10**7, 10)} == {"segment"}


def test_f7_the_claims_of_a_job_are_dropped_and_those_of_others_stay(store: JobStore) -> None:
    first, second = several_pending(store, 2)
    mine = replace(first, index=1, audio_key="default/cd/mine")
    store.add_segments([mine])
    store.claim_audio(calling(mine), until=NOW)
    store.claim_audio(calling(second), until=NOW)

    store.drop_claims(TENANT, first.job_id, ["default/cd/mine", "default/ab/same", "default/ef/none"])

    assert store.claim_audio(calling(first), until=NOW) is not None
    other = replace(second, index=1, audio_key="default/cd/mine")
    store.add_segments([other])
    assert store.claim_audio(calling(other), until=NOW) is None


def test_many_workers_that_claim_an_audio_at_once_are_one(store: JobStore) -> None:
    rows = several_pending(store, 20)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda row: store.claim_audio(calling(row), until=NOW), rows))

    assert answers.count(None) == 1
    owner = rows[answers.index(None)].job_id
    assert {each.job_id for each in answers if each is not None} == {owner}
