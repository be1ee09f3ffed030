"""The job as clients see it: the same keys always, null where something is not known yet."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from speech.jobs import Cost, Job, JobStatus, Progress


@dataclass(frozen=True, slots=True)
class Links:
    """Download links, made for one answer and kept nowhere."""

    audio: str
    vtt: str
    srt: str


def job_resource(job: Job, progress: Progress, links: Links | None = None) -> dict[str, Any]:
    """The job resource of the API. Without links (manifest, events) the addresses are null."""
    spec, result = job.spec, job.result
    cost = job.cost or Cost(vendor_calls=progress.calls)
    return {
        "id": job.id,
        "status": job.status.value,
        "vendor": spec.vendor if spec else None,
        "voice": spec.voice if spec else None,
        "language": spec.language if spec else None,
        "format": spec.format if spec else None,
        "characters": job.characters,
        "segments": _segments(job, progress),
        "source": {
            "type": job.source.type,
            "bucket": job.source.bucket,
            "key": job.source.key,
            "version_id": job.source.version_id,
        },
        "audio": {
            "url": links.audio if links else None,
            "format": result.format,
            "bytes": result.bytes,
            "duration_seconds": result.duration_seconds,
            "sha256": result.sha256,
        }
        if result
        else None,
        "subtitles": {"vtt": links.vtt, "srt": links.srt} if links else None,
        "problem": job.problem,
        "cost": cost_resource(cost),
        "request_id": job.request_id,
        "retry_of": job.retry_of,
        "metadata": dict(job.metadata),
        "created_at": timestamp(job.created_at),
        "updated_at": timestamp(job.updated_at),
    }


def cost_resource(cost: Cost) -> dict[str, Any]:
    return {
        "currency": cost.currency,
        "amount": cost.amount,
        "credits": cost.credits,
        "vendor_calls": cost.vendor_calls,
    }


def timestamp(milliseconds: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def _segments(job: Job, progress: Progress) -> dict[str, int | None]:
    total = job.segments_total
    if job.status is JobStatus.COMPLETED:
        # The counters are a hint; that every segment is stored is what `completed` means.
        return {"total": total, "stored": total, "failed": 0}
    return {"total": total, "stored": min(progress.stored, total or 0), "failed": min(progress.failed, total or 0)}
