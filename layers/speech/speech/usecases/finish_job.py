"""Bring a job to its end, or one step nearer: the writes that every verb shares."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from speech import jobs, problems
from speech.errors import CorruptRow, DeadlineExceeded, SpeechError, StaleWrite, StoreUnavailable
from speech.jobs import Cost, Job, JobStatus
from speech.messages import AssembleAudio, DeliverEvent
from speech.observability import count, logger
from speech.ports import Cleanup, Clock, Delivery, Dispatcher, JobStore
from speech.prices import committed
from speech.resource import rendered_in_words
from speech.results import result_keys
from speech.segments import Segment, SegmentStatus
from speech.settings import Settings

TRIES = 5
"""How often to begin again when a row moves meanwhile."""


MOST_AT_ONCE = 90
"""As many rows as fit into a transaction beside the counters of their job."""


@dataclass(frozen=True, slots=True)
class FinishJob:
    store: JobStore
    dispatcher: Dispatcher
    clock: Clock
    settings: Settings

    def save_segment(self, job: Job, before: Segment, after: Segment) -> None:
        """Write a segment, together with what that means for the budget of its job.

        Raises OverBudget when it would reserve more than the job may cost; then nothing is written.
        """
        change = budget_change(job, before, after)
        if change:
            self.store.save_within([after], change=change, limit=None if after.is_terminal else job.budget)
        else:
            self.store.save_segment(after)

    def save_segments(self, job: Job, changes: Sequence[tuple[Segment, Segment]]) -> None:
        """As `save_segment` for rows of one job that reserve no more than before, each before and after; rows that
        have moved meanwhile stay."""
        if job.budget is None:
            self.store.save_segments([after for _, after in changes])
            return
        for first in range(0, len(changes), MOST_AT_ONCE):
            some = changes[first : first + MOST_AT_ONCE]
            try:
                freed = sum(budget_change(job, before, after) for before, after in some)
                self.store.save_within([after for _, after in some], change=freed, limit=None)
            except StaleWrite:  # one of them has moved
                for before, after in some:
                    with suppress(StaleWrite):
                        self.save_segment(job, before, after)

    def store_segment(self, job: Job, before: Segment, after: Segment) -> None:
        """Write a segment whose audio is stored, and count it; the last one starts the assembly."""
        change = budget_change(job, before, after)
        if job.segments_total == 1 and job.status is JobStatus.SYNTHESIZING:
            begun = self._begun(job)
            try:
                self.store.store_only(begun, after, change=change)
            except StaleWrite:
                pass  # one of the two has moved, and the steps below tell which
            else:
                self._assemble(begun)
                return
        tenant, job_id, take, calls, now = after.tenant, after.job_id, after.take, after.calls, self.clock.now()
        if change:
            self.store.save_within([after], change=change, limit=None, stored=1, calls=calls, at=now)
            progress = self.store.progress(tenant, job_id, take)
        else:
            self.store.save_segment(after)
            progress = self.store.count(tenant, job_id, take=take, stored=1, calls=calls, at=now)
        if job.segments_total is not None and progress.stored >= job.segments_total:
            self.assemble_when_ready(job)

    def assemble_when_ready(self, job: Job, segments: Iterable[Segment] | None = None) -> bool:
        """synthesizing → assembling if the rows agree that every segment is stored."""
        rows = self.store.segments(job.tenant, job.id) if segments is None else segments
        stored = sum(row.status is SegmentStatus.STORED and row.take == job.take for row in rows)
        if job.status is not JobStatus.SYNTHESIZING or stored != job.segments_total:
            return False
        begun = self._begun(job)
        try:
            self.store.save(begun)
        except StaleWrite:
            # The job moved since it was read: it may have got more segments, so its rows are counted anew.
            current = self.store.get(job.tenant, job.id)
            return current is not None and current.rev != job.rev and self.assemble_when_ready(current)
        self._assemble(begun)
        return True

    def _begun(self, job: Job) -> Job:
        now = self.clock.now()
        return jobs.begin_assembly(job, now=now, due_at=now + self._lease_ms())

    def _assemble(self, job: Job) -> None:
        self.dispatcher.assemble(AssembleAudio(tenant=job.tenant, job_id=job.id))

    def fail(self, job: Job, problem: problems.Problem) -> None:
        """→ failed, with its problem, its cost so far and the outbox row, in one write."""
        now = self.clock.now()
        cost = self._cost(job)
        problem = {**problem, "job_id": job.id}
        try:
            self._end(jobs.fail(job, problem, cost=cost, now=now), self._taken_back(job))
        except StaleWrite:
            current = self.store.get(job.tenant, job.id)
            if current is None or current.is_terminal or current.take != job.take:
                return
            self._end(jobs.fail(current, problem, cost=cost, now=now), self._taken_back(current))

    def fail_with(self, job: Job, error: SpeechError) -> None:
        self.fail(job, problems.problem_from(error, job_id=job.id))

    def fail_by_deadline(self, job: Job) -> None:
        """The job is out of time. What it was last waiting for says more than the clock does."""
        count("JobsPastDeadline")
        try:
            # Not those of a narrator who gave up: nobody has been waiting for that one.
            rows = [row for row in self.store.segments(job.tenant, job.id) if row.take == job.take]
        except CorruptRow:
            rows = []
        waiting_for = job.held or next((row.problem for row in rows if not row.is_terminal and row.problem), None)
        if waiting_for is not None:
            self.fail(job, {**waiting_for, "detail": f"{waiting_for['detail']} The job's deadline has passed."})
            return
        self.fail_with(job, DeadlineExceeded("The job did not finish in the time that this stack allows for a job."))

    def complete(self, job: Job) -> None:
        self._end(job)

    def cancel(self, job: Job) -> Job:
        """→ cancelled, with its cost so far and the outbox row, in one write. Raises StaleWrite when the job moved."""
        cancelled = jobs.cancel(job, cost=self._cost(job), now=self.clock.now())
        self._end(cancelled, self._taken_back(job))
        return cancelled

    def take_back(self, job: Job, keys: Sequence[str]) -> None:
        """What this job has put under these keys is to be taken away."""
        for _ in range(TRIES):
            now = self.clock.now()
            begun = self.store.cleanup(job.tenant, job.id)
            cleanup = Cleanup(tenant=job.tenant, job_id=job.id, until=now, due_at=now, keys=tuple(keys))
            if begun is not None:
                both = tuple(dict.fromkeys((*begun.keys, *keys)))
                cleanup = replace(begun, rev=begun.rev + 1, due_at=now, keys=both)
            with suppress(StaleWrite):  # the sweep is at it
                self.store.save_cleanup(cleanup)
                return
        raise StoreUnavailable("The job's cleanup is changing too fast; try again shortly.")

    def _taken_back(self, job: Job) -> Cleanup | None:
        """For a job that ends otherwise while it is being assembled: its assembler may have published already."""
        if job.status is not JobStatus.ASSEMBLING or job.lease_token is None:
            return None
        until = max(self.clock.now(), job.lease_until or 0)
        return Cleanup(tenant=job.tenant, job_id=job.id, until=until, due_at=until, keys=result_keys(job))

    def _cost(self, job: Job) -> Cost:
        """From the rows; where one cannot be read, from the counters: a job must end all the same."""
        try:
            return jobs.cost_of(self.store.segments(job.tenant, job.id))
        except CorruptRow:
            return Cost(vendor_calls=self.store.progress(job.tenant, job.id).calls)

    def _end(self, job: Job, cleanup: Cleanup | None = None) -> None:
        now = self.clock.now()
        delivery = Delivery(tenant=job.tenant, job_id=job.id, due_at=now + self._lease_ms(), webhook=job.webhook_url)
        self.store.finish(job, delivery, cleanup)
        count(f"Jobs{job.status.value.capitalize()}")
        logger.info(
            "job ended",
            extra={
                "job_id": job.id,
                "status": job.status.value,
                "problem": (job.problem or {}).get("code"),
                "vendor": job.spec.vendor if job.spec else None,
                "characters": job.characters,
                "vendor_calls": job.cost.vendor_calls if job.cost else None,
                "rendered": rendered_in_words(job),
            },
        )
        self.dispatcher.deliver(DeliverEvent(tenant=job.tenant, job_id=job.id))

    def _lease_ms(self) -> int:
        return int(self.settings.lease_seconds * 1000)


def budget_change(job: Job, before: Segment, *after: Segment) -> int:
    """What the budget of this job commits more, or less, when this row becomes those; always 0 without a budget."""
    return 0 if job.budget is None else sum(map(committed, after)) - committed(before)
