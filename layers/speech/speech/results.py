"""Where the results of a job lie in the audio bucket."""

import hashlib

from speech.jobs import Job

MAX_INPUT_KEY_BYTES = 1_000
"""S3 keys end at 1,024 bytes and our longest suffix needs room; longer input keys are hashed."""


def result_base(job: Job) -> str:
    """The key of a job's results, to which `.mp3`, `.vtt`, `.manifest.json` and so on are appended."""
    if job.source.type == "upload" and job.source.key:
        return result_key(job.source.key)
    return f"jobs/{job.id}"


def result_key(input_key: str) -> str:
    """The input's own key, as an opaque string; for a very long one, `long/` and the hash of it."""
    raw = input_key.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_INPUT_KEY_BYTES:
        return f"long/{hashlib.sha256(raw).hexdigest()}"
    return input_key


def result_filename(job: Job, suffix: str) -> str:
    """What a browser should call a downloaded result."""
    name = (job.source.key or "").rsplit("/", 1)[-1] if job.source.type == "upload" else ""
    return f"{name or job.id}.{suffix}"
