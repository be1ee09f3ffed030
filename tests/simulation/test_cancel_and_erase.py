"""Jobs are cancelled and erased at any moment, in worlds where everything fails, dies and repeats.

F6, F7, A14, I2, I3, I7, I11, I14, I17: nothing is claimed after the answer to a cancel; of an erased job nothing is
left but its tombstone; of a job that did not complete there is no audio; and the others lose nothing.
"""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from speech.jobs import Job, JobStatus
from tests.simulation.test_worlds import CALM
from tests.support.edge import event
from tests.support.prove import promised
from tests.support.sim import invariants
from tests.support.sim.laboratory import Laboratory
from tests.support.sim.machine import Worker
from tests.support.sim.watch import Key, Violated, Watch, require
from tests.support.sim.workload import circumstances_of, orders_of, plan_of
from tests.support.sim.world import UPLOAD, Order, World

WORLDS = promised(full=100, usual=8)
SEED = 40_000

CANCEL, DELETE = "api_cancel_job", "api_delete_job"


class WatchOfErasures(Watch):
    """Knows that a job's row may become a tombstone, and that audio may go with another job."""

    def __init__(self, like: Watch) -> None:
        vars(self).update(vars(like))
        self.cancelled_at: dict[str, float] = {}

    def _wrote(self, row: Mapping[str, Any]) -> None:
        name = (row["pk"]["S"], row["sk"]["S"])
        if name[1] == "cleanup" and "due_at" in row:
            self.due[name] = int(row["due_at"]["N"])
        super()._wrote(row)

    def _job(self, before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> None:
        if before is not None and "erased_at" in row and "erased_at" not in before:
            require(row["status"] == before["status"], "I2", "an erasure changed how a job had ended")
            return
        super()._job(before, row)

    def _segment(self, name: Key, before: Mapping[str, Any] | None, row: Mapping[str, Any]) -> None:
        if before is not None and before["status"]["S"] == "stored" and row["status"]["S"] == "pending":
            require("audio" not in row, "I2", "a segment that was stored went back with its audio")
            return
        super()._segment(name, before, row)

    def _claimed(self, name: Key) -> None:
        answered = self.cancelled_at.get(name[0].rpartition("#")[2])
        require(answered is None, "I11", f"{name[1]} was claimed after the answer to a cancel")
        super()._claimed(name)


class Interfered(World):
    """Somebody cancels or erases some of what others want, and asks again until there is an answer."""

    def __init__(self, lab: Laboratory, seed: int) -> None:
        orders = [replace(order, cancel=None) for order in orders_of(seed, repeats=True)]  # that is done here
        super().__init__(
            lab, plan_of(seed, faulty=seed % CALM != 0), orders, circumstances_of(seed, orders, faulty=True)
        )
        self.watch: WatchOfErasures = WatchOfErasures(self.watch)
        self.cloud.effect = self.watch.effect
        self.dice = random.Random(f"interference {seed}")
        self.erased: set[str] = set()
        self.names: dict[str, str] = {}
        for order in orders:
            for what in self.dice.choice(((), (CANCEL,), (DELETE,), (CANCEL, DELETE), (DELETE, DELETE))):
                self._owed += 1
                at = order.at + self.dice.choice((1.0, 20.0, 100.0, 1_000.0)) * self.dice.random()
                self.machine.after(at, lambda order=order, what=what: self._interfere(order, what))  # type: ignore[misc] # its own each

    def _interfere(self, order: Order, what: str) -> None:
        job_id = self.names.get(order.name) or self._job_id(order)
        if job_id is None:
            self.machine.after(5.0, lambda: self._interfere(order, what))
            return
        self.names[order.name] = job_id
        path = f"/v1/jobs/{job_id}" + ("/cancel" if what == CANCEL else "")
        sent = event(what)
        sent["headers"]["authorization"] = f"Bearer {self.lab.api_token}"
        sent["rawPath"] = sent["requestContext"]["http"]["path"] = path
        worker = self._start("jobs_api", f"{what} {order.name}", sent)
        self._when_done(worker, lambda worker: self._settled(order, what, job_id, worker))

    def _settled(self, order: Order, what: str, job_id: str, worker: Worker) -> None:
        answer = worker.answer if worker.error is None else None
        status = answer["statusCode"] if answer else 502
        if status in (502, 503):
            self.machine.after(2.0, lambda: self._interfere(order, what))
            return
        expected = (204,) if what == DELETE else (200, 409, 404)
        require(status in expected, "F7", f"{what} was answered {status}")
        require(status != 404 or job_id in self.erased or self._is_erased(job_id), "F6", "a job was not found")
        if status == 204:
            self.erased.add(job_id)
        elif status == 200:
            self.watch.cancelled_at.setdefault(job_id, self.lab.clock.now)
        self._owed -= 1

    def _answered(self, order: Order, number: int, worker: Worker) -> None:
        """The key of a job that was erased before its first answer was heard is answered 409."""
        answer = worker.answer if worker.error is None else None
        if answer and answer["statusCode"] == 409 and self.names.get(order.name) is not None:
            require(json.loads(answer["body"])["code"] == "job-erased", "A14", "a key was refused for another reason")
            self._owed -= number == 1 or order.name not in self._repeating
            return
        super()._answered(order, number, worker)

    def _is_erased(self, job_id: str) -> bool:
        return any(job.id == job_id and job.erased_at is not None for job in self.watch.jobs())

    def _job_id(self, order: Order) -> str | None:
        for job in self.watch.jobs():
            if order.name == job.request_id or (order.way == UPLOAD and order.key == job.source.key):
                return job.id
        return None


def check(world: Interfered) -> None:
    jobs = {job.id: job for job in world.watch.jobs()}
    require(len(jobs) == len(world.orders), "I1", f"{len(jobs)} jobs for {len(world.orders)} orders")
    for job in jobs.values():
        require(job.is_terminal, "I14", f"a job is {job.status}")
        require((job.erased_at is not None) == (job.id in world.erased), "F7", "a tombstone is not what was asked for")
    for order in world.orders:
        job = jobs[world.names.get(order.name) or str(world._job_id(order))]
        if job.status is JobStatus.COMPLETED and job.erased_at is None:
            invariants._spoken(world, order, job)
    invariants._nothing_hangs(world)
    invariants._silence(world)
    _nothing_of_the_erased(world, jobs)
    _only_completed_jobs_have_audio(world, jobs)


def _nothing_of_the_erased(world: Interfered, jobs: Mapping[str, Job]) -> None:
    rows = list(world.lab.moto.rows(world.table))
    left = {(row["pk"]["S"].rpartition("#")[2], row["sk"]["S"]) for row in rows}
    for job_id in world.erased:
        kinds = {sort for owner, sort in left if owner == job_id}
        require(kinds <= {"job", "progress", "delivery"}, "F7", f"an erased job has {sorted(kinds)}")
    work = invariants._work_bucket(world)
    for key in world.lab.moto.keys(work):
        if key.startswith("texts/"):
            require(not any(job_id in key for job_id in world.erased), "F7", "the text of an erased job")
    used = {row["audio_key"]["S"] for row in rows if "audio_key" in row}
    held = {key.removeprefix("segments/") for key in world.lab.moto.keys(work) if key.startswith("segments/")}
    require(held <= used, "F7", "audio that no job uses any more")
    canaries = {word for order in world.orders if _id_of(world, order) in world.erased for word in _words(order)}
    kept = {word for order in world.orders if _id_of(world, order) not in world.erased for word in _words(order)}
    for word in canaries - kept:
        require(word not in json.dumps(rows), "F7", "a word of an erased job is in a row")


def _only_completed_jobs_have_audio(world: Interfered, jobs: Mapping[str, Job]) -> None:
    for key, owner in _published(world):
        job = jobs.get(owner)
        require(job is not None and job.erased_at is None, "F7", f"a result of an erased job: {key[-20:]}")
        if job is not None and not key.endswith(".error.md"):
            require(job.status is JobStatus.COMPLETED, "I3", f"a {job.status} job has a result: {key[-20:]}")


def _published(world: Interfered) -> Iterator[tuple[str, str]]:
    """Every version of every result, and the job that put it there."""
    bucket = world.lab.moto._buckets[world.audio_bucket]
    for key in list(bucket.keys.keys()):
        for version in bucket.keys.getlist(key):
            if hasattr(version, "value"):
                yield key, version.metadata["x-amz-meta-job-id"]


def _id_of(world: Interfered, order: Order) -> str | None:
    return world.names.get(order.name) or world._job_id(order)


def _words(order: Order) -> set[str]:
    return {order.name, *invariants.canaries(order)}


@pytest.mark.parametrize("seed", range(SEED, SEED + WORLDS))
def test_f6_f7_jobs_that_are_cancelled_and_erased_at_any_moment_leave_nothing_hanging(
    lab: Laboratory, seed: int
) -> None:
    world = Interfered(lab, seed)

    try:
        check(world.run())  # type: ignore[arg-type]  # it is itself that it returns
    except Violated as violation:
        pytest.fail(f"seed {seed}: {violation}\n" + "\n".join(map(str, world.machine.trace[-60:])), pytrace=False)
