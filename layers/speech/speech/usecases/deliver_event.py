"""Tell the world how a job ended: the error page of a drop, the event bus, the customer's webhook."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from speech.errors import SpeechError, StaleWrite
from speech.jobs import Job, JobStatus, Progress
from speech.messages import DeliverEvent
from speech.observability import count, logger
from speech.ports import Clock, Delivery, EventBus, JobStore, Keys, ResultStore, WebhookSender
from speech.resource import job_resource
from speech.results import error_key, is_latest
from speech.settings import Settings

EVENT_TYPES = {
    JobStatus.COMPLETED: "job.completed",
    JobStatus.FAILED: "job.failed",
    JobStatus.CANCELLED: "job.cancelled",
}

WEBHOOK_SCHEDULE_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits between tries, as Standard Webhooks recommends; after the last one the failure is recorded."""

GONE = 410


def signing_secret(key: bytes, tenant: str) -> bytes:
    """The secret under which a tenant's webhooks are signed (`whsec_` + base64 is what its owner holds)."""
    return hmac.new(key, f"webhooks:{tenant}".encode(), hashlib.sha256).digest()


def webhook_headers(secrets: Iterable[bytes], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks headers: a signature under each secret, which covers id, time and body."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


@dataclass(frozen=True, slots=True)
class DeliverEventUseCase:
    store: JobStore
    results: ResultStore
    bus: EventBus
    webhooks: WebhookSender
    keys: Keys
    clock: Clock
    settings: Settings

    def __call__(self, message: DeliverEvent) -> None:
        job, delivery = self.store.job_and_delivery(message.tenant, message.job_id)
        if delivery is None or job is None or not job.is_terminal or delivery.due_at is None:
            return
        if self.clock.now() < (delivery.not_before or 0):
            return  # a try has failed and the next one is not due yet
        try:
            self._deliver(job, delivery)
        except StaleWrite:
            logger.info("somebody else delivers this", extra={"job_id": job.id})

    def _deliver(self, job: Job, delivery: Delivery) -> None:
        calls_webhook = bool(delivery.webhook) and not delivery.webhook_done
        if calls_webhook:
            # Claimed first: of two workers with the same message, one goes on.
            delivery = self._save(delivery, due_at=self.clock.now() + int(self.settings.lease_seconds * 1000))
        if not delivery.published:
            if job.erased_at is None:
                self._publish_page(job)
            self.bus.publish(_title(job), self._event(job)["data"])
            delivery = self._save(delivery, published=True, due_at=delivery.due_at if calls_webhook else None)
        if calls_webhook:
            self._call_webhook(job, delivery)

    def _publish_page(self, job: Job) -> None:
        """A failed drop gets a page in plain words beside where its audio would be; a success removes it."""
        if job.status is JobStatus.CANCELLED:
            return  # whoever cancelled it knows why there is nothing
        if job.source.type != "upload" or not is_latest(self.store, job):
            return
        key = error_key(job)
        if job.status is JobStatus.FAILED:
            self.results.put_bytes(
                key,
                error_page(job).encode(),
                content_type="text/markdown; charset=utf-8",
                metadata={"job-id": job.id},
            )
        else:
            self.results.delete(key)

    def _call_webhook(self, job: Job, delivery: Delivery) -> None:
        body = json.dumps(self._event(job), separators=(",", ":")).encode()
        headers = webhook_headers(
            # Whoever still has the secret from before the key was replaced finds a signature as well.
            (signing_secret(key, job.tenant) for key in self.keys.signing_keys()),
            message_id=f"{job.id}.{job.status.value}",
            timestamp=self.clock.now() // 1000,
            body=body,
        )
        try:
            status: int | None = self.webhooks.send(delivery.webhook or "", headers=headers, body=body)
            refused = None
        except SpeechError as error:
            status, refused = None, error
        if status is not None and 200 <= status < 300:
            self._save(delivery, webhook_done=True, outcome="delivered", due_at=None)
        elif status == GONE or (refused is not None and not refused.retryable):
            self._save(delivery, webhook_done=True, outcome="refused", due_at=None)
            count("WebhooksRefused")
        elif delivery.attempts >= len(WEBHOOK_SCHEDULE_SECONDS):
            self._save(delivery, webhook_done=True, outcome="exhausted", due_at=None)
            count("WebhooksExhausted")
        else:
            wait = WEBHOOK_SCHEDULE_SECONDS[delivery.attempts]
            logger.info("webhook not taken", extra={"job_id": job.id, "status": status, "again_in_seconds": wait})
            again = self.clock.now() + wait * 1000
            self._save(delivery, attempts=delivery.attempts + 1, not_before=again, due_at=again, sends=0)

    def _event(self, job: Job) -> dict[str, Any]:
        """Ids and facts, no links: whoever is told asks the API for those."""
        total = job.segments_total or 0
        progress = (
            Progress(stored=total)
            if job.status is JobStatus.COMPLETED
            else self.store.progress(job.tenant, job.id, job.take)
        )
        ended = datetime.fromtimestamp(job.updated_at / 1000, UTC).isoformat(timespec="milliseconds")
        return {
            "type": EVENT_TYPES[job.status],
            "timestamp": ended.replace("+00:00", "Z"),
            "data": job_resource(job, progress),
        }

    def _save(self, delivery: Delivery, **changes: Any) -> Delivery:
        saved = replace(delivery, rev=delivery.rev + 1, **changes)
        self.store.save_delivery(saved)
        return saved


def _title(job: Job) -> str:
    return f"Job {job.status.value.capitalize()}"


def error_page(job: Job) -> str:
    """What went wrong with a dropped file, in words for somebody who never reads our code."""
    problem = job.problem or {}
    lines = [f"# {_name(job.source.key or '')} was not turned into audio", ""]
    lines += [f"**What happened.** {problem.get('title')}.", ""]
    if job.preview is not None:
        lines += [f"**What was asked for.** Only a preview: the first {job.preview.seconds} seconds, roughly.", ""]
    if problem.get("detail"):
        lines += [f"**Why.** {_prose(problem['detail'])}", ""]
    for each in problem.get("errors") or ():
        lines.append(f"- {_code(each['field'])}: {_prose(each['message'])}")
    if problem.get("errors"):
        lines.append("")
    calls = job.cost.vendor_calls if job.cost else 0
    lines += [f"**What it cost.** {_cost(calls, job)}", ""]
    lines += [f"**What to do.** {_advice(problem)}", ""]
    lines += ["Your file was not changed.", "", f"Job `{job.id}`, code `{problem.get('code')}`."]
    return "\n".join(lines) + "\n"


def _name(key: str) -> str:
    """A key as it is where nothing in it is markup."""
    return key if re.fullmatch(r"[\w ./,+=@()-]+", key) else _code(key)


def _code(name: str) -> str:
    """A name that somebody made up, as a span of code: nothing in it is markup, and it ends where we end it."""
    shown = _one_line(name)
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown else f"`{shown}`"


def _prose(words: str) -> str:
    """Words of ours that may quote a sender's: neither HTML nor a link comes of them."""
    return _one_line(words).replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(").replace("![", "!\\[")


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _cost(calls: int, job: Job) -> str:
    if not calls:
        return "Nothing: no vendor was called."
    vendor = "the vendor" if job.turns or not job.spec else job.spec.vendor
    spent = f" {job.cost.credits:g} credits were used." if job.cost and job.cost.credits is not None else ""
    if job.cost and job.cost.amount == 0:
        spent += " As far as its answers tell, nothing was charged."
    elif job.cost and job.cost.amount is not None:
        spent += f" That is at most {job.cost.amount:.6f} {job.cost.currency}."
    times = "once" if calls == 1 else f"{calls} times"
    return f"{vendor} was called {times}.{spent} What was spoken is kept and not bought again."


def _advice(problem: dict[str, Any]) -> str:
    code = problem.get("code")
    by_code = {
        "not-text": "Save the file as plain text, UTF-8 if you can choose, and drop it again.",
        "empty-text": "Put some text in the file and drop it again.",
        "text-too-long": "Split the file into smaller ones and drop those.",
        "input-gone": "Drop the file again, and leave it in the bucket until its audio is there.",
        "vendor-quota-exhausted": "Add credit to the vendor account, or choose another vendor, and drop it again.",
        "vendor-rejected": "Change what the vendor objects to, or choose another voice or vendor, and drop it again.",
        "vendor-unauthorized": "Ask your operator to check the vendor's key, then drop the file again.",
        "deadline-exceeded": "Drop the file again. If it happens twice, ask your operator.",
        "processing-failed": "Drop the file again. If it happens twice, tell your operator the name of the job below.",
    }
    if code in by_code:
        return by_code[code]
    if problem.get("errors") or problem.get("status") == 422:
        return "Correct what is named above and drop the file again."
    return "Drop the file again later. If it happens twice, choose another vendor or voice, or ask your operator."
