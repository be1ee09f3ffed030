"""When a narrator has given up: the next one speaks the whole text, where the job allows that; else the job fails."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from speech import jobs, problems, segments
from speech.errors import InputGone, NarratorChanged, OverBudget, StaleWrite, StoreUnavailable
from speech.jobs import Job, JobStatus
from speech.messages import StartSegment
from speech.observability import count, logger
from speech.policy import Standing, standing_of
from speech.ports import MAX_TEXT_BYTES, Clock, Dispatcher, JobStore, Policies, TextStore
from speech.prices import at_most, committed, millionths
from speech.segments import Segment, SegmentStatus
from speech.settings import Settings
from speech.usecases.finish_job import FinishJob
from speech.usecases.plan_segments import plan_segments, preview
from speech.vendors.base import Capabilities

TRIES = 5
"""How often to begin again when job or segments move meanwhile."""

HOLD_SECONDS = 15.0
"""How soon the sweep is to look again whether the last calls of a narrator who gave up have ended."""

BOUGHT_BEFORE = (
    "Parts had been bought already, and speaking the text again with another vendor would buy them twice. "
    "Set `max_cost` to allow that within a limit, or choose the other vendor."
)
NOBODY_LEFT = "None of the other voices could take over: each is retired, or what it may cost is above `max_cost`."


@dataclass(frozen=True, slots=True)
class ChangeNarrator:
    store: JobStore
    texts: TextStore
    dispatcher: Dispatcher
    clock: Clock
    settings: Settings
    finish: FinishJob
    capabilities: Callable[[str], Capabilities]
    policies: Policies

    def __call__(self, job: Job, problem: problems.Problem) -> None:
        """A segment of the take in force has failed for this problem: change the narrator, wait, or fail the job."""
        for _ in range(TRIES):
            if not (job.may_change_narrator and problem.get("vendor")):
                self.finish.fail(job, problem)
                return
            try:
                self._change(job, problem)
            except StaleWrite:
                current = self.store.get(job.tenant, job.id)
                if current is None or current.take != job.take or current.status is not JobStatus.SYNTHESIZING:
                    return  # somebody else has changed or ended it
                job = current
            except InputGone as error:
                self.finish.fail_with(job, error)
                return
            else:
                return
        raise StoreUnavailable("The job is changing too fast; try again shortly.")

    def is_allowed(self, job: Job, segment: Segment) -> bool:
        """Whether somebody else may speak, should this segment fail for nothing; if not, a job had better wait for
        its own narrator."""
        if not job.may_change_narrator:
            return False
        rows: list[Segment] = []
        if job.budget is not None:
            rows = list(self.store.segments(job.tenant, job.id))
        elif _is_any_bought(self.store.segments(job.tenant, job.id)):  # of many rows, not all are read
            return False
        takes = range(job.take + 1, len(job.fallback) + 1)
        return any(self._is_possible(job, take, rows, segment) for take in takes)

    def _is_possible(self, job: Job, take: int, rows: list[Segment], failing: Segment) -> bool:
        """Whether this narrator is in service and within the budget, as far as the pieces of the one in force tell."""
        moved = jobs.next_take(job, take, now=self.clock.now(), due_at=self.clock.now())
        if moved.spec is None or self._is_retired(moved):
            return False
        if job.budget is None:
            return True
        kept = asked = 0
        for row in rows:
            is_own = row.take == job.take
            is_given_up = is_own and (row.status is SegmentStatus.PENDING or row.index == failing.index)
            kept += committed(replace(row, due_at=None) if is_given_up else row)
            if is_own:
                price, speed = moved.price, moved.spec.speed
                asked += millionths(at_most(price, characters=row.characters, read_out=row.read_out, speed=speed))
        return kept + asked <= job.budget

    def resume(self, job: Job) -> None:
        """Write the segments that the take in force lacks: who changed the narrator died before all were there."""
        text = self.texts.read_text(job.tenant, job.text_id, 0, MAX_TEXT_BYTES).decode()
        self._write(job, self._planned(job, text)[1])

    def _change(self, job: Job, problem: problems.Problem) -> None:
        if job.held is None:
            self.store.save(job := jobs.hold(job, problem, due_at=self._after(HOLD_SECONDS)))
        problem = job.held or problem
        rows = self._stopped(job)
        if job.budget is None:
            if _is_any_bought(rows):
                self._fail(job, problem, BOUGHT_BEFORE)
                return
            if any(_is_open(row) and row.take == job.take for row in rows):
                # What these calls come to decides whether another narrator would buy anything twice.
                self.store.save(jobs.hold(job, problem, due_at=self._after(HOLD_SECONDS)))
                return
        self._next(job, problem)

    def _stopped(self, job: Job) -> list[Segment]:
        """All rows of the job, once none of this take can be claimed any more."""
        for _ in range(TRIES):
            rows = list(self.store.segments(job.tenant, job.id))
            waiting = [
                row
                for row in rows
                if row.take == job.take and row.status is SegmentStatus.PENDING and row.due_at is not None
            ]
            if not waiting:
                return rows
            self.finish.save_segments(job, [(row, segments.postpone(row, due_at=None)) for row in waiting])
        raise StoreUnavailable("The job's segments are changing too fast; try again shortly.")

    def _next(self, job: Job, problem: problems.Problem) -> None:
        text = self.texts.read_text(job.tenant, job.text_id, 0, MAX_TEXT_BYTES).decode()
        now = self.clock.now()
        for take in range(job.take + 1, len(job.fallback) + 1):
            moved = jobs.next_take(job, take, now=now, due_at=self._after(self.settings.lease_seconds))
            if self._is_retired(moved):
                continue
            moved, rows = self._planned(moved, text)
            moved = replace(moved, segments_total=len(rows))
            try:
                if job.budget is None:
                    self.store.save(moved)
                elif any(row.reserved is None for row in rows):
                    continue
                else:
                    self.store.save_take(moved, change=sum(map(committed, rows)), limit=job.budget)
            except OverBudget:
                continue
            count("NarratorsChanged")
            logger.warning("narrator changed", extra={"job_id": job.id, "take": take, "why": moved.why})
            self._write(moved, rows)
            return
        self._fail(job, problem, NOBODY_LEFT)

    def _planned(self, job: Job, text: str) -> tuple[Job, list[Segment]]:
        if job.spec is None:
            return job, []
        limit = self.capabilities(job.spec.vendor).limit_for(job.spec.vendor_options)
        rows = plan_segments(job, job.spec, text, limit=limit, due_at=self._after(self.settings.lease_seconds))
        return preview(job, job.spec, rows, text)

    def _write(self, job: Job, rows: list[Segment]) -> None:
        """The rows after the job that they belong to: its budget is theirs, and what is missing the sweep adds."""
        self.store.add_segments(rows)
        if job.spec is not None:
            vendor = job.spec.vendor
            self.dispatcher.start(vendor, [StartSegment(row.tenant, row.job_id, row.index, vendor) for row in rows])

    def _is_retired(self, job: Job) -> bool:
        if job.spec is None:
            return True
        policy, now = self.policies.policy(), self.clock.now()
        standing = standing_of(policy, self.settings, job.spec.vendor, job.spec.voice, {}, now).standing
        return standing is Standing.RETIRED

    def _fail(self, job: Job, problem: problems.Problem, why: str) -> None:
        self.finish.fail(job, {**problem, "detail": f"{problem.get('detail', '')} {why}".strip()})

    def _after(self, seconds: float) -> int:
        return self.clock.now() + int(seconds * 1000)


def overtaken(job: Job) -> problems.Problem:
    """Why a segment of an earlier take was given up."""
    return problems.problem_from(NarratorChanged(), job_id=job.id)


def _is_any_bought(rows: Iterable[Segment]) -> bool:
    return any(attempt.outcome and attempt.may_be_billed for row in rows for attempt in row.attempts)


def _is_open(segment: Segment) -> bool:
    return segment.status in (SegmentStatus.CALLING, SegmentStatus.WAITING)
