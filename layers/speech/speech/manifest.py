"""The manifest of a completed job: who spoke each second, from which text, verified how, at what cost.

Its keys are described in `docs/manifest.schema.json`, and the tests let no other one through.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from speech import jobs
from speech.jobs import Job
from speech.resource import cost_resource, job_resource
from speech.segments import Attempt, Segment

VERSION = 1


def manifest(
    job: Job,
    rows: list[Segment],
    earlier: list[Segment],
    times: list[tuple[float, float]],
    sample_rate: int,
    text: bytes,
) -> dict[str, Any]:
    """`rows` are what is heard, `times` where each begins and ends in seconds; `earlier` belong to former narrators.

    `text` is the whole stored text, in whose bytes the rows count.
    """
    spec = job.spec
    return {
        "version": VERSION,
        "job": job_resource(job, jobs.Progress(stored=len(rows))),
        "text": {"sha256": hashlib.sha256(text).hexdigest(), "characters": len(text.decode())},
        "audio": {"sample_rate": sample_rate, "channels": 1},
        "subtitles": {
            "alignment": "Cues are exact at the edges of segments; inside a segment they begin after the pauses "
            "that fit the text best."
        },
        "pauses": [],
        "narrators": _narrators(job, round(times[-1][1], 6)),
        "earlier_attempts": [_attempt(attempt) for row in earlier for attempt in row.attempts],
        "choice": job.choice,
        "segments": [
            {
                "index": index,
                "from": first,
                "to": last,
                "characters": row.characters,
                "vendor": spec.vendor if spec else None,
                "voice": spec.voice if spec else None,
                "start": round(start, 6),
                "end": round(end, 6),
                "audio": {
                    "container": row.audio.container,
                    "sample_rate": row.audio.sample_rate,
                    "seconds": round(row.audio.seconds, 6),
                    "sha256": row.audio.sha256,
                    "codec": row.audio.codec,
                    "loudness_dbfs": row.audio.loudness,
                    "characters_per_second": row.audio.pace,
                    "repairs": list(row.audio.repairs),
                }
                if row.audio
                else None,
                "attempts": [_attempt(attempt) for attempt in row.attempts],
                "refusals": row.refusals,
                "cost": cost_resource(jobs.cost_of([row])),
            }
            for index, (row, (start, end), (first, last)) in enumerate(
                zip(rows, times, _ranges(rows, text), strict=True)
            )
        ],
    }


def _ranges(rows: list[Segment], text: bytes) -> Iterator[tuple[int, int]]:
    """Where the text of each row begins and ends, in code points: what counts the same in every encoding."""
    at = characters = 0
    for row in rows:
        first = characters + len(text[at : row.start].decode())
        at, characters = row.end, first + len(text[row.start : row.end].decode())
        yield first, characters


def _narrators(job: Job, end: float) -> list[dict[str, Any]]:
    """Who spoke each second and why, after those who gave up before: what they said is not in the audio."""
    gave_up = [
        {
            "vendor": turn.vendor,
            "voice": turn.voice,
            "from": None,
            "to": None,
            "why": turn.why,
            "ended_by": turn.ended_by,
        }
        for turn in job.turns
    ]
    spec = job.spec
    voice, vendor = (spec.voice, spec.vendor) if spec else (None, None)
    return [*gave_up, {"vendor": vendor, "voice": voice, "from": 0.0, "to": end, "why": job.why, "ended_by": None}]


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "problem": attempt.problem_code,
        "verdict": attempt.verdict,
        "request_id": attempt.request_id,
        "vendor": attempt.vendor,
        "characters": attempt.characters,
        "credits": attempt.credits,
        "amount": attempt.amount,
    }
