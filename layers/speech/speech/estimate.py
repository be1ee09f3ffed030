"""How long a job will still take, reckoned from its own pace so far, or nothing where that says nothing. No I/O."""

import math
from collections.abc import Mapping

from speech.jobs import Job, JobStatus, Progress

WAIT_SECONDS = 60.0
"""As much of the time before the first segment counts as work: a call takes so long, not a vendor's queue or outage."""

QUIET_SECONDS = 70.0
"""How long it may be quiet without meaning anything: the longest call there is."""

SPOKEN_A_SECOND = 15.0
"""Characters, roughly, in any language of letters; only the joining is reckoned with it, which takes little."""

JOINED_A_SECOND: Mapping[str, float] = {"mp3": 150.0, "ogg": 120.0}
"""Seconds of audio, decoded, joined and encoded, on the slower side of what was measured."""

JOINED_OTHERWISE = 500.0


def seconds_left(job: Job, progress: Progress, now: int) -> int | None:
    """Until the job has ended; None where nothing can be said. `now` is in epoch milliseconds."""
    joining = _joining(job)
    if job.status is JobStatus.ASSEMBLING:
        return _left(joining, (now - job.updated_at) / 1000, quiet=joining + QUIET_SECONDS)
    if job.status is not JobStatus.SYNTHESIZING or job.held is not None or job.segments_total is None:
        return None
    if not progress.stored or progress.first_at is None or progress.last_at is None:
        return None
    waited = (progress.first_at - job.created_at) / 1000
    counted = min(max(waited, 0.0), WAIT_SECONDS)
    if now - progress.first_at < counted / 2 * 1000 and progress.stored < job.segments_total:
        return None  # those that were begun with the first one are about to come, and tell how many go side by side
    worked = (progress.last_at - progress.first_at) / 1000 + counted
    pace = worked / progress.stored
    # What comes in bursts is quiet between them, for as long as the first one took.
    quiet = max(QUIET_SECONDS, 5 * pace, 2 * min(waited, 5 * WAIT_SECONDS))
    left = max(job.segments_total - progress.stored, 0)
    speaking = _left(pace * left, (now - progress.last_at) / 1000, quiet=quiet)
    return None if speaking is None else speaking + math.ceil(joining)


def _left(whole: float, passed: float, *, quiet: float) -> int | None:
    """What is overdue takes, for all that is known, as long again as it is late; too quiet, and nothing is known."""
    return None if passed > quiet else max(1, math.ceil(abs(whole - passed)))


def _joining(job: Job) -> float:
    """How long joining the whole will take, in seconds."""
    audio = (job.characters or 0) / SPOKEN_A_SECOND
    return 1.0 + audio / JOINED_A_SECOND.get(job.spec.format if job.spec else "", JOINED_OTHERWISE)
