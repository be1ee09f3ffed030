"""Let one segment at a time buy an audio that several want: the others wait for it, or take over when it is lost."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from speech import problems, segments
from speech.errors import CorruptRow
from speech.jobs import Job
from speech.observability import count, logger
from speech.ports import Clock, JobStore, SegmentStore
from speech.segments import Claim, Segment, SegmentStatus
from speech.usecases.settle_segment import SettleSegment

TRIES = 3
"""How often to try again when others take over, or are lost, at the same moment."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 16.0
"""How soon whoever waits for another's purchase looks again: then after twice as long, four times in a row."""

SLOWER = 4.0
"""How many times as long where the vendor works at it for minutes."""


@dataclass(frozen=True, slots=True)
class SingleFlight:
    store: JobStore
    audio: SegmentStore
    clock: Clock
    settle: SettleSegment
    rng: Callable[[], float] = random.random

    def follows(self, job: Job, segment: Segment) -> bool:
        """Whether somebody else makes the call, or has made it; what becomes of the segment is then written down.

        Who has to wait anyway asks this before it takes a turn at a vendor's gate that somebody else could use.
        Raises StaleWrite when the segment has moved.
        """
        rival = self.store.claim_on(segment)
        owner = self._owner(rival, segment) if rival is not None else None
        return owner is not None and self._followed(job, segment, owner)

    def claim(self, job: Job, segment: Segment, calling: Segment) -> bool:
        """Write down the call that is about to be made: pending → calling, and that nobody else is to make it.

        False: it is not to be made, and what becomes of the segment is written down instead: it has the audio that
        somebody else bought, or it waits for it. Raises StaleWrite when the segment has moved.
        """
        over: Claim | None = None
        for _ in range(TRIES):
            rival = self.store.claim_audio(calling, until=job.deadline_at, over=over)
            if rival is None:
                if over is not None:
                    count("PurchasesTakenOver")
                    logger.info("purchase taken over", extra={"job_id": job.id, "segment": segment.index})
                return True
            if not rival.job_id:
                break
            owner = self._owner(rival, segment)
            if owner is not None and self._followed(job, segment, owner):
                return False
            over = rival
        self._wait(job, segment)
        return False

    def _followed(self, job: Job, segment: Segment, owner: Segment) -> bool:
        """Take what the owner has bought, or wait for it. False: it bought something that is there no longer."""
        if owner.status is not SegmentStatus.STORED:
            # Should the job be out of time meanwhile: it is waiting for whatever its owner is waiting for.
            problem = {**owner.problem, "job_id": job.id} if owner.problem else None
            self._wait(job, segment, slower=SLOWER if owner.status is SegmentStatus.WAITING else 1.0, problem=problem)
            return True
        known = self.audio.find_audio(segment.audio_key)
        if known is None:
            return False
        self.settle.finish.store_segment(job, segment, segments.store(segment, known, now=self.clock.now()))
        count("SegmentsReused")
        return True

    def _wait(self, job: Job, segment: Segment, slower: float = 1.0, problem: problems.Problem | None = None) -> None:
        wait = min(FIRST_WAIT_SECONDS * 2.0**segment.hops, LONGEST_WAIT_SECONDS) * slower + self.rng()
        count("SegmentsFollowing")
        self.settle.wait_for_turn(job, segment, wait, is_promised=False, problem=problem)

    def _owner(self, claim: Claim, segment: Segment) -> Segment | None:
        """The segment that buys this audio, or has bought it; None when it never will."""
        try:
            job, owner = self.store.job_and_segment(segment.tenant, claim.job_id, claim.segment)
        except CorruptRow:
            return None  # its job fails of it
        if owner is None or owner.audio_key != segment.audio_key or owner.status is SegmentStatus.FAILED:
            return None
        if owner.status is SegmentStatus.STORED:
            return owner
        if owner.status is SegmentStatus.CALLING and (owner.lease_until or 0) > self.clock.now():
            return owner  # whatever became of its job: the call brings the audio, or its lease ends
        if job is None or job.is_terminal or owner.take != job.take:
            return None  # nobody calls for it or asks for it any more
        if owner.status is SegmentStatus.PENDING and (job.held is not None or owner.due_at is None):
            return None
        return owner
