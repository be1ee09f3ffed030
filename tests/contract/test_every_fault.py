"""Every vendor × every fault that can be played to it: a whole job, on the real adapter, client and emulator.

The clock is virtual, so hours of waiting take no time; what the emulator does takes the time it takes.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.emulators import EMULATORS
from local.emulators.base import Emulator
from speech.jobs import Job, JobStatus
from speech.segments import Outcome, SegmentStatus
from speech.settings import Settings
from speech.vendors import VENDORS, capabilities, keys_of, vendor_class
from speech.vendors.base import Delivery
from speech.vendors.http import VendorClient
from tests.fakes import a_spec
from tests.support.world import World, is_settled

TEXT = "The quick brown fox jumps over the lazy dog, and nobody minds at all."
INSIDE_A_FRAME = 5_003
"""Where an answer is cut that nothing else gives away: between two frames an untagged MP3 would look whole."""

ATTEMPTS = 3
DEADLINE_SECONDS = 3_600
REAL_TIME = threading.Event()
"""Never set: an emulator that works on a job does so in real time, while the clock of the world leaps."""


@dataclass(frozen=True)
class Case:
    """A fault, how often it is played (None: until the end), and the problems the job may end with.

    No problems: the job completes. `calls` is the most that the job may have bought.
    """

    row: str
    fault: str
    times: int | None = None
    ends: tuple[str, ...] = ()
    calls: int = ATTEMPTS
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        often = "always" if self.times is None else f"{self.times}x"
        return "-".join([self.row, self.fault, often, *(f"{value}" for _, value in self.options)])


MISBEHAVED = ("vendor-misbehaved",)
LOST = ("vendor-ambiguous", "vendor-unavailable", "vendor-misbehaved", "deadline-exceeded")
"""What a vendor that never answers whole may be called; which of them depends on where it was cut."""

RETRY_AFTER = ("3", "soon", "999999", "-5", "Wed, 21 Oct 2015 07:28:00 GMT")

SLOW = frozenset({"bomb", "gzip", "hang", "stall", "drip", "false-length", "cut", "lost", "reset"})
"""Faults that take real time at every try: their jobs get a short deadline."""

CASES = (
    Case("c1", "reset", None, LOST),
    Case("c1", "reset", 1),
    Case("c2", "hang", None, LOST),
    Case("c2", "hang", 1),
    Case("c2", "lost", 1),
    *(Case("c3", "throttled", 2, options=(("headers", {"Retry-After": value}),)) for value in RETRY_AFTER),
    Case("c3", "throttled", None, ("vendor-throttled",)),
    Case("c4", "server-error", None, ("vendor-unavailable", "vendor-ambiguous")),
    Case("c4", "server-error", 1),
    Case("c5", "unauthorized", None, ("vendor-unauthorized",), calls=0),
    Case("c5", "unauthorized", 1),
    Case("c7", "quota", None, ("vendor-quota-exhausted",), calls=0),
    Case("c7", "quota", 2),
    *(Case("c8", fault, None, MISBEHAVED) for fault in ("empty", "no-content", "json", "html", "text", "null")),
    *(Case("c8", fault, 1) for fault in ("empty", "json", "html", "null")),
    Case("c9", "wrong-content-type", None),
    Case("c9", "wrong-container", 1, options=(("container", "flac"),)),
    Case("c9", "wrong-container", None, MISBEHAVED, options=(("container", "png"),)),
    Case("c10", "cut", None, LOST, options=(("framing", "length"), ("bytes", 1_000))),
    Case("c10", "cut", None, LOST, options=(("framing", "close"), ("bytes", 1_000))),
    Case("c10", "cut", 1, options=(("framing", "chunked"), ("bytes", 1_000))),
    Case("c10", "truncated", None, MISBEHAVED, options=(("bytes", INSIDE_A_FRAME),)),
    Case("c11", "stall", None, LOST),
    Case("c11", "drip", None, LOST),
    Case("c12", "false-length", None, LOST),
    Case("c12", "bomb", None, LOST),
    Case("c12", "gzip", None, LOST),
    Case("c13", "redirect", None, ("vendor-unavailable", "vendor-misbehaved", "vendor-rejected", "vendor-job-failed")),
    Case("c14", "silent", None, MISBEHAVED),
    Case("c8", "json-after-audio", None, MISBEHAVED),
    Case("c8", "json-before-audio", None, MISBEHAVED),
    Case("c22", "rejected", None, ("vendor-rejected",), calls=1),
)


@pytest.fixture(params=VENDORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def emulator(name: str) -> Iterator[Emulator]:
    with EMULATORS[name](**EMULATORS[name].in_tests) as running:
        yield running


def speak(name: str, emulator: Emulator, *, deadline_seconds: int = DEADLINE_SECONDS, call_seconds: float = 8) -> World:
    """Run one job to its end, sweeps included."""
    settings = Settings(callback_base_url="https://speech.example", lease_seconds=120, segment_attempts=ATTEMPTS)
    client = VendorClient(name, emulator.url, local=True, deadline_seconds=call_seconds, max_audio=1 << 22)
    keys = dict.fromkeys(keys_of(name), "vk_right")
    world = World(settings=settings, adapter=lambda: vendor_class(name)(client, keys))
    now = world.clock.now()
    world.a_synthesizing_job(
        TEXT,
        spec=a_spec(vendor=name, voice=EMULATORS[name].default_voice),
        deadline_at=now + deadline_seconds * 1000,
    )
    for _ in range(deadline_seconds // 60 + 3):
        if world.job().is_terminal:
            break
        world.run_with_sweeps(seconds=60)
        if world.segment().status is SegmentStatus.WAITING:
            REAL_TIME.wait(0.15)
    world.run_with_sweeps(seconds=1_200)  # whatever is left of the segments comes due once more
    client.close()
    return world


def bought(emulator: Emulator) -> int:
    return len(emulator.book)


def flagged(world: World) -> int:
    """Attempts of which the record says that they may have been billed in vain."""
    return sum(attempt.outcome is Outcome.AMBIGUOUS for attempt in world.segment().attempts)


def problem_of(job: Job) -> str | None:
    return (job.problem or {}).get("code")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_job_ends_as_it_should(name: str, emulator: Emulator, case: Case) -> None:
    if case.fault not in emulator.faults.kinds:
        pytest.skip(f"the documents of {name} give no way to play {case.fault}")
    emulator.faults.play(case.fault, times=case.times, **dict(case.options))

    if case.fault in SLOW:
        world = speak(name, emulator, deadline_seconds=600, call_seconds=0.5 if case.times is None else 2)
    else:
        world = speak(name, emulator)

    job = world.job()
    assert job.is_terminal
    assert is_settled(world)
    if case.ends:
        assert job.status is JobStatus.FAILED
        assert problem_of(job) in case.ends
        assert world.segment().calls <= case.calls
    else:
        assert job.status is JobStatus.COMPLETED, job.problem
        assert f"jobs/{job.id}.mp3" in world.results.objects
    assert job.cost is not None
    assert bought(emulator) <= job.cost.vendor_calls
    # Settled, or still under way at the vendor when the deadline came: known purchases. The rest is flagged.
    known = sum(attempt.outcome in (Outcome.SETTLED, None) for attempt in world.segment().attempts)
    assert bought(emulator) <= known + flagged(world)


@pytest.mark.parametrize("name", [each for each in VENDORS if Delivery.CALLBACK in capabilities(each).delivery])
@pytest.mark.parametrize("fault", ["lost", "hang", "reset"])
def test_b9_c18_where_the_vendor_can_be_asked_a_lost_answer_costs_nothing_twice(
    name: str, emulator: Emulator, fault: str
) -> None:
    emulator.faults.play(fault, times=1)

    world = speak(name, emulator, call_seconds=2)

    assert world.job().status is JobStatus.COMPLETED
    assert bought(emulator) == 1
    assert flagged(world) == 0
