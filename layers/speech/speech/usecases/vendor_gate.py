"""Let a segment through to its vendor, or have it wait: here all workers of a vendor ask and tell how it fares."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from speech import health as arrows
from speech import problems
from speech.egress import EgressRefused
from speech.errors import (
    StaleWrite,
    StoreUnavailable,
    VendorAmbiguous,
    VendorError,
    VendorGone,
    VendorQuotaExhausted,
    VendorRetired,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.health import Caller, Ending, Health
from speech.jobs import Job, Spec
from speech.observability import count, logger
from speech.policy import require_in_service
from speech.ports import Clock, JobStore, Policies
from speech.segments import Outcome, Segment
from speech.settings import Settings
from speech.usecases.settle_segment import SettleSegment
from speech.usecases.vendor_source import VendorSource

TRIES = 5
"""How often to begin again when another worker wrote the vendor's row first."""

_WHY: dict[str, type[VendorError]] = {
    each.code: each for each in (VendorQuotaExhausted, VendorUnauthorized, VendorGone, VendorThrottled)
}

Answer = TypeVar("Answer")
Arrow = Callable[[Health], Health | None]


class Passage(NamedTuple):
    """Leave to make one call. `health` is the vendor's row as it was when leave was given."""

    caller: Caller
    health: Health


@dataclass(frozen=True, slots=True)
class VendorGate:
    store: JobStore
    policies: Policies
    clock: Clock
    settings: Settings
    vendors: VendorSource
    settle: SettleSegment
    rng: Callable[[], float] = random.random

    def enter(
        self, job: Job, spec: Spec, segment: Segment, health: Health, *, follows: Callable[[], bool]
    ) -> Passage | None:
        """Leave to call, or None: then it is written down that the segment waits, or that it failed.

        `follows` is asked before a turn is taken or promised: whether nobody is to call, since that is seen to.
        """
        policy = self.policies.policy()
        now = self.clock.now()
        try:
            require_in_service(policy, self.settings, spec.vendor, spec.voice, spec.vendor_options, now)
        except VendorRetired as error:
            self.settle.not_called(job, segment, error)
            return None
        if health.vendor != spec.vendor:
            health = self.store.health(spec.vendor)  # the message did not say, or the job has changed its vendor
        caller = Caller(f"{job.id}/{segment.index}", segment.characters, segment.promised_at)
        limits = policy.limits_of(spec.vendor)
        lease_ms = int(self.settings.lease_seconds * 1000)
        was_asked = False
        for _ in range(TRIES):
            said = arrows.turn(health, limits, caller, now=now, lease_ms=lease_ms)
            if not (was_asked or health.is_open or said.is_free):
                was_asked = True
                if follows():
                    return None
            try:
                if said.health is not None:
                    self.store.save_health(health := said.health)
            except StaleWrite:
                health = self.store.health(spec.vendor)
                continue
            if said.is_trial:
                return self._on_trial(job, segment, Passage(caller, health))
            if said.wait_until is None:
                return Passage(caller, health)
            self._wait(job, segment, health, said)
            return None
        self._wait(job, segment, health, arrows.Turn(wait_until=now + arrows.BUSY_MS, spread=arrows.BUSY_MS))
        return None

    def call(self, passage: Passage, call: Callable[[], Answer]) -> Answer:
        """Make the call that leave was given for, and tell what it taught."""
        began = self.clock.now()
        try:
            answer = call()
        except (VendorError, EgressRefused) as error:
            health = self._told(passage, error, began)
            if isinstance(error, VendorThrottled):
                # Not before the gate opens, and not all at once.
                now = self.clock.now()
                spread = self.rng() * max(arrows.learned_spacing(health, now), arrows.AT_ONCE_MS)
                error.retry_after = (max(health.closed_until - now, 0) + spread) / 1000
            raise
        took_ms = self.clock.now() - began
        self._tell(passage, lambda health: self._ended(health, passage, Ending.ANSWERED, took_ms=took_ms))
        return answer

    def refused_a_check(self, job: Job, segment: Segment, error: VendorThrottled) -> None:
        """A question about a job met the vendor's limit: whoever wants to make one must know of it, too."""
        health = self.store.health(error.vendor)
        passage = Passage(Caller(f"{job.id}/{segment.index}/check", segment.characters), health)
        self._told(passage, error, self.clock.now())

    def give_back(self, passage: Passage) -> None:
        """No call is made after all."""
        self._tell(passage, lambda health: arrows.given_back(health, passage.caller))

    def _on_trial(self, job: Job, segment: Segment, passage: Passage) -> Passage | None:
        """Ask the vendor something that costs nothing; if it answers, a call that surely buys nothing again."""
        health, vendor = passage.health, passage.health.vendor
        count("VendorsOnTrial")
        try:
            # Whoever mended a key or an account must not wait for a cache.
            fresh = health.reason in (VendorUnauthorized.code, VendorQuotaExhausted.code)
            self.vendors(vendor, fresh_keys=fresh).probe()
        except (VendorError, EgressRefused) as error:
            health = self._told(passage, error, self.clock.now(), surely=True)
            said = arrows.Turn(wait_until=health.retry_at or health.closed_until, spread=arrows.BUSY_MS)
            self._wait(job, segment, health, said)
            return None
        if all(attempt.outcome is Outcome.RELEASED for attempt in segment.attempts):
            return passage
        health = self._tell(passage, lambda each: arrows.probed(each, passage.caller, now=self.clock.now()))
        if not health.is_open:
            return Passage(passage.caller, health)
        self._wait(job, segment, health, arrows.Turn(wait_until=health.retry_at, spread=arrows.BUSY_MS))
        return None

    def _wait(self, job: Job, segment: Segment, health: Health, said: arrows.Turn) -> None:
        if health.is_gone or (health.is_out_for_long and self.settle.change.is_allowed(job, segment)):
            self.settle.not_called(job, segment, _why(health))
            return
        now = self.clock.now()
        wait = max((said.wait_until or now) - now, 0) + self.rng() * said.spread
        is_out = health.is_open or now < health.closed_until
        problem = problems.problem_from(_why(health), job_id=job.id) if is_out else None
        count("SegmentsHeld")
        self.settle.wait_for_turn(job, segment, wait / 1000, is_promised=said.is_promised, problem=problem)

    def _told(
        self, passage: Passage, error: VendorError | EgressRefused, began: int, *, surely: bool = False
    ) -> Health:
        """Tell what a failure taught. `surely`: of a question that costs nothing, any failure counts."""
        ending = _ending(error)
        if surely and ending is Ending.ANSWERED:
            ending = Ending.UNCLEAR
        return self._tell(
            passage,
            lambda health: self._ended(
                health,
                passage,
                ending,
                took_ms=self.clock.now() - began,
                reason=error.code if ending is Ending.OUT or isinstance(error, VendorGone) else None,
                retry_after=getattr(error, "retry_after", None),
                was_unsent=getattr(error, "vendor_status", None) is None and not isinstance(error, VendorAmbiguous),
            ),
        )

    def _ended(
        self,
        health: Health,
        passage: Passage,
        ending: Ending,
        *,
        took_ms: int,
        reason: str | None = None,
        retry_after: float | None = None,
        was_unsent: bool = False,
    ) -> Health | None:
        return arrows.ended(
            health,
            passage.caller,
            ending,
            now=self.clock.now(),
            took_ms=took_ms,
            reason=reason or VendorUnavailable.code,
            retry_after=retry_after,
            was_unsent=was_unsent,
            jitter=self.rng(),
        )

    def _tell(self, passage: Passage, arrow: Arrow) -> Health:
        """Write what is now known of the vendor. What the call itself came to must not hang on it."""
        health = passage.health
        try:
            for _ in range(TRIES):
                changed = arrow(health)
                if changed is None:
                    return health
                try:
                    self.store.save_health(changed)
                except StaleWrite:
                    health = self.store.health(health.vendor)
                else:
                    _report(health, changed)
                    return changed
        except StoreUnavailable:
            pass
        count("HealthNotWritten")
        return health


def _report(before: Health, after: Health) -> None:
    """What an operator wants to hear of."""
    facts = {"vendor": after.vendor, "reason": after.reason or before.reason}
    if after.is_open and not before.is_open:
        count("VendorsOut")
        logger.error("vendor out", extra=facts)
    elif before.is_open and not after.is_open:
        count("VendorsBack")
        logger.info("vendor back", extra=facts)


def _ending(error: VendorError | EgressRefused) -> Ending:
    """What a failure says about the vendor, whatever it says about the text."""
    if isinstance(error, VendorThrottled):
        return Ending.THROTTLED
    if isinstance(error, VendorQuotaExhausted | VendorUnauthorized):
        return Ending.OUT
    if isinstance(error, VendorGone):
        return Ending.OUT if error.is_free else Ending.FAILED
    if isinstance(error, EgressRefused):
        return Ending.UNCLEAR
    if isinstance(error, VendorUnavailable):
        status = error.vendor_status
        # Some say with a 4xx that it may pass: that is about the text, or about somebody behind the vendor.
        return Ending.FAILED if status is None or status >= 500 or status < 400 else Ending.ANSWERED
    return Ending.ANSWERED  # also without usable audio: somebody is there


def _why(health: Health) -> VendorError:
    """The problem of a segment that waits for its vendor."""
    if not health.is_open:
        return VendorThrottled("The vendor asks us to slow down; the segment waits.", vendor=health.vendor)
    kind = _WHY.get(health.reason or "", VendorUnavailable)
    return kind(f"{kind.title}; it is not called until it answers again.", vendor=health.vendor)
