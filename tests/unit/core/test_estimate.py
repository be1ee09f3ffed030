"""How long a job will still take: from its own pace, within a factor of two, or nothing at all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from speech.errors import VendorUnavailable
from speech.estimate import seconds_left
from speech.jobs import Job, JobStatus, Progress
from speech.vendors.base import AudioReady, StillWorking, SynthesisRequest
from tests.fakes import NOW, a_job, a_spec
from tests.support.editing import Desk, an_editing_world
from tests.support.world import ScriptedVendor, spoken

TOTAL = 400


def a_job_of(segments: int = TOTAL, **changes: Any) -> Job:
    job = a_job(
        status=JobStatus.SYNTHESIZING,
        created_at=NOW,
        updated_at=NOW,
        characters=segments * 500,
        segments_total=segments,
        spec=a_spec(format="wav"),
    )
    return replace(job, **changes)


def at(seconds: float) -> int:
    return NOW + round(seconds * 1000)


def stored_by(now: float, moments: list[float]) -> Progress:
    """The counters as they are at that moment, if segments are stored at these."""
    past = [each for each in moments if each <= now]
    return Progress(stored=len(past), first_at=at(past[0]), last_at=at(past[-1])) if past else Progress()


STEADY = {
    "one after another": [3.0 + 2.0 * each for each in range(TOTAL)],
    "ten at a time": [20.0 * (1 + each // 10) for each in range(TOTAL)],
    "slowly, one a minute": [5.0 + 60.0 * each for each in range(TOTAL)],
    "after half an hour without the vendor": [1_800 + 2.0 * each for each in range(TOTAL)],
    "two fast ones, then one": [2.0 * each - each % 3 * 0.9 + 3 for each in range(TOTAL)],
}


@pytest.mark.parametrize("moments", STEADY.values(), ids=STEADY.keys())
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_while_it_goes_on_as_it_did_the_estimate_is_within_a_factor_of_two(moments: list[float], share: float) -> None:
    job = a_job_of()
    begun, end = moments[0], moments[-1]
    now = begun + share * (end - begun)

    estimate = seconds_left(job, stored_by(now, moments), at(now))

    assert estimate is not None
    assert (end - now) / 2 <= estimate <= 2 * (end - now)


def test_nothing_is_said_before_the_first_segment_is_there() -> None:
    assert seconds_left(a_job_of(), Progress(), at(5)) is None
    assert seconds_left(a_job_of(status=JobStatus.ACCEPTED), Progress(), at(0)) is None
    assert seconds_left(a_job_of(segments_total=None), Progress(), at(5)) is None


def test_nothing_is_said_of_the_first_until_those_beside_it_have_come() -> None:
    """Ten are spoken at once; the first is there a moment before the others."""
    moments = [20.0 + 0.1 * each for each in range(10)]

    estimates = [seconds_left(a_job_of(100), stored_by(now, moments), at(now)) for now in (20.05, 25, 31)]

    assert estimates[:2] == [None, None]
    assert estimates[2] is not None
    assert (200 - 31) / 2 <= estimates[2] <= 2 * (200 - 31)


def test_nothing_is_said_once_nothing_moves_any_more() -> None:
    moments = STEADY["one after another"][:100]
    progress = stored_by(1_000, moments)

    estimates = [seconds_left(a_job_of(), progress, at(moments[-1] + quiet)) for quiet in (10, 69, 75, 600, 36_000)]

    assert None not in estimates[:2]
    assert estimates[2:] == [None, None, None]


def test_nothing_is_said_while_a_narrator_is_being_replaced() -> None:
    moments = STEADY["one after another"]

    assert seconds_left(a_job_of(held={"code": "vendor-gone"}), stored_by(50, moments), at(50)) is None


def test_an_edit_does_not_promise_that_the_last_calls_take_no_time() -> None:
    """Of 400 segments 397 were there within two seconds; the other three are being spoken."""
    progress = Progress(stored=397, first_at=at(0.5), last_at=at(2))

    job = a_job_of(characters=3_000)

    assert seconds_left(job, progress, at(12)) in range(10, 15)
    assert (seconds_left(job, progress, at(32)) or 0) >= 30


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_has_ended_takes_no_more_time(status: JobStatus) -> None:
    assert seconds_left(a_job_of(status=status), stored_by(900, STEADY["one after another"]), at(900)) is None


def test_joining_is_reckoned_by_the_length_of_the_text_and_is_never_below_a_second() -> None:
    job = a_job_of(status=JobStatus.ASSEMBLING, characters=1_000_000, spec=a_spec(format="mp3"), updated_at=at(0))

    estimates = [seconds_left(job, Progress(stored=TOTAL), at(seconds)) for seconds in (0, 200, 445, 460, 3_600)]

    first, second, *_ = estimates
    assert first is not None
    assert second is not None
    assert first - second == 200
    assert all(each is None or each >= 1 for each in estimates)
    assert estimates[-1] is None


class _SteadyVendor(ScriptedVendor):
    """Takes two seconds for each call, and asks how long the job will take while it is at it."""

    def __init__(self) -> None:
        super().__init__()
        self.on_call: Callable[[], None] = lambda: None

    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        self.on_call()
        return super().start(request, callback_url=callback_url)


def test_the_job_that_is_asked_for_says_how_long_it_will_still_take() -> None:
    vendor = _SteadyVendor()
    desk = Desk(limit=32, world=an_editing_world(vendor=vendor))
    made = desk.drop(" ".join(f"Boat number {number} is at sea." for number in range(30)))
    seen: list[tuple[int, int | None]] = []

    def look() -> None:
        estimate = desk.edge.read_job.resource(desk.world.job(made.id))["estimate"]
        seen.append((desk.world.clock.now(), estimate["seconds_left"] if estimate else None))
        desk.world.clock.advance(2)

    vendor.on_call = look
    desk.world.run()
    ended = desk.world.clock.now()

    assert seen[0][1] is None
    for moment, estimate in seen[2:-3]:
        assert estimate is not None
        assert (ended - moment) / 2_000 <= estimate <= 2 * (ended - moment) / 1_000
    assert desk.edge.read_job.resource(desk.world.job(made.id))["estimate"] is None


def test_a_job_whose_vendor_goes_away_in_the_middle_says_nothing_until_it_is_back() -> None:
    desk = Desk(limit=32)
    desk.world.vendor.starts = [AudioReady(spoken(28), "audio/wav")] * 10
    desk.world.vendor.starts += [VendorUnavailable("down", vendor="voiceai") for _ in range(200)]
    made = desk.drop(" ".join(f"Boat number {number} is at sea." for number in range(20)))

    desk.world.run_with_sweeps(seconds=300)

    resource = desk.edge.read_job.resource(desk.world.job(made.id))
    assert resource["status"] == "synthesizing"
    assert resource["segments"]["stored"] == 10
    assert resource["estimate"] is None
