"""Join the stored segments of a job into one file with subtitles and a manifest, and complete the job."""

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech import jobs, segments
from speech.errors import IllegalTransition, InputGone, OverBudget, ProcessingFailed, StaleWrite, UnusableAudio
from speech.jobs import Cost, Job, JobStatus, Result, Spec
from speech.lengths import require_fit
from speech.manifest import manifest as manifest_of
from speech.messages import AssembleAudio
from speech.observability import count, logger
from speech.ports import MAX_TEXT_BYTES, Clock, JobStore, ResultStore, SegmentStore, TextStore
from speech.results import CHAPTERS, keys_under, result_keys
from speech.segments import Segment, SegmentStatus
from speech.settings import Settings
from speech.usecases.finish_job import FinishJob
from speech.usecases.plan_seams import plan_seams
from speech.usecases.publish import Overtaken, Publication

if TYPE_CHECKING:
    from speech.audio.join import JoinedAudio
    from speech.audio.tags import Cover


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
            logger.info("somebody else assembles this job, or it has ended", extra={"job_id": job.id})
            current = self.store.get(job.tenant, job.id)
            if current is None or (current.is_terminal and current.status is not JobStatus.COMPLETED):
                self.finish.take_back(job, result_keys(job))
        except (InputGone, UnusableAudio, ProcessingFailed) as error:
            current = self.store.get(job.tenant, job.id)
            if current is None or current.status is not JobStatus.ASSEMBLING:
                return
            if not (isinstance(error, UnusableAudio) and error.reason == "gone" and self._speak_anew(current)):
                self.finish.fail_with(current, error)

    def _speak_anew(self, job: Job) -> bool:
        """Back to synthesis for audio that another job shared and that went when that one was erased.

        False when that would not help. The sweep sends what is pending; should this be cut off in the middle,
        the next assembly finds the same again.
        """
        rows = self.store.segments(job.tenant, job.id)
        stored = [row for row in rows if row.take == job.take and row.status is SegmentStatus.STORED]
        lost = [row for row in stored if self.audio.find_audio(row.audio_key) is None]
        if not lost or any(row.calls >= self.settings.segment_attempts for row in lost):
            return False
        now = self.clock.now()
        resumed = jobs.resume_synthesis(job, now=now)
        with suppress(StaleWrite):  # somebody else has seen to it, or the job has ended
            self.store.save(resumed)
            count("SegmentsLost", len(lost))
            try:
                for row in lost:
                    self.finish.save_segment(resumed, row, segments.lose(row, now=now))
            except OverBudget as error:
                self.finish.fail_with(resumed, error)
        return True

    def _assemble(self, lease: _Lease, spec: Spec) -> None:
        from speech.audio.join import join
        from speech.titles import chapter_list, tags_of

        every = list(self.store.segments(lease.job.tenant, lease.job.id))
        rows = sorted((row for row in every if row.take == lease.job.take), key=lambda row: row.start)
        if len(rows) != lease.job.segments_total:
            raise IllegalTransition("Not every segment is there.")
        if any(row.status is not SegmentStatus.STORED for row in rows):
            # This assembly was begun between the two steps of a return to synthesis, and would never be done.
            self.store.save(jobs.resume_synthesis(lease.job, now=self.clock.now()))
            return
        text = self._text(lease.job, rows)
        seams = plan_seams(lease.job, spec, rows, text)
        require_fit(rows, spec, silence=sum(each.seconds for each in seams))
        tags = replace(tags_of(lease.job, rows, text.decode()), cover=self._cover(lease.job))
        with tempfile.TemporaryDirectory(prefix="assemble-") as folder:
            path = Path(folder) / f"audio.{spec.format}"
            joined = join(
                self._parts(rows, lease),
                format=spec.format,
                sample_rate=spec.sample_rate,
                path=path,
                tags=tags,
                progress=lease.keep,
                seams=seams,
                loudness=spec.loudness,
            )
            cues = self._follow(lease.job, rows, joined, text)
            chapters = chapter_list(tags, joined.chapters, joined.sample_rate)
            lease.keep()
            cost = jobs.cost_of(every)
            earlier = [row for row in every if row.take != lease.job.take]
            publication = Publication.begin(self.store, self.results, lease.job)
            try:
                completed = self._publish(publication, lease, rows, earlier, joined, text, cues, chapters, path, cost)
            except Overtaken:
                count("PublishingOvertaken")
                self.finish.take_back(lease.job, keys_under(publication.base, lease.job))
                publication = Publication.begin(self.store, self.results, lease.job)
                completed = self._publish(publication, lease, rows, earlier, joined, text, cues, chapters, path, cost)
        self.finish.complete(completed)

    def _cover(self, job: Job) -> "Cover | None":
        from speech.audio.picture import MAX_BYTES, cover

        name = job.about.cover if job.about else None
        return cover(self.texts.read_text(job.tenant, name, 0, MAX_BYTES)) if name else None

    def _publish(
        self,
        publication: Publication,
        lease: _Lease,
        rows: list[Segment],
        earlier: list[Segment],
        joined: "JoinedAudio",
        text: bytes,
        cues: list[Any],
        chapters: bytes,
        path: Path,
        cost: Cost,
    ) -> Job:
        """Put everything in its place, the small things first: where somebody else has been shows soonest there."""
        from speech.audio.join import FORMATS
        from speech.audio.subtitles import to_srt, to_vtt

        spec_format = path.suffix.removeprefix(".")
        publication.put_bytes("vtt", to_vtt(cues).encode(), "text/vtt; charset=utf-8")
        publication.put_bytes("srt", to_srt(cues).encode(), "application/x-subrip; charset=utf-8")
        put_chapters = publication.put_bytes if joined.chapters else publication.replace_bytes
        put_chapters(CHAPTERS, chapters, "application/json+chapters")
        publication.put_file(spec_format, path, FORMATS[spec_format].content_type, lease.keep)
        lease.keep()
        result = Result(
            key=publication.base,
            format=spec_format,
            bytes=joined.bytes,
            duration_seconds=round(joined.seconds, 3),
            sha256=joined.sha256,
            versions=dict(publication.versions),
            chapters=len(joined.chapters),
        )
        completed = jobs.complete(lease.job, result, cost=cost, now=self.clock.now(), rendered=jobs.rendered(rows))
        manifest = manifest_of(completed, rows, earlier, joined, text)
        publication.put_bytes(
            "manifest.json", json.dumps(manifest, ensure_ascii=False, indent=2).encode(), "application/json"
        )
        publication.confirm()
        return completed

    def _parts(self, rows: list[Segment], lease: _Lease) -> Iterator[bytes]:
        for row in rows:
            lease.keep()
            yield self.audio.read_audio(row.audio_key)

    def _text(self, job: Job, rows: list[Segment]) -> bytes:
        """All of it, also what nobody speaks: the manifest counts from its beginning."""
        return self.texts.read_text(job.tenant, job.text_id, 0, MAX_TEXT_BYTES) if rows[-1].end else b""

    def _follow(self, job: Job, rows: list[Segment], joined: "JoinedAudio", text: bytes) -> list[Any]:
        """The cues that follow the text."""
        from speech.audio.subtitles import Spoken, cues
        from speech.text.cutting import sentences

        spoken = []
        for row, (first, last), pauses in zip(rows, joined.spans, joined.pauses, strict=True):
            start, end = first / joined.sample_rate, last / joined.sample_rate
            said = text[row.start : row.end].decode()
            language = job.spec.language if job.spec else None
            spoken.append(
                Spoken(
                    text=said,
                    sentences=sentences(said, language=language),
                    start=start,
                    end=end,
                    pauses=pauses,
                )
            )
        return cues(spoken)
