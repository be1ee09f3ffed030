"""Clocks that are wrong, that jump, and that know summer: one count of milliseconds, and no order by it."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from speech.aws.clock import SystemClock
from speech.jobs import JobStatus
from speech.resource import timestamp
from speech.segments import Outcome
from speech.vendors.answers import retry_after
from speech.vendors.base import AudioReady, SynthesisRequest
from tests.support.world import ScriptedVendor, World, is_settled, spoken

SENTENCE = "The sun is up and the birds are singing."
HOUR, MINUTE = 3_600, 60


class WhileItSpeaks(ScriptedVendor):
    """The first time that it speaks, the clock is put forward or back."""

    def __init__(self, world: World, seconds: float) -> None:
        super().__init__()
        self._world, self._seconds = world, seconds

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady:
        self.requests.append(request)
        seconds, self._seconds = self._seconds, 0.0
        self._world.clock.advance(seconds)
        self._world.sweep()  # by the clock that is wrong now
        return AudioReady(spoken(len(request.text)), "audio/wav")


@pytest.mark.parametrize("seconds", [-24 * HOUR, -10 * MINUTE, -MINUTE, MINUTE, 10 * MINUTE, 50 * MINUTE])
def test_e8_a_clock_that_jumps_during_a_call_costs_no_job_and_hides_no_purchase(seconds: float) -> None:
    world = World()
    world.vendor = vendor = WhileItSpeaks(world, seconds)
    world.a_synthesizing_job(SENTENCE)

    world.run(seconds=MINUTE)
    world.run_with_sweeps(seconds=10 * MINUTE)

    assert world.job().status is JobStatus.COMPLETED
    assert is_settled(world)
    outcomes = [attempt.outcome for attempt in world.segment().attempts]
    assert len(vendor.requests) <= 2
    assert len(vendor.requests) - 1 <= outcomes.count(Outcome.AMBIGUOUS)


@pytest.mark.parametrize("skew", [-10 * MINUTE, -MINUTE, MINUTE, 10 * MINUTE])
def test_e8_a_sweep_whose_clock_is_wrong_by_minutes_breaks_nothing(skew: float) -> None:
    world = World()
    job = world.a_synthesizing_job(SENTENCE, "And the night was long.")

    for _ in range(10):
        world.clock.advance(skew)
        world.sweep()
        world.clock.advance(-skew)
        world.run(seconds=MINUTE)

    assert world.job(job.id).status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 2


def test_e8_a_row_that_is_older_than_the_one_it_replaces_still_counts() -> None:
    """Order comes from revisions: a worker whose clock runs behind writes times that lie in the past."""
    world = World()
    job = world.a_synthesizing_job(SENTENCE)
    world.clock.advance(-HOUR)

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert world.job().updated_at < job.updated_at


@pytest.fixture(params=["UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The machine's own time zone, which plays no part."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


MOMENTS = (
    "2026-03-08T07:00:00.001Z",  # New York leaves out an hour
    "2026-11-01T05:59:59.999Z",  # and has one twice
    "2027-12-31T23:59:59.999Z",
    "2028-02-29T12:00:00.000Z",
    "2028-12-31T23:59:59.500Z",
    "2038-01-19T03:14:08.000Z",
)


def milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


@pytest.mark.parametrize("moment", MOMENTS)
def test_e9_a_time_is_told_in_utc_wherever_and_whenever_it_is(zone: str, moment: str) -> None:
    assert timestamp(milliseconds(moment)) == moment


def test_e9_the_zone_of_the_machine_changes_neither_now_nor_what_a_vendor_asks_for(zone: str) -> None:
    before = time.time_ns() // 1_000_000
    now = SystemClock().now()
    moment = datetime.fromtimestamp(now / 1000, UTC)

    asked = retry_after({"retry-after": format_datetime(moment.replace(microsecond=0), usegmt=True)}, now / 1000 - 90)

    assert before <= now < before + 5_000
    assert asked == pytest.approx(90, abs=1)


@pytest.mark.parametrize("moment", MOMENTS)
def test_e9_a_job_lives_through_any_night_of_the_year(moment: str) -> None:
    world = World()
    world.clock.set(milliseconds(moment) - 30_000)
    world.vendor.starts = [KeyboardInterrupt()]  # dies, so that its lease must end after the moment
    world.a_synthesizing_job(SENTENCE, created_at=world.clock.now())

    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.run_with_sweeps(seconds=5 * MINUTE)

    job = world.job()
    assert job.status is JobStatus.COMPLETED
    assert timestamp(job.created_at) < moment < timestamp(job.updated_at)
