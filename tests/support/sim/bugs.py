"""Mistakes that would be easy to make, planted into the product: a simulation that is worth anything finds them."""

import hmac
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_plus

import pytest

from speech import callbacks, intake, jobs, segments
from speech.aws import dynamo, s3
from speech.errors import StaleWrite
from speech.jobs import JobStatus
from speech.observability import logger
from speech.usecases import (
    assemble_audio,
    check_segment,
    deliver_event,
    finish_job,
    ingest_message,
    post_job,
    settle_segment,
    single_flight,
    sweep,
)
from speech.usecases.accept_job import Arrival
from speech.vendors import creatify, http

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]

BUGS: dict[str, "Bug"] = {}


@dataclass(frozen=True, slots=True)
class Bug:
    """`where` says what a world needs so that the bug can show."""

    plant: Plant
    where: Mapping[str, Any]


def _bug(**where: Any) -> Callable[[Plant], Plant]:
    def add(plant: Plant) -> Plant:
        BUGS[plant.__name__] = Bug(plant, where)
        return plant

    return add


@_bug(messages=0.5)
def no_condition_on_writes(patch: Patch) -> None:
    patch.setattr(dynamo, "_follows", lambda rev: {})


@_bug(messages=0.8, vendor="voiceai", slow=0.3, sentences=5)
def two_may_claim(patch: Patch) -> None:
    real = dynamo.DynamoJobStore.claim_audio

    def claim(self: Any, segment: Any, **facts: Any) -> Any:
        try:
            return real(self, segment, **facts)
        except StaleWrite:
            return None

    patch.setattr(dynamo.DynamoJobStore, "claim_audio", claim)


@_bug(vendor="voiceai", repeats=True, sentences=1, together=True)
def nobody_looks_who_else_is_buying(patch: Patch) -> None:
    patch.setattr(dynamo.DynamoJobStore, "claim_audio", lambda self, segment, **_: self.save_segment(segment))


@_bug(vendor="voiceai", repeats=True, sentences=1, together=True)
def whoever_buys_is_taken_for_dead(patch: Patch) -> None:
    patch.setattr(single_flight.SingleFlight, "_owner", lambda self, claim, segment: None)


@_bug()
def completed_before_the_object(patch: Patch) -> None:
    held: list[Callable[[], Any]] = []
    put, complete = s3.S3ResultStore.put_file, finish_job.FinishJob.complete

    def later(self: Any, key: str, path: Any, **facts: Any) -> str | None:
        copy = path.with_suffix(".kept")
        data = path.read_bytes()

        def write() -> None:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
            put(self, key, copy, **facts)

        held.append(write)
        return None

    def first(self: Any, job: Any) -> None:
        complete(self, job)
        while held:
            held.pop()()

    patch.setattr(s3.S3ResultStore, "put_file", later)
    patch.setattr(finish_job.FinishJob, "complete", first)


@_bug(messages=0.5)
def no_sweep(patch: Patch) -> None:
    patch.setattr(sweep.Sweep, "__call__", lambda self: 0)


@_bug(messages=0.5)
def a_message_is_known_by_its_delivery(patch: Patch) -> None:
    real = ingest_message._arrival

    def arrival(value: object, message_id: str) -> Any:
        return real(value, message_id)._replace(identity=(uuid.uuid4().hex,))

    patch.setattr(ingest_message, "_arrival", arrival)


@_bug()
def keys_are_decoded_twice(patch: Patch) -> None:
    patch.setattr(intake, "unquote_plus", lambda key: unquote_plus(unquote_plus(key)))


@_bug(vendor="creatify", switches={"webhooks": "forged"})
def a_callback_is_believed(patch: Patch) -> None:
    said = threading.local()
    call, check = check_segment.CheckSegmentUseCase.__call__, check_segment.CheckSegmentUseCase._check

    def hear(self: Any, message: Any) -> None:
        said.hint = message.hint
        call(self, message)

    def believe(self: Any, job: Any, spec: Any, segment: Any, **facts: Any) -> None:
        check(self, job, spec, replace(segment, vendor_job_id=said.hint or segment.vendor_job_id), **facts)

    patch.setattr(check_segment.CheckSegmentUseCase, "__call__", hear)
    patch.setattr(check_segment.CheckSegmentUseCase, "_check", believe)


@_bug(vendor="creatify", switches={"webhooks": "every"})
def a_callback_sets_the_segment_back(patch: Patch) -> None:
    real = check_segment.CheckSegmentUseCase._check

    def regress(self: Any, job: Any, spec: Any, segment: Any, *, delayed: bool) -> None:
        if delayed:
            real(self, job, spec, segment, delayed=delayed)
            return
        now = self.clock.now()
        problem = {"code": "regressed", "detail": ""}
        again = segments.retry(
            segment, now=now, not_before=now, due_at=now, outcome=segments.Outcome.RELEASED, problem=problem
        )
        self.store.save_segment(again)
        self.settle.send_start(job, again, delay=0)

    patch.setattr(check_segment.CheckSegmentUseCase, "_check", regress)


@_bug(repeats=True)
def stored_audio_is_not_looked_for(patch: Patch) -> None:
    patch.setattr(s3.S3SegmentStore, "find_audio", lambda self, key: None)


@_bug(errors=0.15)
def what_is_unsure_is_called_again_blindly(patch: Patch) -> None:
    def ambiguous(self: Any, job: Any, segment: Any, problem: Any, *_: Any) -> None:
        self.released(job, segment, problem)

    patch.setattr(settle_segment.SettleSegment, "ambiguous", ambiguous)


@_bug(vendor="creatify", errors=0.15)
def a_lost_job_is_not_looked_for(patch: Patch) -> None:
    patch.setattr(creatify.Creatify, "reconcile", lambda self, callback_urls: None)


@_bug()
def the_end_leaves_no_delivery(patch: Patch) -> None:
    patch.setattr(dynamo.DynamoJobStore, "finish", lambda self, job, delivery, *_: self.save(job))


@_bug()
def an_end_is_written_upon(patch: Patch) -> None:
    real = deliver_event.DeliverEventUseCase._publish_page

    def publish(self: Any, job: Any) -> None:
        real(self, job)
        self.store.save(replace(job, rev=job.rev + 1, updated_at=self.clock.now()))

    patch.setattr(deliver_event.DeliverEventUseCase, "_publish_page", publish)


@_bug(deaths=0.1, sentences=4)
def counters_are_trusted(patch: Patch) -> None:
    def recount(self: Any, job: Any) -> None:
        progress = self.store.progress(job.tenant, job.id)
        rows = self.store.segments(job.tenant, job.id) if progress.stored == job.segments_total else []
        if not self.finish.assemble_when_ready(job, list(rows)):
            self.store.save(jobs.postpone(job, due_at=min(job.deadline_at, self.clock.now() + 60_000)))

    patch.setattr(sweep.Sweep, "_recount", recount)


@_bug(vendor="voiceai", sentences=5, messages=0.7, faults=("rejected",))
def calls_go_on_after_the_end(patch: Patch) -> None:
    real = dynamo.DynamoJobStore.job_segment_and_health

    def read(self: Any, *about: Any) -> Any:
        job, *rest = real(self, *about)
        if job is not None and job.is_terminal:
            job = replace(job, status=JobStatus.SYNTHESIZING)
        return (job, *rest)

    patch.setattr(dynamo.DynamoJobStore, "job_segment_and_health", read)


@_bug()
def the_attempt_is_not_written_before_the_call(patch: Patch) -> None:
    real = segments.claim
    patch.setattr(segments, "claim", lambda segment, **facts: replace(real(segment, **facts), attempts=()))


@_bug()
def text_in_a_log(patch: Patch) -> None:
    real = s3.S3TextStore.read_text

    def read(self: Any, *about: Any) -> bytes:
        data = real(self, *about)
        logger.info("text read", extra={"text": data.decode()})
        return data

    patch.setattr(s3.S3TextStore, "read_text", read)


@_bug()
def results_lie_among_the_drops(patch: Patch) -> None:
    real = s3.S3ResultStore.__init__

    def init(self: Any, client: Any, bucket: str) -> None:
        real(self, client, bucket.replace("audio", "texts", 1))

    patch.setattr(s3.S3ResultStore, "__init__", init)


@_bug(way="api", messages=0.5)
def an_idempotency_key_is_forgotten(patch: Patch) -> None:
    def arrival(**facts: Any) -> Arrival:
        return Arrival(**{**facts, "identity": ()})

    patch.setattr(post_job, "Arrival", arrival)


@_bug(vendors=0.9, webhook=True)
def a_webhook_is_tried_once(patch: Patch) -> None:
    real = http.HttpWebhookSender.send

    def send(self: Any, url: str, **facts: Any) -> int:
        real(self, url, **facts)
        return 200

    patch.setattr(http.HttpWebhookSender, "send", send)


@_bug(sentences=3)
def segments_are_joined_backwards(patch: Patch) -> None:
    def backwards(rows: Any, key: Any) -> list[Any]:
        return sorted(rows, key=key, reverse=True)

    patch.setattr(assemble_audio, "sorted", backwards, raising=False)


@_bug(vendor="creatify", forgeries=6)
def any_token_is_good(patch: Patch) -> None:
    mac = SimpleNamespace(digest=hmac.digest, compare_digest=lambda *_: True)
    patch.setattr(callbacks, "hmac", mac)
