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
from speech.segments import Attempt, Outcome, SegmentStatus
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

    No problems: the job completes. `calls` is the most that the job may have bought. `delivery` is the one that the
    fault is about, `on` the route of the vendors that have it. `found`: a vendor that lists its jobs is asked, and the
    job completes after all. `either`: whether it is noticed is not this test's business.
    """

    row: str
    fault: str
    times: int | None = None
    ends: tuple[str, ...] = ()
    calls: int = ATTEMPTS
    options: tuple[tuple[str, Any], ...] = ()
    delivery: str | None = None
    on: tuple[tuple[str, str], ...] = ()
    found: bool = False
    either: bool = False

    def __str__(self) -> str:
        often = "always" if self.times is None else f"{self.times}x"
        return "-".join([self.row, self.fault, often, *(f"{value}" for name, value in self.options if name != "body")])

    def can_be_played_by(self, name: str) -> bool:
        """Whether the vendor's documents give a way to play it."""
        if self.on and name not in dict(self.on):
            return False
        return self.fault in KINDS[name] and self.delivery in (None, *deliveries(name))


KINDS = {name: set(emulator().faults.kinds) for name, emulator in EMULATORS.items()}
"""What can be played to each vendor."""


def deliveries(name: str) -> tuple[str, ...]:
    """What a vendor's option `delivery` may be, if it has one."""
    return next((each.choices for each in capabilities(name).options if each.name == "delivery"), ())


MISBEHAVED = ("vendor-misbehaved",)
LOST = ("vendor-ambiguous", "vendor-unavailable", "vendor-misbehaved", "deadline-exceeded")
"""What a vendor that never answers whole may be called; which of them depends on where it was cut."""

RETRY_AFTER = ("3", "soon", "999999", "-5", "Wed, 21 Oct 2015 07:28:00 GMT")

GONE = ("vendor-gone", "vendor-rejected", "vendor-unavailable", "vendor-misbehaved", "vendor-job-expired")
REFUSED = ("vendor-rejected", "vendor-misconfigured")
NEVER_ENDS = ("deadline-exceeded", "vendor-misbehaved")
RESULTS = (("creatify", "/results/"), ("playht", "/pigeon/"))
"""Where the vendors with jobs hand out their files."""

TOO_LONG: dict[str, Any] = {**dict.fromkeys(("ERROR", "detail", "error", "error_message", "message"), "Text too long")}
TOO_LONG |= {"code": "invalid_param", "script": ["Text too long"]}
"""In the words of every vendor at once: each reads its own field."""

SLOW = frozenset(
    {"bomb", "gzip", "hang", "socket-error", "stall", "drip", "endless", "false-length", "cut", "lost", "reset"}
)
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
    *(Case("c8", fault, None, MISBEHAVED) for fault in ("empty", "no-content", "json", "text", "null")),
    Case("c20", "html", None, (*MISBEHAVED, "vendor-gone")),
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
    Case("c10", "placeholder-sizes", None),
    Case("c10", "twice", None, MISBEHAVED, either=True),
    Case("c11", "endless", None, LOST),
    Case("c2", "lost", None, LOST, found=True),
    Case("c4", "unavailable", None, ("vendor-unavailable", "vendor-ambiguous", "deadline-exceeded")),
    Case("c5", "forbidden", None, ("vendor-unauthorized",), calls=0),
    Case("c6", "app-unavailable", None, REFUSED, calls=1),
    Case("c6", "not-initialized", None, REFUSED, calls=1),
    Case("c6", "model-not-supported", None, REFUSED, calls=1),
    Case("c6", "request-error", None, (*REFUSED, "vendor-unavailable")),
    Case("c6", "request-error", 1),
    Case("c6", "plan-quota", None, ("vendor-quota-exhausted",), calls=0),
    Case("c6", "unknown-error", None, ("vendor-unavailable", "vendor-rejected")),
    # Whole, audible and long enough: from outside nobody can tell for sure that it is not the text.
    Case("c14", "noise", None, MISBEHAVED, either=True),
    Case("c10", "short", None, MISBEHAVED, either=True),
    Case("c15", "socket-cut", None, LOST, delivery="websocket"),
    Case("c15", "socket-cut", 1, delivery="websocket"),
    Case("c15", "socket-close", None, LOST, options=(("billed", True),), delivery="websocket"),
    Case("c15", "socket-close", 1, options=(("billed", True),), delivery="websocket"),
    Case("c15", "socket-error", None, LOST, delivery="websocket"),
    Case("c15", "socket-error", 1, delivery="websocket"),
    Case("c15", "socket-without-last", None, LOST, delivery="websocket"),
    Case("c15", "socket-without-last", 1, delivery="websocket"),
    Case("c15", "socket-bad-base64", None, LOST, delivery="websocket"),
    Case("c15", "socket-bad-base64", 1, delivery="websocket"),
    Case("c15", "socket-last-with-audio", None, delivery="websocket", calls=1),
    Case("c16", "events-cut", None, delivery="events", calls=1),
    Case("c16", "job-failed", None, ("vendor-job-failed",), delivery="events"),
    Case("c16", "job-forgotten", None, delivery="events", calls=1),
    Case("c17", "job-failed", None, ("vendor-job-failed",)),
    Case("c17", "job-stuck", None, NEVER_ENDS, calls=1),
    Case("c17", "job-unknown-status", None, NEVER_ENDS, calls=1, options=(("reason", "pondering"),)),
    Case("c17", "job-without-address", None, NEVER_ENDS, calls=1),
    Case("c17", "job-forgotten", None, GONE),
    Case("c18", "job-without-id", 1),
    Case("c18", "server-error", 1, options=(("billed", True),)),
    Case("c18", "voice-missing", None, ("vendor-rejected",), calls=1),
    *(Case("c19", "status", 1, options=(("status", status),), on=RESULTS) for status in (403, 404, 503)),
    Case("c19", "status", None, (*GONE, "vendor-unauthorized", *NEVER_ENDS), options=(("status", 403),), on=RESULTS),
    Case("c19", "redirect", None, (*GONE, *NEVER_ENDS), on=RESULTS),
    Case("c20", "status", None, GONE, options=(("status", 410),)),
    Case("c21", "status", 1, calls=ATTEMPTS * 3, options=(("status", 400), ("body", TOO_LONG))),
    Case("c21", "status", None, ("vendor-text-too-long",), options=(("status", 400), ("body", TOO_LONG))),
    Case("c22", "rejected", None, ("vendor-rejected",), calls=1),
    Case("c22", "rejected", None, ("vendor-rejected",), calls=1, options=(("billed", True),)),
    Case("c22", "server-error", None, LOST, options=(("billed", True),), found=True),
    Case("c23", "not-found", None, GONE),
    Case("c23", "not-acceptable", None, GONE),
)


EVERY = [(name, case) for name in VENDORS for case in CASES if case.can_be_played_by(name)]


@pytest.fixture(params=VENDORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def emulator(name: str) -> Iterator[Emulator]:
    with EMULATORS[name](**EMULATORS[name].in_tests) as running:
        yield running


def speak(
    name: str,
    emulator: Emulator,
    *,
    delivery: str | None = None,
    deadline_seconds: int = DEADLINE_SECONDS,
    call_seconds: float = 8,
) -> World:
    """Run one job to its end, sweeps included."""
    settings = Settings(
        base_urls={name: emulator.url},
        callback_base_url="https://speech.example",
        lease_seconds=120,
        segment_attempts=ATTEMPTS,
    )
    client = VendorClient(name, emulator.url, local=True, deadline_seconds=call_seconds, max_audio=1 << 22)
    keys = dict.fromkeys(keys_of(name), "vk_right")
    world = World(settings=settings, adapter=lambda: vendor_class(name)(client, keys))
    now = world.clock.now()
    world.a_synthesizing_job(
        TEXT,
        spec=a_spec(
            vendor=name,
            voice=EMULATORS[name].default_voice,
            vendor_options={"delivery": delivery} if delivery else {},
        ),
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


def attempts(world: World) -> list[Attempt]:
    job = world.job()
    return [attempt for row in world.store.segments(job.tenant, job.id) for attempt in row.attempts]


def flagged(world: World) -> int:
    """Attempts of which the record says that they may have been billed in vain."""
    return sum(attempt.outcome is Outcome.AMBIGUOUS for attempt in attempts(world))


def problem_of(job: Job) -> str | None:
    return (job.problem or {}).get("code")


@pytest.mark.parametrize(("name", "case"), EVERY, ids=str)
def test_the_job_ends_as_it_should(name: str, emulator: Emulator, case: Case) -> None:
    """C1 to C22: the row is the first word of a case."""
    route = {"route": dict(case.on)[name]} if name in dict(case.on) else {}
    emulator.faults.play(case.fault, times=case.times, **dict(case.options), **route)

    if case.fault in SLOW:
        seconds = 0.5 if case.times is None else 2
        world = speak(name, emulator, delivery=case.delivery, deadline_seconds=600, call_seconds=seconds)
    elif case.ends == NEVER_ENDS:
        world = speak(name, emulator, delivery=case.delivery, deadline_seconds=600)
    else:
        world = speak(name, emulator, delivery=case.delivery)

    job = world.job()
    assert job.is_terminal
    assert is_settled(world)
    completes = not case.ends or (case.found and Delivery.CALLBACK in capabilities(name).delivery)
    if case.either:
        completes = job.status is JobStatus.COMPLETED
    if not completes:
        assert job.status is JobStatus.FAILED
        assert problem_of(job) in case.ends
    else:
        assert job.status is JobStatus.COMPLETED, job.problem
        assert f"jobs/{job.id}.mp3" in world.results.objects
    assert job.cost is not None
    assert job.cost.vendor_calls <= case.calls
    assert bought(emulator) <= job.cost.vendor_calls
    if dict(case.options).get("billed"):
        return  # refused and charged all the same: no answer tells, so the attempt in the record is all there is
    # Settled, or still under way at the vendor when the deadline came: known purchases. The rest is flagged.
    known = sum(attempt.outcome in (Outcome.SETTLED, None) for attempt in attempts(world))
    assert bought(emulator) <= known + flagged(world)


def test_no_fault_that_an_emulator_can_play_is_left_out(name: str) -> None:
    assert KINDS[name] == {case.fault for case in CASES if case.can_be_played_by(name)}


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
