"""I9: whatever Creatify posts to us while it works, in any order and number, the segment ends in the same state.

All 19,530 sequences of up to six webhooks, of the documented statuses and one that no document has; in the usual suite
some of the longest. What they say is only a hint: the truth is what the vendor answers when it is asked.
"""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from speech.callbacks import make_token
from speech.errors import VendorJobFailed
from speech.jobs import JobStatus
from speech.observability import logger
from speech.segments import SegmentStatus
from speech.settings import TENANT
from speech.usecases.vendor_callback import VendorCallback
from speech.vendors.base import AudioReady, StillWorking
from speech.vendors.creatify import read_callback
from tests.support.prove import promised, proven
from tests.support.world import CallbackVendor, World, spoken

STATUSES = ("pending", "running", "done", "failed", "rendering")
"""`in_queue` means what `pending` does; `rendering` is in no document."""

LONGEST = 6
VENDOR_JOB = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
TEXT = "The sun is up now."
SPEECH = spoken(len(TEXT))


class Creatify(CallbackVendor):
    """Its job is done, or has failed, from the webhook with that number on; it is not asked to work twice."""

    def __init__(self, *, ends_after: int, fails: bool) -> None:
        super().__init__()
        self.told = 0
        self.sold = 0
        self._ends_after, self._fails = ends_after, fails

    def start(self, request: Any, *, callback_url: str | None = None) -> StillWorking:
        self.sold += 1
        return StillWorking(VENDOR_JOB, check_after=5)

    def check(self, vendor_job_id: str) -> AudioReady | StillWorking:
        if vendor_job_id != VENDOR_JOB or self.told < self._ends_after:
            return StillWorking(vendor_job_id, check_after=5)
        if self._fails:
            raise VendorJobFailed("It failed.", vendor="creatify")
        return AudioReady(SPEECH, "audio/wav")

    def reconcile(self, callback_urls: Any) -> StillWorking | None:
        return StillWorking(VENDOR_JOB, check_after=5)


def ended_after(sequence: tuple[str, ...], *, early: int, fails: bool = False) -> Any:
    """The end of a segment of which these webhooks came, the first of them before the call was answered."""
    vendor = Creatify(ends_after=len(sequence), fails=fails)
    world = World(vendor=vendor)
    world.assemble = lambda _: None  # type: ignore[assignment] # what becomes of the segment is asked here, no more
    callback = VendorCallback(world.keys, world.dispatcher, world.clock, read_callback)
    job = world.a_synthesizing_job(TEXT)
    token = make_token(
        world.keys.signing_key(), job_id=job.id, segment=0, attempt=1, expires_at=job.deadline_at // 1000 + 86_400
    )

    def tell(status: str) -> None:
        vendor.told += 1
        body = json.dumps({"id": VENDOR_JOB, "status": status, "failed_reason": "", "video_output": ""}).encode()
        callback(token, {}, lambda: body)

    for status in sequence[:early]:
        tell(status)
    world.run()
    for status in sequence[early:]:
        tell(status)
        world.run()
    world.run_with_sweeps(seconds=180)
    segment = world.segment()
    return (
        world.job().status,
        segment.status,
        segment.audio,
        [(attempt.outcome, attempt.problem_code) for attempt in segment.attempts],
        sorted(world.audio.objects),
        vendor.sold,
        world.store.progress(TENANT, job.id),
    )


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Twenty thousand jobs end: nobody wants to read that."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    yield
    logger.setLevel(level)


@pytest.mark.parametrize("first", STATUSES)
@pytest.mark.parametrize("length", range(1, LONGEST + 1))
def test_i9_every_sequence_of_webhooks_ends_the_same(length: int, first: str) -> None:
    calm = ended_after((), early=0)
    every = promised(full=1, usual=9 if length == LONGEST else 1)
    sequences = [(first, *rest) for rest in product(STATUSES, repeat=length - 1)][::every]

    # The first webhook may outrun the answer to the call: in every other sequence it does.
    ends = [ended_after(sequence, early=number % 2) for number, sequence in enumerate(sequences)]

    assert calm[:2] == (JobStatus.ASSEMBLING, SegmentStatus.STORED)
    assert [sequence for sequence, end in zip(sequences, ends, strict=True) if end != calm] == []
    proven(f"webhooks-{length}-{first}", **{f"sequences_{length}_{first}": len(sequences)})


@pytest.mark.parametrize("length", range(1, 4))
def test_i9_a_job_that_failed_is_not_done_because_somebody_says_so(length: int) -> None:
    calm = ended_after((), early=0, fails=True)

    ends = {ended_after(sequence, early=0, fails=True)[:2] for sequence in product(STATUSES, repeat=length)}

    assert ends == {calm[:2]} == {(JobStatus.FAILED, SegmentStatus.FAILED)}
