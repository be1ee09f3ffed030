"""Results in their place: never over those of a newer version, none of a job that did not complete (F8, I3)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from speech import jobs
from speech.errors import StoreUnavailable
from speech.jobs import Job, JobStatus, Source
from speech.settings import TENANT
from tests.fakes import FakeResultStore, a_problem
from tests.fakes.stores import PublishedObject
from tests.support.world import World

FILE = "a/b.txt"
OLDER = "job_0000000000000000000000000A"
NEWER = "job_0000000000000000000000000B"
SUFFIXES = ("mp3", "vtt", "srt", "manifest.json")
PUTS = 4
"""How often an assembler writes to the bucket."""


class Interrupted(FakeResultStore):
    """Before or after one of the calls something else happens."""

    def __init__(self) -> None:
        super().__init__()
        self.at: int | None = None
        self.after = False
        self.happens: Callable[[], None] = lambda: None
        self.made = 0

    def _put(self, key: str, data: bytes, *rest: Any) -> str:
        is_the_one = self.at is not None and self.made >= self.at
        self.made += 1
        if is_the_one and not self.after:
            self.happens()
        version = super()._put(key, data, *rest)
        if is_the_one and self.after:
            self.happens()
        return version


def a_drop(world: World, job_id: str, text: str, order: str, *, version: str) -> Job:
    """A version of the file that was just taken in, and whose segment's message is on its queue."""
    world.store.advance_upload(TENANT, "texts", FILE, order=order, job_id=job_id)
    source = Source("upload", "texts", FILE, version)
    return world.a_synthesizing_job(text, id=job_id, text_id=job_id, source=source)


def of(world: World, suffix: str) -> str | None:
    """Whose result stands under the file's name."""
    found: PublishedObject | None = world.results.objects.get(f"{FILE}.{suffix}")
    return None if found is None else found.metadata["job-id"]


def a_world() -> tuple[World, Interrupted]:
    results = Interrupted()
    return World(results=results), results


@pytest.mark.parametrize("same", [False, True], ids=["another-text", "the-same-text"])
@pytest.mark.parametrize("before_that", [False, True], ids=["first", "re-drop"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(PUTS))
def test_f8_a_version_that_is_overtaken_while_it_publishes_ends_up_elsewhere(
    at: int, after: bool, before_that: bool, same: bool
) -> None:
    world, results = a_world()
    text = "The newer text, which has some more words. "
    if before_that:
        a_drop(world, "job_0000000000000000000000000C", text, "0", version="v0")
        world.run_with_sweeps(seconds=120)
    a_drop(world, OLDER, "The older text. ", "1", version="v1")
    start = world.dispatcher.take()

    def the_newer_one_is_dropped_and_spoken() -> None:
        results.at = None
        a_drop(world, NEWER, text if same else "Another text for the same file. ", "2", version="v2")
        waiting, world.waiting = world.waiting, []
        world.run()
        world.waiting += waiting
        assert world.job(NEWER).status is JobStatus.COMPLETED

    results.made, results.at, results.after = 0, at, after
    results.happens = the_newer_one_is_dropped_and_spoken
    world.dispatcher.sent = start
    world.run_with_sweeps(seconds=600)

    older = world.job(OLDER)
    assert [of(world, suffix) for suffix in SUFFIXES] == [NEWER] * 4
    assert older.status is JobStatus.COMPLETED
    assert older.result is not None
    assert older.result.key == (f"jobs/{OLDER}" if (at, after) != (PUTS - 1, True) or before_that else older.result.key)
    mine = world.results.versions[f"{older.result.key}.mp3"]
    assert [each.metadata["job-id"] for each in mine if each.version_id == older.result.versions["mp3"]] == [OLDER]


@pytest.mark.parametrize("ends", ["deadline", "cancel", "erase"])
@pytest.mark.parametrize("before_that", [False, True], ids=["first", "re-drop"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(PUTS))
def test_i3_a_job_that_ends_otherwise_while_it_publishes_leaves_no_audio(
    at: int, after: bool, before_that: bool, ends: str
) -> None:
    """F6, F7: what an earlier version of the file had published is there again."""
    world, results = a_world()
    if before_that:
        a_drop(world, OLDER, "The older text. ", "0", version="v0")
        world.run_with_sweeps(seconds=120)
        assert of(world, "mp3") == OLDER
    job = a_drop(world, NEWER, "The newer text. ", "1", version="v1")

    def it_ends() -> None:
        results.at = None
        current = world.job(NEWER)
        if ends == "cancel":
            world.cancel(current)
        elif ends == "erase":
            world.erase(TENANT, NEWER)
        else:
            world.finish.fail(current, a_problem(code="deadline-exceeded"))

    results.made, results.at, results.after, results.happens = 0, at, after, it_ends
    world.run_with_sweeps(seconds=900)

    ended = world.job(NEWER)
    expected = JobStatus.FAILED if ends == "deadline" else JobStatus.CANCELLED
    assert ended.status is expected
    assert [of(world, suffix) for suffix in SUFFIXES] == [OLDER if before_that else None] * 4
    assert f"jobs/{job.id}.mp3" not in world.results.objects
    assert (of(world, "error.md") == NEWER) is (ends == "deadline")
    assert world.store.due(world.clock.now() + 10**12, 10) == []


class Gone(BaseException):
    """The process is killed."""


@pytest.mark.parametrize("at", range(PUTS))
def test_i3_a_job_whose_assembler_died_in_the_middle_and_whose_deadline_came_leaves_no_audio(at: int) -> None:
    world, results = a_world()
    job = a_drop(world, NEWER, "The newer text. ", "1", version="v1")
    world.store.put(replace(job, deadline_at=world.clock.now() + 100_000))

    def die() -> None:
        results.at = None
        raise Gone

    results.at, results.after, results.happens = at, True, die
    with pytest.raises(Gone):
        world.run()
    assert world.results.objects
    world.run_with_sweeps(seconds=600)

    assert world.job(NEWER).status is JobStatus.FAILED
    assert set(world.results.objects) == {f"{FILE}.error.md"}


def test_b12_an_assembly_that_is_done_again_replaces_its_own_results() -> None:
    world = World()
    a_drop(world, NEWER, "The text. ", "1", version="v1")
    world.store.fail_next("finish", StoreUnavailable("died"))
    with pytest.raises(StoreUnavailable):
        world.run()

    world.run_with_sweeps(seconds=300)

    assert world.job(NEWER).status is JobStatus.COMPLETED
    assert [of(world, suffix) for suffix in SUFFIXES] == [NEWER] * 4


def test_a_first_publication_asks_nothing_before_it_writes() -> None:
    """On the healthy path a condition costs no call."""
    world = World()
    a_drop(world, NEWER, "The text. ", "1", version="v1")
    before = world.store.calls.count("latest_upload")

    world.run()

    assert world.results.calls == ["put_bytes", "put_bytes", "put_file", "put_bytes", "delete"]
    assert world.store.calls.count("latest_upload") - before == 2  # to publish, and for the error page


def test_results_that_others_keep_writing_over_are_tried_again_later() -> None:
    world = World()
    a_drop(world, NEWER, "The text. ", "1", version="v1")
    put = world.results.put_bytes

    def somebody_was_faster(key: str, data: bytes, **facts: Any) -> str | None:
        if facts.get("over"):
            put(key, data + str(len(world.results.versions.get(key, []))).encode(), content_type="", metadata={})
        return put(key, data, **facts)

    world.results.put_bytes = somebody_was_faster  # type: ignore[method-assign]  # no end of writers
    with pytest.raises(StoreUnavailable):
        world.run()
    world.results.put_bytes = put  # type: ignore[method-assign]  # as it was
    world.run_with_sweeps(seconds=300)

    assert world.job(NEWER).status is JobStatus.COMPLETED


def test_a_job_that_failed_before_anything_was_published_has_nothing_to_be_taken_back() -> None:
    world = World()
    job = world.a_synthesizing_job("The text. ")

    world.finish.fail(job, a_problem())

    assert world.store.cleanup(TENANT, job.id) is None
    assert jobs.fail(job, a_problem(), cost=jobs.Cost(), now=0).due_at is None
