"""What the inside asks of the outside. Implemented by `speech.aws` and by the fakes of the tests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from speech.jobs import Job, Progress
from speech.segments import Claim, Segment, SegmentAudio

if TYPE_CHECKING:
    from speech.health import Health
    from speech.messages import AssembleAudio, CheckSegment, DeliverEvent, StartSegment
    from speech.policy import Policy


class Clock(Protocol):
    def now(self) -> int:
        """The time in epoch milliseconds."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outbox row of a finished job: what is still to be told to whom. Times are epoch milliseconds.

    `not_before` is when a webhook that was not taken may be called again, `due_at` when `sweep` takes an
    interest, `sends` how often it has sent this delivery again since the last try.
    """

    tenant: str
    job_id: str
    rev: int = 1
    due_at: int | None = None
    not_before: int | None = None
    attempts: int = 0
    sends: int = 0
    published: bool = False
    webhook: str | None = None
    webhook_done: bool = False
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Cleanup:
    """The outbox row of what is to be taken away of a job that has ended. Times are epoch milliseconds.

    `keys` are objects of the audio bucket, of which the versions go that this job put there. `erases`: its text,
    the audio that no other job shares and its segments' rows go too. Until `until` somebody who was at work when
    the job ended may put something back, so it is not over before.
    """

    tenant: str
    job_id: str
    until: int
    rev: int = 1
    due_at: int | None = None
    keys: tuple[str, ...] = ()
    erases: bool = False


class Due(NamedTuple):
    """Something overdue. `kind` is job, segment, delivery or cleanup."""

    kind: str
    tenant: str
    job_id: str
    segment: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key at rest: only a keyed hash of its secret."""

    tenant: str
    key_id: str
    secret_hash: str
    scopes: tuple[str, ...]
    created_at: int
    disabled: bool = False


class JobStore(Protocol):
    """The truth. Every write is conditional; a refused condition raises StaleWrite. Reads are consistent.

    A row that cannot be understood raises CorruptRow.
    """

    def create(
        self, job: Job, segments: Sequence[Segment] = (), *, delivery: Delivery | None = None, committed: int = 0
    ) -> bool:
        """Write a new job and its first segments in one transaction. False when the job exists already.

        At most 90 segments; the rest by `add_segments`. A job that is born failed brings its delivery.
        `committed` is what the job's segments reserve of its budget, in millionths.
        """
        ...

    def add_segments(self, segments: Sequence[Segment]) -> None:
        """Write segment rows that are not there yet; rows that are stay as they are."""
        ...

    def get(self, tenant: str, job_id: str) -> Job | None: ...

    def progress(self, tenant: str, job_id: str, take: int = 0) -> Progress: ...

    def save(self, job: Job) -> None:
        """Write a job whose row still has revision `job.rev - 1`."""
        ...

    def finish(self, job: Job, delivery: Delivery, cleanup: Cleanup | None = None) -> None:
        """As `save`, together with the outbox rows, in one transaction."""
        ...

    def erase(self, tombstone: Job, delivery: Delivery | None, cleanup: Cleanup) -> None:
        """Write the tombstone of a job and what is left of its outbox, each following its row, in one transaction."""
        ...

    def cleanup(self, tenant: str, job_id: str) -> Cleanup | None: ...

    def save_cleanup(self, cleanup: Cleanup) -> None:
        """Write a cleanup that is new with revision 1, and else follows its row."""
        ...

    def drop_cleanup(self, cleanup: Cleanup) -> None:
        """It is over: take the row away that has still this very revision."""
        ...

    def audio_of(self, tenant: str, job_id: str) -> Iterator[tuple[int, str]]:
        """Index and audio key of each segment, also of rows that cannot be understood otherwise."""
        ...

    def users_of(self, audio_key: str) -> Iterator[tuple[str, str]]:
        """Tenant and id of the jobs with a segment of this audio; may be stale, so the job's row decides."""
        ...

    def drop_segments(self, tenant: str, job_id: str, indexes: Sequence[int]) -> None:
        """Take rows away; those that are gone already are no harm."""
        ...

    def segment(self, tenant: str, job_id: str, index: int) -> Segment | None: ...

    def job_and_segment(self, tenant: str, job_id: str, index: int) -> tuple[Job | None, Segment | None]:
        """Both rows in one call."""
        ...

    def job_segment_and_health(
        self, tenant: str, job_id: str, index: int, vendor: str
    ) -> "tuple[Job | None, Segment | None, Health]":
        """Both rows and the vendor's, in one call."""
        ...

    def health(self, vendor: str) -> "Health":
        """How a vendor fares. One that was never written, or whose row is damaged, is well."""
        ...

    def save_health(self, health: "Health") -> None:
        """Write a vendor's row that still has revision `health.rev - 1`; the first one is 1."""
        ...

    def segments(self, tenant: str, job_id: str) -> Iterator[Segment]:
        """All segments, in the order of their indexes."""
        ...

    def save_segment(self, segment: Segment) -> None:
        """Write a segment whose row still has revision `segment.rev - 1`."""
        ...

    def claim_audio(self, segment: Segment, *, until: int, over: Claim | None = None) -> Claim | None:
        """As `save_segment`, and put down that this segment buys its audio, in one transaction. None: it is done.

        Else nothing is written, and the answer is who buys it: somebody other than this segment and `over`. Where
        that cannot be told, for too many ask at once, its `job_id` is empty. Nobody asks for it after `until`.
        """
        ...

    def claim_on(self, segment: Segment) -> Claim | None:
        """Who buys the audio of this segment, if that is written down and it is another segment."""
        ...

    def drop_claims(self, tenant: str, job_id: str, audio_keys: Sequence[str]) -> None:
        """Take away that segments of this job buy these audios; what others buy stays."""
        ...

    def save_segments(self, segments: Sequence[Segment]) -> None:
        """As `save_segment`, a hundred in one transaction; rows that have moved meanwhile stay as they are."""
        ...

    def save_within(
        self,
        segments: Sequence[Segment],
        *,
        change: int,
        limit: int | None,
        stored: int = 0,
        calls: int = 0,
        at: int | None = None,
    ) -> None:
        """As `save_segment` for up to 90 segments of a job, and add to its counters, in one transaction.

        `change` is what the job's budget has then committed more, or less. Raises OverBudget when that would
        be above `limit`; then nothing is written. `at` as in `count`.
        """
        ...

    def store_only(self, job: Job, segment: Segment, *, change: int = 0) -> None:
        """Write a job and its only segment, both following their rows, and count the segment, in one transaction."""
        ...

    def split(
        self, job: Job, shrunk: Segment, added: Sequence[Segment], *, change: int = 0, limit: int | None = None
    ) -> None:
        """Write a job and a segment that follow their rows, and new segments, in one transaction.

        `change` and `limit` as in `save_within`.
        """
        ...

    def save_take(self, job: Job, *, change: int, limit: int | None) -> None:
        """As `save`, with `change` and `limit` as in `save_within`."""
        ...

    def count(
        self,
        tenant: str,
        job_id: str,
        *,
        take: int = 0,
        stored: int = 0,
        failed: int = 0,
        calls: int = 0,
        at: int | None = None,
    ) -> Progress:
        """Add to the counters and return them. Each take has its own; calls and budget are those of the job.

        `at` is when what is counted was stored: the first and the last such moment of a take are kept.
        """
        ...

    def delivery(self, tenant: str, job_id: str) -> Delivery | None: ...

    def job_and_delivery(self, tenant: str, job_id: str) -> tuple[Job | None, Delivery | None]:
        """Both rows in one call."""
        ...

    def save_delivery(self, delivery: Delivery) -> None:
        """Write a delivery whose row still has revision `delivery.rev - 1`."""
        ...

    def due(self, now: int, limit: int) -> Sequence[Due]:
        """What is overdue, oldest first per shard; may be stale, so the row decides."""
        ...

    def quarantine(self, due: Due) -> None:
        """Take a row that cannot be understood out of what comes due, as it is, for a person to look at."""
        ...

    def advance_upload(self, tenant: str, bucket: str, key: str, *, order: str, job_id: str) -> None:
        """Remember the newest job of an object key. An older `order` changes nothing."""
        ...

    def latest_upload(self, tenant: str, bucket: str, key: str) -> str | None:
        """The job id of the newest version of an object key."""
        ...

    def put_api_key(self, record: ApiKeyRecord) -> None: ...

    def api_key(self, tenant: str, key_id: str) -> ApiKeyRecord | None: ...


class Cache(Protocol):
    """What was asked of somebody and is kept for a while. Whatever is lost here is asked again."""

    def recall(self, tenant: str, name: str) -> bytes | None:
        """What was remembered, or None when there is nothing or its time is over."""
        ...

    def remember(self, tenant: str, name: str, data: bytes, *, seconds: int) -> None:
        """Keep it for that long, in place of what was there. Megabytes are not kept."""
        ...


class Policies(Protocol):
    """What the operator decides without a deploy."""

    def policy(self) -> "Policy":
        """What is in force, at most a minute old. Where it cannot be read, the last one that could, or an empty one."""
        ...

    def put(self, policy: "Policy") -> None:
        """Put another one in force, within a minute everywhere."""
        ...


MAX_TEXT_BYTES = 4_000_000
"""Of one text: a million characters, none of which takes more than four bytes."""


class TextStore(Protocol):
    """Texts of jobs, UTF-8, under keys of our own making (`Job.text_id`)."""

    def put_text(self, tenant: str, text_id: str, text: bytes) -> None: ...

    def read_text(self, tenant: str, text_id: str, start: int, end: int) -> bytes:
        """Bytes [start, end). Raises InputGone when the text was erased."""
        ...

    def erase_texts(self, tenant: str, job_id: str) -> None:
        """Every text that was stored under the name of this job."""
        ...


class SegmentStore(Protocol):
    """Verified audio of segments, addressed by content."""

    def find_audio(self, audio_key: str) -> SegmentAudio | None:
        """What is known of the audio under this key, or None."""
        ...

    def put_audio(self, audio_key: str, data: bytes, audio: SegmentAudio) -> SegmentAudio:
        """Store verified audio unless some is there already. Returns what lies under the key now.

        Two workers that speak the same content at once get different takes: the first one stays, and the
        row of the second must describe that one.
        """
        ...

    def read_audio(self, audio_key: str) -> bytes:
        """Raises UnusableAudio("gone") when it is no longer there."""
        ...

    def erase_audio(self, audio_keys: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class InputObject:
    """A dropped file as S3 describes it."""

    bucket: str
    key: str
    version_id: str | None
    size: int
    last_modified: int
    metadata: Mapping[str, str] = field(default_factory=dict)


class InputStore(Protocol):
    """The texts bucket. Read only: nothing here is ever changed or deleted."""

    def describe(self, bucket: str, key: str, version_id: str | None) -> InputObject | None:
        """None when the object is gone."""
        ...

    def read(self, bucket: str, key: str, version_id: str | None, limit: int) -> bytes | None:
        """At most `limit` bytes; None when the object is gone."""
        ...


class Over(NamedTuple):
    """On condition that this lies under a key: what `ResultStore.tag` said of it, or nothing at all."""

    tag: str | None


class ResultStore(Protocol):
    """The audio bucket: what publishers fetch. A write whose condition `over` is refused raises ObjectChanged."""

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        over: Over | None = None,
        progress: Callable[[], None] | None = None,
    ) -> str | None:
        """Upload a file of any size; returns the version id where the bucket is versioned.

        It is there whole or not at all. `progress` is called now and then while a large one is sent.
        """
        ...

    def put_bytes(
        self, key: str, data: bytes, *, content_type: str, metadata: Mapping[str, str], over: Over | None = None
    ) -> str | None: ...

    def tag(self, key: str) -> str | None:
        """What tells the content under a key from another, or None when there is nothing."""
        ...

    def erase(self, key: str, job_id: str) -> None:
        """Every version that was put there with this `job-id` in its metadata. What lay there before comes back."""
        ...

    def delete(self, key: str) -> None: ...

    def link(self, key: str, *, version_id: str | None, filename: str) -> str:
        """A GET link for at most 15 minutes, made for this request and stored nowhere."""
        ...


class Dispatcher(Protocol):
    """The queues. An optimisation: whatever is lost here, `sweep` sends again from the rows."""

    def start(self, vendor: str, messages: "Sequence[StartSegment]", *, delay: float = 0) -> None:
        """`delay` is in seconds, at most 900."""
        ...

    def check(self, message: "CheckSegment", *, delay: float = 0) -> None: ...

    def assemble(self, message: "AssembleAudio") -> None: ...

    def deliver(self, message: "DeliverEvent") -> None: ...


class Keys(Protocol):
    """Secrets, cached at most five minutes."""

    def vendor_keys(self, *, fresh: bool = False) -> Mapping[str, str]:
        """The vendor secret: names as in the environment, for instance VOICEAI_API_KEY."""
        ...

    def signing_key(self) -> bytes:
        """The key under which callback tokens and API key hashes are made."""
        ...

    def signing_keys(self) -> Iterator[bytes]:
        """Under which they may have been made: the same key first, then the one before it, read only if asked for."""
        ...


class EventBus(Protocol):
    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None: ...


class WebhookSender(Protocol):
    def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> int:
        """POST once through the egress guard; returns the status. Raises VendorUnavailable when unreachable."""
        ...
