"""The truth in memory: a job store with the conditions of the real one, and nothing of its network."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count

from speech.errors import OverBudget, StaleWrite
from speech.health import Health
from speech.jobs import Job, Progress
from speech.ports import ApiKeyRecord, Cleanup, Delivery, Due
from speech.segments import Claim, Segment
from tests.fakes.faults import Faulty

MOST_SEGMENTS_AT_CREATION = 90

Entry = Job | Segment | Delivery | Cleanup


class FakeJobStore(Faulty):
    """Thread-safe. `put` places rows for a test's "given", without any condition."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[tuple[str, str], Job] = {}
        self._segments: dict[tuple[str, str], dict[int, Segment]] = {}
        self._deliveries: dict[tuple[str, str], Delivery] = {}
        self._progress: dict[tuple[str, str, int], Progress] = {}
        self._sums: dict[tuple[str, str], tuple[int, int]] = {}
        self._uploads: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._keys: dict[tuple[str, str], ApiKeyRecord] = {}
        self._cleanups: dict[tuple[str, str], Cleanup] = {}
        self._quarantined: set[Due] = set()
        self._health: dict[str, Health] = {}
        self._claims: dict[tuple[str, str], Claim] = {}
        self._tokens = count()

    def put(self, *rows: Job | Segment | Delivery | Cleanup) -> None:
        with self._lock:
            for row in rows:
                if isinstance(row, Job):
                    self._jobs[row.tenant, row.id] = row
                elif isinstance(row, Segment):
                    self._of(row)[row.index] = row
                elif isinstance(row, Cleanup):
                    self._cleanups[row.tenant, row.job_id] = row
                else:
                    self._deliveries[row.tenant, row.job_id] = row

    def jobs(self) -> list[Job]:
        """Every job, in the order of creation."""
        with self._lock:
            return list(self._jobs.values())

    def _of(self, segment: Segment) -> dict[int, Segment]:
        return self._segments.setdefault((segment.tenant, segment.job_id), {})

    def create(
        self, job: Job, segments: Sequence[Segment] = (), *, delivery: Delivery | None = None, committed: int = 0
    ) -> bool:
        if len(segments) > MOST_SEGMENTS_AT_CREATION:
            raise ValueError(f"{len(segments)} segments do not fit into the transaction that creates a job.")
        with self._call("create"):
            if (job.tenant, job.id) in self._jobs:
                return False
            self.put(job, *segments)
            if delivery is not None:
                self.put(delivery)
            self._commit(job.tenant, job.id, committed, None)
            return True

    def add_segments(self, segments: Sequence[Segment]) -> None:
        with self._call("add_segments"):
            for segment in segments:
                self._of(segment).setdefault(segment.index, segment)

    def get(self, tenant: str, job_id: str) -> Job | None:
        with self._call("get"):
            return self._jobs.get((tenant, job_id))

    def progress(self, tenant: str, job_id: str, take: int = 0) -> Progress:
        with self._call("progress"):
            return self._counted(tenant, job_id, take)

    def save(self, job: Job) -> None:
        with self._call("save"):
            self._expect(self._jobs.get((job.tenant, job.id)), job)
            self.put(job)

    def finish(self, job: Job, delivery: Delivery, cleanup: Cleanup | None = None) -> None:
        with self._call("finish"):
            self._expect(self._jobs.get((job.tenant, job.id)), job)
            if (delivery.tenant, delivery.job_id) in self._deliveries:
                raise StaleWrite("The job was finished before.")
            self.put(job, delivery, *([cleanup] if cleanup else []))

    def erase(self, tombstone: Job, delivery: Delivery | None, cleanup: Cleanup) -> None:
        with self._call("erase"):
            self._expect(self._jobs.get((tombstone.tenant, tombstone.id)), tombstone)
            self._expect_or_new(self._cleanups.get((cleanup.tenant, cleanup.job_id)), cleanup)
            if delivery is not None:
                self._expect(self._deliveries.get((delivery.tenant, delivery.job_id)), delivery)
                self.put(delivery)
            self.put(tombstone, cleanup)

    def cleanup(self, tenant: str, job_id: str) -> Cleanup | None:
        with self._call("cleanup"):
            return self._cleanups.get((tenant, job_id))

    def save_cleanup(self, cleanup: Cleanup) -> None:
        with self._call("save_cleanup"):
            self._expect_or_new(self._cleanups.get((cleanup.tenant, cleanup.job_id)), cleanup)
            self.put(cleanup)

    def drop_cleanup(self, cleanup: Cleanup) -> None:
        with self._call("drop_cleanup"):
            row = self._cleanups.get((cleanup.tenant, cleanup.job_id))
            if row is not None and row.rev != cleanup.rev:
                raise StaleWrite("The row is not what it was when it was read.")
            self._cleanups.pop((cleanup.tenant, cleanup.job_id), None)

    def audio_of(self, tenant: str, job_id: str) -> Iterator[tuple[int, str]]:
        with self._call("audio_of"):
            rows = sorted(self._segments.get((tenant, job_id), {}).items())
            return iter([(index, segment.audio_key) for index, segment in rows])

    def users_of(self, audio_key: str) -> Iterator[tuple[str, str]]:
        with self._call("users_of"):
            return iter(
                [
                    job
                    for job, segments in self._segments.items()
                    for segment in segments.values()
                    if segment.audio_key == audio_key
                ]
            )

    def drop_segments(self, tenant: str, job_id: str, indexes: Sequence[int]) -> None:
        with self._call("drop_segments"):
            for index in indexes:
                self._segments.get((tenant, job_id), {}).pop(index, None)

    def segment(self, tenant: str, job_id: str, index: int) -> Segment | None:
        with self._call("segment"):
            return self._segments.get((tenant, job_id), {}).get(index)

    def job_and_segment(self, tenant: str, job_id: str, index: int) -> tuple[Job | None, Segment | None]:
        with self._call("job_and_segment"):
            return self._jobs.get((tenant, job_id)), self._segments.get((tenant, job_id), {}).get(index)

    def job_segment_and_health(
        self, tenant: str, job_id: str, index: int, vendor: str
    ) -> tuple[Job | None, Segment | None, Health]:
        with self._call("job_segment_and_health"):
            return (
                self._jobs.get((tenant, job_id)),
                self._segments.get((tenant, job_id), {}).get(index),
                self._health.get(vendor, Health(vendor)),
            )

    def health(self, vendor: str) -> Health:
        with self._call("health"):
            return self._health.get(vendor, Health(vendor))

    def save_health(self, health: Health) -> None:
        with self._call("save_health"):
            if self._health.get(health.vendor, Health(health.vendor)).rev != health.rev - 1:
                raise StaleWrite("The row is not what it was when it was read.")
            self._health[health.vendor] = health

    def segments(self, tenant: str, job_id: str) -> Iterator[Segment]:
        with self._call("segments"):
            return iter([segment for _, segment in sorted(self._segments.get((tenant, job_id), {}).items())])

    def save_segment(self, segment: Segment) -> None:
        with self._call("save_segment"):
            self._expect(self._of(segment).get(segment.index), segment)
            self.put(segment)

    def claim_audio(self, segment: Segment, *, until: int, over: Claim | None = None) -> Claim | None:
        with self._call("claim_audio"):
            self._expect(self._of(segment).get(segment.index), segment)
            there = self._claims.get((segment.tenant, segment.audio_key))
            is_own = there is not None and (there.job_id, there.segment) == (segment.job_id, segment.index)
            if there is not None and not is_own and there != over:
                return there
            claim = Claim(segment.job_id, segment.index, f"token-{next(self._tokens)}")
            self._claims[segment.tenant, segment.audio_key] = claim
            self.put(segment)
            return None

    def claim_on(self, segment: Segment) -> Claim | None:
        with self._call("claim_on"):
            claim = self._claims.get((segment.tenant, segment.audio_key))
            return None if claim and (claim.job_id, claim.segment) == (segment.job_id, segment.index) else claim

    def drop_claims(self, tenant: str, job_id: str, audio_keys: Sequence[str]) -> None:
        with self._call("drop_claims"):
            for key in audio_keys:
                claim = self._claims.get((tenant, key))
                if claim is not None and claim.job_id == job_id:
                    del self._claims[tenant, key]

    def save_segments(self, segments: Sequence[Segment]) -> None:
        with self._call("save_segments"):
            for segment in segments:
                with suppress(StaleWrite):
                    self._expect(self._of(segment).get(segment.index), segment)
                    self.put(segment)

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
        with self._call("save_within"):
            for each in segments:
                self._expect(self._of(each).get(each.index), each)
            first = segments[0]
            self._commit(first.tenant, first.job_id, change, limit)
            self.put(*segments)
            self._add(first.tenant, first.job_id, first.take, stored=stored, failed=0, calls=calls, at=at)

    def store_only(self, job: Job, segment: Segment, *, change: int = 0) -> None:
        with self._call("store_only"):
            self._expect(self._jobs.get((job.tenant, job.id)), job)
            self._expect(self._of(segment).get(segment.index), segment)
            self._commit(job.tenant, job.id, change, None)
            self.put(job, segment)
            self._add(job.tenant, job.id, segment.take, stored=1, failed=0, calls=segment.calls)

    def split(
        self, job: Job, shrunk: Segment, added: Sequence[Segment], *, change: int = 0, limit: int | None = None
    ) -> None:
        with self._call("split"):
            self._expect(self._jobs.get((job.tenant, job.id)), job)
            self._expect(self._of(shrunk).get(shrunk.index), shrunk)
            if any(each.index in self._of(each) for each in added):
                raise StaleWrite("A segment of that index is there already.")
            self._commit(job.tenant, job.id, change, limit)
            self.put(job, shrunk, *added)

    def save_take(self, job: Job, *, change: int, limit: int | None) -> None:
        with self._call("save_take"):
            self._expect(self._jobs.get((job.tenant, job.id)), job)
            self._commit(job.tenant, job.id, change, limit)
            self.put(job)

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
        with self._call("count"):
            return self._add(tenant, job_id, take, stored=stored, failed=failed, calls=calls, at=at)

    def _add(
        self, tenant: str, job_id: str, take: int, *, stored: int, failed: int, calls: int, at: int | None = None
    ) -> Progress:
        old = self._progress.get((tenant, job_id, take), Progress())
        self._progress[tenant, job_id, take] = Progress(
            stored=old.stored + stored,
            failed=old.failed + failed,
            first_at=at if old.first_at is None else old.first_at,
            last_at=old.last_at if at is None else at,
        )
        all_calls, committed = self._sums.get((tenant, job_id), (0, 0))
        self._sums[tenant, job_id] = (all_calls + calls, committed)
        return self._counted(tenant, job_id, take)

    def _commit(self, tenant: str, job_id: str, change: int, limit: int | None) -> None:
        calls, committed = self._sums.get((tenant, job_id), (0, 0))
        if limit is not None and committed + change > limit:
            raise OverBudget("The job's max_cost leaves no room for what this may cost.")
        self._sums[tenant, job_id] = (calls, committed + change)

    def _counted(self, tenant: str, job_id: str, take: int) -> Progress:
        calls, committed = self._sums.get((tenant, job_id), (0, 0))
        return replace(self._progress.get((tenant, job_id, take), Progress()), calls=calls, committed=committed)

    def delivery(self, tenant: str, job_id: str) -> Delivery | None:
        with self._call("delivery"):
            return self._deliveries.get((tenant, job_id))

    def job_and_delivery(self, tenant: str, job_id: str) -> tuple[Job | None, Delivery | None]:
        with self._call("job_and_delivery"):
            return self._jobs.get((tenant, job_id)), self._deliveries.get((tenant, job_id))

    def save_delivery(self, delivery: Delivery) -> None:
        with self._call("save_delivery"):
            self._expect(self._deliveries.get((delivery.tenant, delivery.job_id)), delivery)
            self.put(delivery)

    def due(self, now: int, limit: int) -> Sequence[Due]:
        with self._call("due"):
            found = [
                *((job.due_at, Due("job", job.tenant, job.id)) for job in self._jobs.values()),
                *(
                    (segment.due_at, Due("segment", segment.tenant, segment.job_id, segment.index))
                    for segments in self._segments.values()
                    for segment in segments.values()
                ),
                *((each.due_at, Due("delivery", each.tenant, each.job_id)) for each in self._deliveries.values()),
                *((each.due_at, Due("cleanup", each.tenant, each.job_id)) for each in self._cleanups.values()),
            ]
            overdue = [
                (due_at, due)
                for due_at, due in found
                if due_at is not None and due_at <= now and due not in self._quarantined
            ]
            return [due for _, due in sorted(overdue, key=lambda each: each[0])][:limit]

    def quarantine(self, due: Due) -> None:
        with self._call("quarantine"):
            self._quarantined.add(due)

    def advance_upload(self, tenant: str, bucket: str, key: str, *, order: str, job_id: str) -> None:
        with self._call("advance_upload"):
            newest = self._uploads.get((tenant, bucket, key))
            if newest is None or newest[0] < order:
                self._uploads[tenant, bucket, key] = (order, job_id)

    def latest_upload(self, tenant: str, bucket: str, key: str) -> str | None:
        with self._call("latest_upload"):
            newest = self._uploads.get((tenant, bucket, key))
            return None if newest is None else newest[1]

    def put_api_key(self, record: ApiKeyRecord) -> None:
        with self._call("put_api_key"):
            self._keys[record.tenant, record.key_id] = record

    def api_key(self, tenant: str, key_id: str) -> ApiKeyRecord | None:
        with self._call("api_key"):
            return self._keys.get((tenant, key_id))

    def _expect_or_new(self, row: Cleanup | None, new: Cleanup) -> None:
        if row is not None or new.rev != 1:
            self._expect(row, new)

    @staticmethod
    def _expect(row: Entry | None, new: Entry) -> None:
        if row is None or row.rev != new.rev - 1:
            raise StaleWrite("The row is not what it was when it was read.")
