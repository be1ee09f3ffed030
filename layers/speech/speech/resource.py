"""The job as clients see it: the same keys always, null where something is not known yet."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from speech.jobs import Cost, Job, JobStatus, Progress


class Links(NamedTuple):
    """Download links, made for one answer and kept nowhere."""

    audio: str
    vtt: str
    srt: str
    chapters: str | None = None


def job_resource(
    job: Job, progress: Progress, links: Links | None = None, *, seconds_left: int | None = None
) -> dict[str, Any]:
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
        "estimate": {"seconds_left": seconds_left} if seconds_left is not None else None,
        "rendered": _rendered(job),
        "preview": _preview(job),
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
        "chapters": links.chapters if links else None,
        "problem": job.problem,
        "cost": cost_resource(cost),
        "request_id": job.request_id,
        "retry_of": job.retry_of,
        "metadata": dict(job.metadata),
        "created_at": timestamp(job.created_at),
        "updated_at": timestamp(job.updated_at),
    }


def rendered_in_words(job: Job) -> str | None:
    """What a completed job had to buy: `3 of 412 segments, $0.02`."""
    if job.rendered is None:
        return None
    cost = job.cost or Cost()
    if cost.amount is not None:
        price = in_dollars(cost.amount)
    else:
        price = "price unknown" if cost.vendor_calls else "nothing bought"
    return f"{job.rendered} of {job.segments_total} segments, {price}"


def in_dollars(amount: float) -> str:
    """To the cent; what is less than one, but not nothing, to a millionth."""
    return f"${amount:.2f}" if amount >= 0.01 or not amount else f"${amount:.6f}".rstrip("0")


def _preview(job: Job) -> dict[str, Any] | None:
    """Of what this is only the opening."""
    preview = job.preview
    if preview is None:
        return None
    whole = {"segments": preview.segments, "characters": preview.characters}
    return {"seconds": preview.seconds, "of": whole}


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


def _rendered(job: Job) -> dict[str, Any] | None:
    if job.rendered is None:
        return None
    return {"segments": job.rendered, "of": job.segments_total, "summary": rendered_in_words(job)}


def _segments(job: Job, progress: Progress) -> dict[str, int | None]:
    total = job.segments_total
    if job.status is JobStatus.COMPLETED:
        # The counters are a hint; that every segment is stored is what `completed` means.
        return {"total": total, "stored": total, "failed": 0}
    return {"total": total, "stored": min(progress.stored, total or 0), "failed": min(progress.failed, total or 0)}
