"""The manifest of a completed job: who spoke each second, from which text, verified how, at what cost.

Its keys are described in `docs/manifest.schema.json`, and the tests let no other one through.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from speech import jobs
from speech.jobs import Job
from speech.resource import cost_resource, job_resource
from speech.segments import Attempt, Segment

if TYPE_CHECKING:
    from speech.audio.join import JoinedAudio

VERSION = 1


def manifest(
    job: Job,
    rows: list[Segment],
    earlier: list[Segment],
    joined: "JoinedAudio",
    text: bytes,
) -> dict[str, Any]:
    """`rows` are what is heard in `joined`; `earlier` belong to former narrators.

    `text` is the whole stored text, in whose bytes the rows count.
    """
    spec, rate = job.spec, joined.sample_rate
    return {
        "version": VERSION,
        "job": job_resource(job, jobs.Progress(stored=len(rows))),
        "text": {"sha256": hashlib.sha256(text).hexdigest(), "characters": len(text.decode())},
        "audio": {"sample_rate": rate, "channels": 1, "loudness": _loudness(job)},
        "subtitles": {
            "alignment": "Cues are exact at the edges of segments; inside a segment they begin after the pauses "
            "that fit the text best."
        },
        "pauses": [
            {"start": round(gap.start / rate, 6), "end": round(gap.end / rate, 6), "why": gap.kind}
            for gap in joined.gaps
        ],
        "narrators": _narrators(job, round(joined.seconds, 6)),
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
                "start": round(start / rate, 6),
                "end": round(end / rate, 6),
                "trimmed": {"start": round(treated.trimmed[0], 6), "end": round(treated.trimmed[1], 6)},
                "level": {"loudness": _rounded(treated.level.loudness), "gain": treated.level.gain},
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
            for index, (row, (start, end), (first, last), treated) in enumerate(
                zip(rows, joined.spans, ranges(rows, text), joined.treated, strict=True)
            )
        ],
    }


def ranges(rows: Sequence[Segment], text: bytes) -> Iterator[tuple[int, int]]:
    """Where the text of each row begins and ends, in code points: what counts the same in every encoding."""
    at = characters = 0
    for row in rows:
        first = characters + len(text[at : row.start].decode())
        at, characters = row.end, first + len(text[row.start : row.end].decode())
        yield first, characters


def _loudness(job: Job) -> dict[str, Any] | None:
    """What the segments were brought to, or None where they are as they came."""
    if job.spec is None or job.spec.loudness is None:
        return None
    from speech.audio.limiter import CEILING

    return {"target": job.spec.loudness, "true_peak_ceiling": CEILING}


def _rounded(loudness: float | None) -> float | None:
    return None if loudness is None else round(loudness, 2)


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
