"""Make a job of a request: options settled, text stored and cut, rows written, segments sent.

Every way in ends here. The commit point is one conditional write of the job row, whose id comes from the
identity of what arrived; whoever arrives again finds the job that is there.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from speech import jobs
from speech.errors import (
    EmptyText,
    FieldError,
    IdempotencyKeyReused,
    InvalidRequest,
    JobErased,
    MaxCostTooLow,
    ProcessingFailed,
    SpeechError,
    StaleWrite,
    StoreUnavailable,
    TextTooLong,
)
from speech.ids import derived_job_id, new_job_id
from speech.jobs import About, Cost, Job, JobStatus, Preview, Source, Spec
from speech.lengths import may_be_too_long, require_few, require_room
from speech.messages import DeliverEvent, StartSegment
from speech.observability import count
from speech.policy import require_in_service
from speech.ports import MAX_TEXT_BYTES, Cleanup, Clock, Delivery, Dispatcher, InputStore, JobStore, Policies, TextStore
from speech.prices import committed, dollars
from speech.problems import problem_from
from speech.segments import Segment
from speech.settings import TENANT, Settings
from speech.usecases.cast_job import Cast, CastJob
from speech.usecases.plan_segments import plan_segments, preview, speaks_something_else
from speech.vendors.base import Capabilities

if TYPE_CHECKING:
    from speech.requests import JobRequest

API = "api"
UPLOAD = "upload"
MESSAGE = "message"

MAX_CHARACTERS = 1_000_000

SEGMENTS_AT_CREATION = 90
"""As many as fit into the transaction that creates a job."""

SHORTEST_LIMIT = 400
"""Characters of a segment where a vendor takes few: a text has hardly more seams than that, headings apart."""


class VendorRules(Protocol):
    """What the vendors accept, as data. The package `speech.vendors` itself is one."""

    @property
    def VENDORS(self) -> tuple[str, ...]: ...  # noqa: N802 - the name that the package gives its constant

    def capabilities(self, name: str) -> Capabilities:
        """Raises UnknownVendor."""
        ...

    def check_request(
        self,
        name: str,
        *,
        voice: str | None,
        language: str | None,
        speed: float | None,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The options as they will be sent. Raises InvalidRequest or UnsupportedOption."""
        ...


class Arrival(NamedTuple):
    """Something that arrived, and how it is known should it arrive again.

    The same tenant, kind and identity is the same job. Without an identity every arrival is a new one.
    `digest` tells two different requests apart that claim the same identity.
    """

    kind: str
    source: Source
    identity: tuple[str, ...] = ()
    request_id: str | None = None
    digest: str | None = None
    tenant: str = TENANT

    @property
    def job_id(self) -> str | None:
        return derived_job_id(self.tenant, self.kind, *self.identity) if self.identity else None


class Accepted(NamedTuple):
    """The job of an arrival. `created` is false when the arrival had come before."""

    job: Job
    created: bool


@dataclass(frozen=True, slots=True)
class AcceptJob:
    store: JobStore
    texts: TextStore
    dispatcher: Dispatcher
    clock: Clock
    settings: Settings
    vendors: VendorRules
    policies: Policies
    inputs: InputStore

    def __call__(self, arrival: Arrival, request: "JobRequest", text: str, *, looked: bool = False) -> Accepted:
        """Raises InvalidRequest and its kin for what cannot be spoken; then there is no job.

        `looked`: the caller has just looked and found no job of this arrival.
        """
        known = None if looked else self.find(arrival)
        if known is not None:
            return Accepted(known, created=False)
        cast = self.resolve(request)
        spec = cast.spec
        cover = self._cover(request)
        is_known = not speaks_something_else(spec)
        cleaned = _speakable(text) if is_known else ""
        if cleaned and request.lexicon:
            spec = _with_lexicon(spec, request.lexicon, cleaned)
            cast = replace(cast, spec=spec)
        if request.preview is None and may_be_too_long(cleaned):
            require_room(cleaned, spec, _silence(cleaned))
        job = self._job(arrival, request, cast, characters=_characters(cleaned) if is_known else None)
        if request.preview is not None:
            job = replace(job, preview=_preview_of(job, request.preview.seconds))
        job, rows = self._planned(job, spec, cleaned)
        if not rows:
            nothing = "has nothing in it that a voice could speak"
            raise EmptyText(f"The text {nothing}.", errors=[FieldError("text", nothing)])
        require_few(rows)
        reserved = _within_budget(job, rows)
        now = job.created_at
        self._refuse_what_is_retired(job)
        content = cleaned.encode()
        job = replace(job, segments_total=len(rows), text_id=f"{job.id}-{hashlib.sha256(content).hexdigest()[:16]}")
        if len(rows) <= SEGMENTS_AT_CREATION:
            # Every row is in the one transaction: both arrows are taken at once, and a write is saved.
            job = jobs.begin_synthesis(job, now=now, due_at=self._due(now))
        self.texts.put_text(job.tenant, job.text_id, content)
        if cover is not None:
            # A copy of our own: what lies under that key may be another picture by the time that the text is spoken.
            name = f"{job.id}-cover-{hashlib.sha256(cover).hexdigest()[:16]}"
            job = replace(job, about=replace(job.about or About(), cover=name))
            self.texts.put_text(job.tenant, name, cover)
        if not self.store.create(job, rows[:SEGMENTS_AT_CREATION], committed=reserved):
            self._forget_if_erased(job)
            known = self.find(arrival)
            if known is None:
                raise StoreUnavailable("The job could not be read back. Send the request again.")
            return Accepted(known, created=False)
        # From here on there is a job, whatever happens: its rows come due, and the sweep takes it up.
        with suppress(StaleWrite, StoreUnavailable):
            if job.status is JobStatus.ACCEPTED:
                job = self._begin(job, rows[SEGMENTS_AT_CREATION:])
            self._send(job, spec, rows)
        count("JobsAccepted")
        count("CharactersAccepted", len(cleaned))
        return Accepted(job, created=True)

    def _forget_if_erased(self, job: Job) -> None:
        """Who stood still while the job of the same input came, went and was erased has put its text there again."""
        there = self.store.get(job.tenant, job.id)
        if there is not None and there.erased_at is not None:
            now = self.clock.now()
            with suppress(StaleWrite):  # what is still to be taken away goes then
                self.store.save_cleanup(Cleanup(job.tenant, job.id, until=now, due_at=now, erases=True))

    def find(self, arrival: Arrival) -> Job | None:
        """The job that this arrival made before.

        Raises IdempotencyKeyReused when it was another request, JobErased when a client asks for what it erased.
        """
        job_id = arrival.job_id
        known = self.store.get(arrival.tenant, job_id) if job_id else None
        if known is not None and arrival.kind == API and known.erased_at is not None:
            raise JobErased("The job of this Idempotency-Key was erased. Send a new key to begin anew.")
        if known is not None and arrival.kind == API and known.request_digest != arrival.digest:
            raise IdempotencyKeyReused(
                "The Idempotency-Key was sent before with a different body. "
                "Repeat that body to get its job, or send a new key."
            )
        return known

    def resolve(self, request: "JobRequest") -> Cast:
        """Fill in every default. Raises InvalidRequest for what nobody, or this stack, can do."""
        from speech.requests import require_format, require_https

        require_https(request.webhook_url, local=self.settings.local)
        require_format(request.format, media_layer=self.settings.media_layer)
        policy, now = self.policies.policy(), self.clock.now()
        is_out = cache(lambda vendor: self.store.health(vendor).is_open)
        return CastJob(request, self.settings, self.vendors, policy, now, is_out)()

    def refuse(self, arrival: Arrival, error: SpeechError, request: "JobRequest | None" = None) -> Job:
        """A job born failed: nobody waits at the other end of a drop or a message, so the row says why."""
        now = self.clock.now()
        job_id = arrival.job_id or new_job_id(now)
        job = Job(
            tenant=arrival.tenant,
            id=job_id,
            source=arrival.source,
            created_at=now,
            updated_at=now,
            deadline_at=now + self._ms(self.settings.job_deadline_seconds),
            spec=self._spec_if_sound(request),
            status=JobStatus.FAILED,
            metadata=dict(request.metadata or {}) if request else {},
            webhook_url=self._webhook_if_sound(request),
            request_id=arrival.request_id,
            request_digest=arrival.digest,
            problem=problem_from(error, job_id=job_id, instance=f"/v1/jobs/{job_id}"),
            cost=Cost(),
        )
        delivery = Delivery(
            tenant=job.tenant,
            job_id=job.id,
            due_at=now + self._ms(self.settings.lease_seconds),
            webhook=job.webhook_url,
        )
        if not self.store.create(job, delivery=delivery):
            return self.store.get(job.tenant, job.id) or job
        with suppress(StoreUnavailable):  # the delivery row comes due, and the sweep sends it
            self.dispatcher.deliver(DeliverEvent(tenant=job.tenant, job_id=job.id))
        return job

    def resume(self, job: Job) -> None:
        """Take up a job whose accepting was cut off: write the missing rows and send them all.

        Raises StaleWrite when somebody else moved the job, InputGone when its text was erased.
        """
        if job.status is not JobStatus.ACCEPTED or job.spec is None:
            return
        text = self.texts.read_text(job.tenant, job.text_id, 0, MAX_TEXT_BYTES).decode()
        _, rows = self._planned(job, job.spec, text)
        if len(rows) != job.segments_total:
            raise ProcessingFailed("The text was cut differently by the release that accepted it.")
        self._send(self._begin(job, rows), job.spec, rows)

    def _cover(self, request: "JobRequest") -> bytes | None:
        """The picture that the request names. Raises InvalidRequest where there is none."""
        if request.cover is None:
            return None
        from speech.audio.picture import MAX_BYTES, cover
        from speech.requests import invalid

        data = self.inputs.read(self.settings.audio_bucket, request.cover, None, MAX_BYTES + 1)
        if data is None:
            missing = "is not there: put the picture under this key in the audio bucket"
            raise invalid([FieldError("cover", missing)])
        try:
            return cover(data).data
        except ValueError as error:
            raise invalid([FieldError("cover", str(error))]) from error

    def _job(self, arrival: Arrival, request: "JobRequest", cast: Cast, *, characters: int | None) -> Job:
        now = self.clock.now()
        deadline_at = now + self._ms(self.settings.job_deadline_seconds)
        return Job(
            tenant=arrival.tenant,
            id=arrival.job_id or new_job_id(now),
            source=arrival.source,
            created_at=now,
            updated_at=now,
            deadline_at=deadline_at,
            spec=cast.spec,
            characters=characters,
            metadata=dict(request.metadata or {}),
            webhook_url=request.webhook_url,
            request_id=arrival.request_id,
            request_digest=arrival.digest,
            due_at=min(self._due(now), deadline_at),
            price=cast.first.price,
            max_cost=request.max_cost,
            fallback=cast.fallback,
            why=cast.why,
            choice=cast.choice,
            about=_about(request),
        )

    def _planned(self, job: Job, spec: Spec, text: str) -> tuple[Job, list[Segment]]:
        limit = self.vendors.capabilities(spec.vendor).limit_for(spec.vendor_options)
        rows = plan_segments(job, spec, text, limit=limit, due_at=self._due(self.clock.now()))
        return preview(job, spec, rows, text)

    def _begin(self, job: Job, missing: Sequence[Segment]) -> Job:
        """accepted → synthesizing, once every segment row is there."""
        self.store.add_segments(missing)
        now = self.clock.now()
        begun = jobs.begin_synthesis(job, now=now, due_at=self._due(now))
        self.store.save(begun)
        return begun

    def _send(self, job: Job, spec: Spec, rows: Sequence[Segment]) -> None:
        messages = [
            StartSegment(tenant=job.tenant, job_id=job.id, segment=row.index, vendor=spec.vendor) for row in rows
        ]
        with suppress(StoreUnavailable):  # the rows come due, and the sweep sends them
            self.dispatcher.start(spec.vendor, messages)

    def _spec_if_sound(self, request: "JobRequest | None") -> Spec | None:
        try:
            return self.resolve(request).spec if request else None
        except SpeechError:
            return None

    def _webhook_if_sound(self, request: "JobRequest | None") -> str | None:
        from speech.requests import require_https

        try:
            require_https(request.webhook_url if request else None, local=self.settings.local)
        except SpeechError:
            return None
        return request.webhook_url if request else None

    def _refuse_what_is_retired(self, job: Job) -> None:
        """Raises VendorRetired, where nobody in service was found to speak this."""
        spec = job.spec
        if spec is not None:
            require_in_service(
                self.policies.policy(), self.settings, spec.vendor, spec.voice, spec.vendor_options, job.created_at
            )

    def _due(self, now: int) -> int:
        """When what was just sent should long have been taken up."""
        return now + self._ms(self.settings.lease_seconds)

    @staticmethod
    def _ms(seconds: float) -> int:
        return int(seconds * 1000)


def _silence(text: str) -> float:
    """The seconds that nobody speaks: what marks ask for, and what comes beside headings and between paragraphs.

    Only where one segment ends and the next begins; a slow reader's pace has room for the rest.
    """
    from speech.audio.seams import SILENCES
    from speech.text.script import read_script

    script = read_script(text)
    beside_headings = len(script.headings) * (SILENCES["before-heading"] + SILENCES["after-heading"])
    paragraphs = min(text.count("\n\n"), len(text) // SHORTEST_LIMIT)
    return sum(each.seconds for each in script.pauses) + beside_headings + paragraphs * SILENCES["paragraph"]


def _about(request: "JobRequest") -> About | None:
    about = About(request.title, request.author, request.date)
    return None if about == About() else about


def _preview_of(job: Job, seconds: int) -> Preview:
    """How much of this job's text was asked for. Raises InvalidRequest where its length is not ours to know."""
    if job.spec is None or speaks_something_else(job.spec):
        message = "cannot be made of what only the vendor has; send the text, or leave it out"
        raise InvalidRequest(f"`preview` {message}.", errors=[FieldError("preview", message)])
    return Preview(seconds, segments=0, characters=job.characters or 0)


def _with_lexicon(spec: Spec, rows: Sequence[Mapping[str, Any]], text: str) -> Spec:
    """With what the lexicon has for this text. Raises InvalidRequest for more than a job can keep."""
    from speech.text.lexicon import Entry, used

    return replace(spec, lexicon=used([Entry(**row) for row in rows], language=spec.language, text=text))


def _within_budget(job: Job, rows: Sequence[Segment]) -> int:
    """What these segments reserve, in millionths; 0 without a budget. Raises MaxCostTooLow."""
    if job.budget is None or job.spec is None:
        return 0
    if any(row.reserved is None for row in rows):
        message = f"cannot be kept to: the price of {job.spec.vendor} is not known here; the operator can set it"
    elif (most := sum(map(committed, rows))) > job.budget:
        message = f"is too low: this text may cost up to {dollars(most):.6f} US dollars with {job.spec.vendor}"
    else:
        return most
    raise MaxCostTooLow(f"`max_cost` {message}.", errors=[FieldError("max_cost", message)])


def _speakable(text: str) -> str:
    """The text as it will be stored and spoken. Raises EmptyText, TextTooLong, InvalidRequest."""
    from speech.text.reading import clean_text
    from speech.text.script import check_script

    try:
        cleaned = clean_text(text)
    except EmptyText as error:
        message = f"must have something to speak, and at most {MAX_CHARACTERS:,} characters"
        raise EmptyText(error.detail, errors=[FieldError("text", message)]) from error
    if len(cleaned) > MAX_CHARACTERS:
        raise TextTooLong(
            f"The text has {len(cleaned):,} characters; a job takes at most {MAX_CHARACTERS:,}. Split it up.",
            errors=[FieldError("text", f"may have at most {MAX_CHARACTERS:,} characters")],
        )
    check_script(cleaned)
    return cleaned


def _characters(text: str) -> int:
    """How many characters are spoken: directions are not."""
    from speech.text.script import read_script

    return read_script(text).characters(len(text))
