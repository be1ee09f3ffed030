"""A book does not starve a sentence: the vendor's queue is shared fairly between jobs, and the vendor is kept busy."""

import heapq
from collections import Counter

import pytest

from speech.jobs import Job, JobStatus
from speech.messages import StartSegment
from speech.usecases.plan_segments import plan_segments
from tests.fakes import NOW, a_job, a_spec
from tests.support.world import World

AT_ONCE = 5
CALL_SECONDS = 3.0
BOOK = 400


def run(world: World, *, fair: bool) -> dict[str, float]:
    """Work through the vendor's queue as AWS does, a call taking its time; when each job had all of its audio.

    `fair`: among the messages that wait, those of jobs of which fewer are being worked on come first. That is what a
    standard queue does whose messages have groups.
    """
    start = world.clock.now()
    waiting: list[StartSegment] = []
    busy: list[tuple[float, str]] = []
    stored: dict[str, float] = {}
    now = 0.0
    while True:
        waiting += [sent.message for sent in world.dispatcher.take() if isinstance(sent.message, StartSegment)]
        while waiting and len(busy) < AT_ONCE:
            under_way = Counter(job_id for _, job_id in busy)
            message = min(waiting, key=lambda each: under_way[each.job_id]) if fair else waiting[0]
            waiting.remove(message)
            world.start(message)
            heapq.heappush(busy, (now + CALL_SECONDS, message.job_id))
        if not busy:
            return stored
        assert len(busy) == AT_ONCE or not waiting
        now, job_id = heapq.heappop(busy)
        world.clock.set(start + round(now * 1000))
        stored[job_id] = now


def test_the_segments_of_a_book_are_overdue_one_after_another() -> None:
    """The sweep does not send a book again that is getting on."""
    rows = plan_segments(a_job(), a_spec(), "A line of some book. " * 400, limit=24, due_at=NOW + 120_000)

    assert len(rows) == BOOK
    assert [row.due_at for row in rows] == [NOW + 120_000 + 1_000 * number for number in range(BOOK)]


def a_book_and_a_sentence(world: World) -> tuple[Job, Job]:
    book = world.a_synthesizing_job(*(f"This is line {number}." for number in range(BOOK)))
    return book, world.a_synthesizing_job("And this is a sentence.", id="job_S", text_id="s")


@pytest.mark.parametrize("fair", [True, False], ids=["fair", "first come, first served"])
def test_a_sentence_that_comes_after_a_book_waits_for_a_call_or_two_and_the_book_loses_nothing(fair: bool) -> None:
    """The second one is what it would be without the groups, so that the first one shows something."""
    world = World()
    book, sentence = a_book_and_a_sentence(world)

    stored = run(world, fair=fair)

    assert {world.job(book.id).status, world.job(sentence.id).status} == {JobStatus.ASSEMBLING}
    whole = (BOOK + 1) / AT_ONCE * CALL_SECONDS
    assert stored[book.id] <= whole + CALL_SECONDS
    assert (stored[sentence.id] <= 2 * CALL_SECONDS) is fair
    assert (stored[sentence.id] >= whole - CALL_SECONDS) is not fair
