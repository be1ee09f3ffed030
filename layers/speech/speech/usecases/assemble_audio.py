"""Join the stored segments of a job into one file with subtitles and a manifest, and complete the job."""

import json
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech import jobs
from speech.errors import IllegalTransition, InputGone, ProcessingFailed, StaleWrite, UnusableAudio
from speech.jobs import Job, JobStatus, Result, Spec
from speech.messages import AssembleAudio
from speech.observability import count, logger
from speech.ports import Clock, JobStore, ResultStore, SegmentStore, TextStore
from speech.resource import cost_resource, job_resource
from speech.results import latest_result_base
from speech.segments import Attempt, Segment, SegmentStatus
from speech.settings import Settings
from speech.usecases.finish_job import FinishJob

if TYPE_CHECKING:
    from speech.audio.join import JoinedAudio

MANIFEST_VERSION = 1


class _Lease:
    """Our hold on the assembly, renewed while we work; every write carries its revision."""

    def __init__(self, store: JobStore, clock: Clock, job: Job, lease_ms: int) -> None:
        self._store, self._clock, self._lease_ms = store, clock, lease_ms
        self._token = uuid.uuid4().hex
        self.job = job
        self._renew()

    def keep(self) -> None:
        """Renew when a third of the lease is gone. Raises StaleWrite when somebody took over."""
        if (self.job.lease_until or 0) - self._clock.now() < self._lease_ms * 2 // 3:
            self._renew()

    def _renew(self) -> None:
        renewed = jobs.lease_assembly(self.job, token=self._token, now=self._clock.now(), lease_ms=self._lease_ms)
        self._store.save(renewed)
        self.job = renewed


@dataclass(frozen=True, slots=True)
class AssembleAudioUseCase:
    store: JobStore
    texts: TextStore
    audio: SegmentStore
    results: ResultStore
    clock: Clock
    settings: Settings
    finish: FinishJob

    def __call__(self, message: AssembleAudio) -> None:
        job = self.store.get(message.tenant, message.job_id)
        if job is None or job.spec is None:
            count("OrphanMessages")
            return
        if job.status is not JobStatus.ASSEMBLING:
            return
        try:
            lease = _Lease(self.store, self.clock, job, int(self.settings.lease_seconds * 1000))
            self._assemble(lease, job.spec)
        except (StaleWrite, IllegalTransition):
            logger.info("somebody else assembles this job", extra={"job_id": job.id})
        except (InputGone, UnusableAudio, ProcessingFailed) as error:
            current = self.store.get(job.tenant, job.id)
            if current is not None and not current.is_terminal:
                self.finish.fail_with(current, error)

    def _assemble(self, lease: _Lease, spec: Spec) -> None:
        from speech.audio.join import FORMATS, join

        every = list(self.store.segments(lease.job.tenant, lease.job.id))
        rows = sorted((row for row in every if row.take == lease.job.take), key=lambda row: row.start)
        if any(row.status is not SegmentStatus.STORED for row in rows) or len(rows) != lease.job.segments_total:
            raise IllegalTransition("Not every segment is stored.")
        with tempfile.TemporaryDirectory(prefix="assemble-") as folder:
            path = Path(folder) / f"audio.{spec.format}"
            joined = join(
                self._parts(rows, lease),
                format=spec.format,
                sample_rate=spec.sample_rate,
                path=path,
                progress=lease.keep,
            )
            spoken, cues = self._follow(lease.job, rows, joined)
            lease.keep()
            base = latest_result_base(self.store, lease.job)
            audio_key = f"{base}.{spec.format}"
            tags = {"job-id": lease.job.id}
            versions = {
                spec.format: self.results.put_file(
                    audio_key, path, content_type=FORMATS[spec.format].content_type, metadata=tags
                )
            }
        from speech.audio.subtitles import to_srt, to_vtt

        for suffix, text, media_type in (
            ("vtt", to_vtt(cues), "text/vtt"),
            ("srt", to_srt(cues), "application/x-subrip"),
        ):
            versions[suffix] = self.results.put_bytes(
                f"{base}.{suffix}", text.encode(), content_type=f"{media_type}; charset=utf-8", metadata=tags
            )
        lease.keep()
        result = Result(
            key=base,
            format=spec.format,
            bytes=joined.bytes,
            duration_seconds=round(joined.seconds, 3),
            sha256=joined.sha256,
            versions={suffix: version for suffix, version in versions.items() if version is not None},
        )
        completed = jobs.complete(lease.job, result, cost=jobs.cost_of(every), now=self.clock.now())
        manifest = self._manifest(completed, rows, spoken, joined.sample_rate)
        self.results.put_bytes(
            f"{base}.manifest.json",
            json.dumps(manifest, ensure_ascii=False, indent=2).encode(),
            content_type="application/json",
            metadata=tags,
        )
        self.finish.complete(completed)

    def _parts(self, rows: list[Segment], lease: _Lease) -> Iterator[bytes]:
        for row in rows:
            lease.keep()
            yield self.audio.read_audio(row.audio_key)

    def _follow(
        self, job: Job, rows: list[Segment], joined: "JoinedAudio"
    ) -> tuple[list[tuple[float, float]], list[Any]]:
        """Where each segment lies in the joined audio, in seconds, and the cues that follow the text."""
        from speech.audio.subtitles import Spoken, cues
        from speech.text.cutting import sentences

        text = self.texts.read_text(job.tenant, job.text_id, rows[0].start, rows[-1].end)
        spoken = []
        times = []
        for row, (first, last), pauses in zip(rows, joined.spans, joined.pauses, strict=True):
            start, end = first / joined.sample_rate, last / joined.sample_rate
            said = text[row.start - rows[0].start : row.end - rows[0].start].decode()
            language = job.spec.language if job.spec else None
            times.append((start, end))
            spoken.append(
                Spoken(
                    text=said,
                    sentences=sentences(said, language=language),
                    start=start,
                    end=end,
                    pauses=pauses,
                )
            )
        return times, cues(spoken)

    def _manifest(
        self, job: Job, rows: list[Segment], times: list[tuple[float, float]], sample_rate: int
    ) -> dict[str, Any]:
        spec = job.spec
        progress = jobs.Progress(stored=len(rows))
        return {
            "version": MANIFEST_VERSION,
            "job": job_resource(job, progress),
            "audio": {"sample_rate": sample_rate, "channels": 1},
            "subtitles": {
                "alignment": "Cues are exact at the edges of segments; inside a segment they begin after the pauses "
                "that fit the text best."
            },
            "pauses": [],
            "narrators": _narrators(job, round(times[-1][1], 6)),
            "choice": job.choice,
            "segments": [
                {
                    "index": index,
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
                for index, (row, (start, end)) in enumerate(zip(rows, times, strict=True))
            ],
        }


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
        "request_id": attempt.request_id,
        "vendor": attempt.vendor,
        "characters": attempt.characters,
        "credits": attempt.credits,
        "amount": attempt.amount,
    }
