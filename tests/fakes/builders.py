"""Builders: a whole job, segment, attempt or delivery of which a test names only what matters to it."""

from dataclasses import replace
from typing import Any

from speech.jobs import Cost, Job, Result, Source, Spec
from speech.ports import ApiKeyRecord, Cleanup, Delivery
from speech.segments import Attempt, Segment, SegmentAudio
from speech.settings import TENANT
from tests.fakes.clock import NOW

JOB_ID = "job_01JD0000000000000000000000"


def a_spec(**changes: Any) -> Spec:
    return replace(Spec(vendor="voiceai", voice=None, language="en", format="mp3"), **changes)


def a_job(**changes: Any) -> Job:
    """A one-segment job that was just accepted over the API."""
    job = Job(
        tenant=TENANT,
        id=JOB_ID,
        source=Source(type="api"),
        created_at=NOW,
        updated_at=NOW,
        deadline_at=NOW + 21_600_000,
        spec=a_spec(),
        text_id=JOB_ID,
        characters=12,
        segments_total=1,
        due_at=NOW,
    )
    return replace(job, **changes)


def a_segment(**changes: Any) -> Segment:
    """The first segment of `a_job()`, not started yet."""
    index = changes.get("index", 0)
    segment = Segment(
        tenant=TENANT,
        job_id=JOB_ID,
        index=index,
        start=12 * index,
        end=12 * (index + 1),
        characters=12,
        audio_key=f"{index:064x}",
        due_at=NOW,
    )
    return replace(segment, **changes)


def an_attempt(**changes: Any) -> Attempt:
    return replace(Attempt(number=1, started_at=NOW), **changes)


def a_delivery(**changes: Any) -> Delivery:
    return replace(Delivery(tenant=TENANT, job_id=JOB_ID, due_at=NOW), **changes)


def a_cleanup(**changes: Any) -> Cleanup:
    """What is to be taken away of `a_job()`, which was erased."""
    return replace(Cleanup(tenant=TENANT, job_id=JOB_ID, until=NOW, due_at=NOW, erases=True), **changes)


def some_audio(**changes: Any) -> SegmentAudio:
    """One second of WAV, as far as anyone can tell from its description."""
    audio = SegmentAudio(
        container="wav",
        sample_rate=24_000,
        channels=1,
        frames=24_000,
        bytes=48_044,
        sha256="ab" * 32,
        codec="pcm_s16",
        loudness=-21.5,
        pace=14.2,
        repairs=("sizes-corrected",),
    )
    return replace(audio, **changes)


def a_result(**changes: Any) -> Result:
    result = Result(key=f"jobs/{JOB_ID}", format="mp3", bytes=4096, duration_seconds=1.0, sha256="cd" * 32)
    return replace(result, **changes)


def a_cost(**changes: Any) -> Cost:
    return replace(Cost(vendor_calls=1), **changes)


def a_problem(**changes: Any) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": "The vendor cannot be reached or is failing",
        "status": 503,
        "detail": "The vendor answered 503.",
        "instance": None,
        "code": "vendor-unavailable",
        "retryable": True,
        "vendor": "voiceai",
        "job_id": JOB_ID,
        "errors": [],
    }
    return problem | changes


def an_api_key(**changes: Any) -> ApiKeyRecord:
    record = ApiKeyRecord(
        tenant=TENANT, key_id="k1", secret_hash="ef" * 32, scopes=("jobs:write", "jobs:read"), created_at=NOW
    )
    return replace(record, **changes)
