"""Ask a vendor to speak one segment. Called for every message on a synthesis queue."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from speech import problems, segments
from speech.callbacks import callback_url
from speech.egress import EgressRefused
from speech.errors import (
    InputGone,
    StaleWrite,
    UnusableAudio,
    VendorAmbiguous,
    VendorError,
    VendorTextTooLong,
    VendorUnauthorized,
)
from speech.health import Health
from speech.jobs import Job, JobStatus, Spec
from speech.messages import StartSegment
from speech.observability import count, logger
from speech.ports import Clock, JobStore, Keys, SegmentStore, TextStore
from speech.segments import Segment, SegmentStatus
from speech.settings import Settings
from speech.usecases.plan_segments import speller
from speech.usecases.settle_segment import SettleSegment
from speech.usecases.single_flight import SingleFlight
from speech.usecases.vendor_gate import Passage, VendorGate
from speech.usecases.vendor_source import VendorSource
from speech.vendors.base import AudioReady, Delivery, StillWorking, SynthesisRequest, Vendor

RECONCILE_AFTER_SECONDS = 5.0
"""How long to give a vendor to list a job whose create answer was lost."""

Answer = AudioReady | StillWorking | VendorError | EgressRefused
"""What a call came to."""


def callback_address(key: bytes, settings: Settings, job: Job, segment: Segment, attempt: int) -> str:
    """Where the vendor of this attempt reports to. Under one key the same attempt always has the same address."""
    return callback_url(
        settings.callback_base_url,
        key=key,
        vendor=job.spec.vendor if job.spec else "",
        job_id=job.id,
        segment=segment.index,
        attempt=attempt,
        expires_at=job.deadline_at // 1000 + 86_400,
    )


def synthesis_request(spec: Spec, text: str) -> SynthesisRequest:
    return SynthesisRequest(
        text=text, voice=spec.voice, language=spec.language, speed=spec.speed, options=spec.vendor_options
    )


@dataclass(frozen=True, slots=True)
class StartSegmentUseCase:
    store: JobStore
    texts: TextStore
    audio: SegmentStore
    keys: Keys
    clock: Clock
    settings: Settings
    vendors: VendorSource
    settle: SettleSegment
    gate: VendorGate
    flight: SingleFlight

    def __call__(self, message: StartSegment) -> None:
        job, segment, health = self.store.job_segment_and_health(
            message.tenant, message.job_id, message.segment, message.vendor
        )
        if job is None or segment is None or job.spec is None:
            count("OrphanMessages")
            return
        now = self.clock.now()
        if job.status is not JobStatus.SYNTHESIZING or segment.status is not SegmentStatus.PENDING:
            return
        if segment.take != job.take or job.held is not None:
            return  # its narrator has given up
        if now >= job.deadline_at or now < (segment.not_before or 0):
            return  # the sweep ends it, or a later message is on its way
        try:
            self._start(job, job.spec, segment, health)
        except StaleWrite:
            # Another delivery of this message was faster, or took over; the row is its to move.
            logger.info("segment already taken", extra={"job_id": job.id, "segment": segment.index})

    def _start(self, job: Job, spec: Spec, segment: Segment, health: Health) -> None:
        now = self.clock.now()
        known = self.audio.find_audio(segment.audio_key)
        if known is not None:
            stored = segments.store(segment, known, now=now)
            self.settle.finish.store_segment(job, segment, stored)
            count("SegmentsReused")
            return
        try:
            written = self.texts.read_text(job.tenant, job.text_id, segment.start, segment.end).decode()
        except InputGone as error:
            self.settle.finish.fail_with(job, error)
            return
        text = speller(spec)(written)
        vendor = self.vendors(spec.vendor)
        callbacks = Delivery.CALLBACK in vendor.capabilities.delivery
        attempt = segment.calls + 1
        # Whatever can fail on our side fails before the attempt is written down: it would look like a lost call.
        address = callback_address(self.keys.signing_key(), self.settings, job, segment, attempt) if callbacks else None
        passage = self.gate.enter(job, spec, segment, health, follows=lambda: self.flight.follows(job, segment))
        if passage is None:
            return
        lease_ms = int(self.settings.lease_seconds * 1000)
        calling = segments.claim(segment, now=self.clock.now(), lease_ms=lease_ms, vendor=spec.vendor)
        if not self._claimed(job, segment, calling, passage):
            return
        if self.clock.now() >= (calling.lease_until or 0):
            raise StaleWrite("This worker stood still until its lease had ended: the call is somebody else's to make.")
        call = partial(self._call, vendor, spec, text, address)
        answer = self._answer(passage, call)
        if isinstance(answer, AudioReady | StillWorking):
            count("CharactersSent", calling.characters)
        try:
            self._put_down(job, calling, written, answer, can_be_asked=callbacks)
        except StaleWrite:
            failed = answer if isinstance(answer, VendorError | EgressRefused) else None
            still_open = self.settle.came_late(job, calling, failed)
            if still_open is None:
                raise
            self._put_down(job, still_open, written, answer, can_be_asked=callbacks)

    def _answer(self, passage: Passage, call: Callable[[], AudioReady | StillWorking]) -> Answer:
        try:
            return self.gate.call(passage, call)
        except (VendorError, EgressRefused) as error:
            return error

    def _put_down(self, job: Job, calling: Segment, written: str, answer: Answer, *, can_be_asked: bool) -> None:
        """What the call came to, in the row that says that it was made. Raises StaleWrite when that row has moved."""
        if isinstance(answer, VendorTextTooLong):
            self.settle.too_long(job, calling, written, answer)
        elif isinstance(answer, VendorAmbiguous) and can_be_asked:
            problem = problems.problem_from(answer, job_id=job.id)
            self.settle.unknown_outcome(calling, problem, delay=RECONCILE_AFTER_SECONDS)
        elif isinstance(answer, VendorError | EgressRefused):
            self.settle.call_failed(job, calling, answer)
        elif isinstance(answer, AudioReady):
            try:
                self.settle.audio_ready(job, calling, answer)
            except UnusableAudio as error:
                self.settle.call_failed(job, calling, error)
        else:
            self.settle.still_working(calling, answer)

    def _claimed(self, job: Job, segment: Segment, calling: Segment, passage: Passage) -> bool:
        """Whether this worker is the one to call; if not, its leave to do so goes back to the gate."""
        try:
            is_ours = self.flight.claim(job, segment, calling)
        except StaleWrite:
            self.gate.give_back(passage)
            raise
        if not is_ours:
            self.gate.give_back(passage)
        return is_ours

    def _call(self, vendor: Vendor, spec: Spec, text: str, address: str | None) -> AudioReady | StillWorking:
        """One call; a refused key is read anew once, because it may just have been rotated."""
        request = synthesis_request(spec, text)
        try:
            return vendor.start(request, callback_url=address)
        except VendorUnauthorized:
            return self.vendors(spec.vendor, fresh_keys=True).start(request, callback_url=address)
