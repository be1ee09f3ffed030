"""Two hundred workers, real threads on real rows, want the same audio: one call; lost while buying it, one takeover."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from speech import segments
from speech.aws.clients import Clients
from speech.aws.dynamo import DynamoJobStore
from speech.errors import StoreUnavailable
from speech.jobs import JobStatus
from speech.messages import StartSegment
from speech.segments import Segment, SegmentStatus
from speech.settings import TENANT
from speech.vendors.base import SynthesisRequest
from tests.fakes import a_job, a_problem, a_segment, a_spec
from tests.fakes.aws import create_table, in_process_aws
from tests.support.world import ScriptedVendor, World

SENTENCE = "The sun is up and the birds are singing."
KEY = "default/ab/the-same"
WORKERS, FOLLOWERS = 200, 30

_tables = count()


class Killed(BaseException):
    """The process is gone: nothing of ours may catch this."""


class SlowVendor(ScriptedVendor):
    """Speaks once everybody who came has been turned away, or has come as well."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Semaphore(0)
        self.speaks = threading.Event()

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> Any:
        self.asked.release()
        assert self.speaks.wait(60)
        return super().start(request, callback_url=callback_url)


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        yield clients


@pytest.fixture
def world(aws: Clients) -> World:
    world = World(vendor=SlowVendor())
    table = create_table(aws.dynamodb, f"once-{next(_tables)}")
    store = DynamoJobStore(aws.dynamodb, table, clock=world.clock)
    return World(vendor=world.vendor, clock=world.clock, store=store)  # type: ignore[arg-type] # not a fake, this time


def jobs_in_one_moment(world: World, many: int) -> list[str]:
    """They synthesize, and their only segments have the same audio key."""
    now = world.clock.now()
    names = [f"job_{number:026d}" for number in range(many)]
    for name in names:
        job = a_job(
            id=name,
            text_id="t",
            spec=a_spec(vendor="scripted"),
            status=JobStatus.SYNTHESIZING,
            segments_total=2,  # so that nobody writes the job's row
            deadline_at=now + 3_600_000,
        )
        row = a_segment(job_id=name, end=len(SENTENCE), characters=len(SENTENCE), audio_key=KEY, due_at=now + 120_000)
        world.store.create(job, [row])
    world.texts.put_text(TENANT, "t", SENTENCE.encode())
    return names


def start(world: World, name: str) -> None:
    with suppress(Killed, StoreUnavailable):
        world.start(StartSegment(TENANT, name, 0, vendor="scripted"))


def row(world: World, name: str) -> Segment:
    segment = world.store.segment(TENANT, name, 0)
    assert segment is not None
    return segment


def test_two_hundred_workers_that_want_the_same_audio_at_once_make_one_call(world: World) -> None:
    """I5"""
    names = jobs_in_one_moment(world, WORKERS)
    vendor: Any = world.vendor

    with ThreadPoolExecutor(WORKERS) as workers:
        running = [workers.submit(start, world, name) for name in names]
        assert vendor.asked.acquire(timeout=60)
        while sum(each.done() for each in running) < WORKERS - 1:
            assert not vendor.asked.acquire(timeout=0.05), "a second call"
        vendor.speaks.set()

    called = [name for name in names if row(world, name).calls]
    assert len(called) == len(vendor.requests) == 1
    assert row(world, called[0]).status is SegmentStatus.STORED
    world.clock.advance(10)
    for name in names:
        start(world, name)
    assert {row(world, name).status for name in names} == {SegmentStatus.STORED}
    assert len(vendor.requests) == 1


def test_an_owner_that_is_killed_for_good_is_followed_by_exactly_one(world: World) -> None:
    """B5: its call is flagged; its job has failed before anybody else came."""
    lost, *names = jobs_in_one_moment(world, FOLLOWERS + 1)
    vendor: Any = world.vendor
    vendor.speaks.set()
    vendor.starts = [Killed()]
    start(world, lost)
    world.clock.advance(121)
    problem = a_problem()
    gone = row(world, lost)
    world.store.save_segment(
        segments.fail(gone, now=world.clock.now(), outcome=segments.Outcome.AMBIGUOUS, problem=problem)
    )
    vendor.speaks.clear()
    before = len(vendor.requests)
    assert vendor.asked.acquire(timeout=1)

    with ThreadPoolExecutor(FOLLOWERS) as workers:
        running = [workers.submit(start, world, name) for name in names]
        assert vendor.asked.acquire(timeout=60)
        while sum(each.done() for each in running) < FOLLOWERS - 1:
            assert not vendor.asked.acquire(timeout=0.05), "a second takeover"
        vendor.speaks.set()

    assert len(vendor.requests) == before + 1
    assert sum(row(world, name).calls for name in names) == 1
