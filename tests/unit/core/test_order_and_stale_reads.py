"""Whatever comes in any order, from an index that is behind, or in any format: one file, bought once."""

import io
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import soundfile

from speech.jobs import JobStatus, Source
from speech.ports import Due
from speech.requests import JobRequest, Way
from speech.settings import TENANT
from speech.usecases.accept_job import API, Arrival
from speech.vendors.base import AudioReady
from tests.fakes import FakeJobStore, a_spec
from tests.support.edge import Edge
from tests.support.world import World, spoken

TEXTS = ("The first part ends here. ", "A second one follows it, a bit longer. ", "And the third is the last.")
WAV = a_spec(vendor="scripted", format="wav")


class Behind(FakeJobStore):
    """An index that goes on showing what it showed once."""

    shown: Sequence[Due] = ()

    def due(self, now: int, limit: int) -> Sequence[Due]:
        return [*super().due(now, limit), *self.shown]


def everything(job_id: str, segments: int) -> list[Due]:
    rows = [Due("segment", TENANT, job_id, index) for index in range(segments)]
    return [Due("job", TENANT, job_id), *rows, Due("delivery", TENANT, job_id)]


def test_e4_an_index_that_still_shows_rows_which_have_moved_on_starts_nothing() -> None:
    store = Behind()
    world = World(store=store)
    job = world.a_synthesizing_job(*TEXTS)
    store.shown = everything(job.id, 3)

    world.sweep()
    early = len(world.dispatcher.take())
    world.a_synthesizing_job(*TEXTS)
    world.run()
    world.sweep()
    late = world.dispatcher.take()

    assert early == 3  # the messages that were there before: nothing is due yet
    assert late == []
    assert world.job(job.id).status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 3
    assert len(world.bus.published) == 1


def test_e4_a_call_that_is_under_way_is_left_alone_although_the_index_says_it_is_overdue() -> None:
    store = Behind()
    world = World(store=store)
    job = world.a_synthesizing_job(TEXTS[0])
    store.shown = everything(job.id, 1)
    asked = world.vendor.start

    def swept_meanwhile(request: object, *, callback_url: str | None = None) -> AudioReady:
        world.vendor.start = asked  # type: ignore[method-assign]  # only the first call is watched
        world.sweep()
        world.run()
        return AudioReady(spoken(len(TEXTS[0])), "audio/wav")

    world.vendor.start = swept_meanwhile  # type: ignore[method-assign]  # a hook, not another vendor
    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert world.segment().calls == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_f2_in_whatever_order_the_segments_are_done_the_file_is_the_same(order: tuple[int, ...]) -> None:
    world, ordinary = World(), World()
    jobs = [each.a_synthesizing_job(*TEXTS, spec=WAV) for each in (world, ordinary)]
    sent = world.dispatcher.take()

    for index in order:
        world.handle(sent[index])
    world.run()
    ordinary.run()

    files = [each.results.objects[f"jobs/{job.id}.wav"].data for each, job in zip((world, ordinary), jobs, strict=True)]
    assert files[0] == files[1]


def recoded(wav: bytes, rate: int, format: str, subtype: str) -> bytes:
    samples, old = soundfile.read(io.BytesIO(wav), dtype="float64")
    times = np.arange(round(len(samples) / old * rate)) / rate
    file = io.BytesIO()
    again = np.interp(times, np.arange(len(samples)) / old, samples)
    soundfile.write(file, again, rate, format=format, subtype=subtype)
    return file.getvalue()


def test_f4_segments_in_different_formats_and_rates_become_one_file() -> None:
    world = World()
    wavs = [spoken(len(text)) for text in TEXTS]
    world.vendor.starts = [
        AudioReady(recoded(wavs[0], 22_050, "WAV", "PCM_16"), "audio/wav"),
        AudioReady(recoded(wavs[1], 44_100, "MP3", "MPEG_LAYER_III"), "audio/mpeg"),
        AudioReady(recoded(wavs[2], 48_000, "FLAC", "PCM_24"), "audio/flac"),
    ]
    job = world.a_synthesizing_job(*TEXTS, spec=WAV)

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    info = soundfile.info(io.BytesIO(world.results.objects[f"jobs/{job.id}.wav"].data))
    assert info.duration == pytest.approx(sum(map(len, TEXTS)) / 15, abs=0.15)


@pytest.mark.parametrize("silence", ["\n\n* * *\n\n", "\n\n" + "-" * 700 + "\n\n", "\n \n\t\n\n…\n\n", "\n\n" * 400])
def test_f5_what_says_nothing_is_not_bought_and_the_order_stays(silence: str) -> None:
    edge = Edge()
    parts = ["This comes before it. " * 20, "And this comes after it. " * 20]

    job = edge.accept_job(
        Arrival(kind=API, source=Source(type="api")), JobRequest.parse({"text": "x"}, Way.API), silence.join(parts)
    ).job

    text = edge.texts.texts[TENANT, job.text_id]
    said = [text[row.start : row.end].decode() for row in edge.store.segments(TENANT, job.id)]
    assert all(any(each.isalnum() for each in piece) for piece in said)
    assert "before" in said[0]
    assert "after" in said[-1]
    assert ["after" in piece for piece in said] == sorted("after" in piece for piece in said)


@pytest.mark.parametrize("after", [False, True])
def test_b7_an_upload_that_dies_leaves_nothing_to_download_and_is_made_again(after: bool) -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)
    world.results.fail_next("put_file", KeyboardInterrupt(), after=after)

    with pytest.raises(KeyboardInterrupt):
        world.run()
    between = world.job()
    world.run_with_sweeps(seconds=600)

    assert between.result is None
    assert world.job().status is JobStatus.COMPLETED
    assert len(world.vendor.requests) == 3
    assert f"jobs/{job.id}.mp3" in world.results.objects
