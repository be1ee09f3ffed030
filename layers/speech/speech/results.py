"""Where the results of a job lie in the audio bucket."""

import hashlib

from speech.jobs import Job
from speech.ports import JobStore

LONGEST_KEY_BYTES = 1_000
"""S3 keys end at 1,024 bytes; longer input keys leave no room for a suffix."""

CHAPTERS = "chapters.json"
"""What the list of chapters is called, where there are any."""


def upload_base(key: str) -> str:
    """The base of a drop's results: its own key, or a hash of it where a suffix would not fit."""
    encoded = key.encode()
    return key if len(encoded) <= LONGEST_KEY_BYTES else f"long/{hashlib.sha256(encoded).hexdigest()}"


def own_base(job: Job) -> str:
    """The base of results that nobody dropped a file for, or that a newer version of the file has overtaken."""
    return f"jobs/{job.id}"


def result_base(job: Job) -> str:
    return upload_base(job.source.key) if job.source.type == "upload" and job.source.key else own_base(job)


def keys_under(base: str, job: Job) -> tuple[str, ...]:
    """The keys of a job's results under a base."""
    suffixes = (job.spec.format, "vtt", "srt", CHAPTERS, "manifest.json") if job.spec else ()
    return tuple(f"{base}.{suffix}" for suffix in suffixes)


def result_keys(job: Job) -> tuple[str, ...]:
    """Every key under which audio of this job, and what goes with it, may have been published."""
    return tuple(key for base in dict.fromkeys((result_base(job), own_base(job))) for key in keys_under(base, job))


def error_key(job: Job) -> str:
    """Where a drop that failed says why."""
    return f"{result_base(job)}.error.md"


def is_latest(store: JobStore, job: Job) -> bool:
    """Whether this job speaks for the newest version of its file; true for everything that is not a drop."""
    if job.source.type != "upload" or not job.source.bucket or not job.source.key:
        return True
    return store.latest_upload(job.tenant, job.source.bucket, job.source.key) in (None, job.id)


def latest_result_base(store: JobStore, job: Job) -> str:
    """Where to publish: an overtaken drop keeps its audio, but not in the place of the newer one's."""
    return result_base(job) if is_latest(store, job) else own_base(job)
