"""From stored segments to one file, subtitles, a manifest and a completed job."""

import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import webvtt

from speech import jobs
from speech.errors import StoreUnavailable
from speech.jobs import JobStatus, Source
from speech.messages import AssembleAudio
from speech.text.cutting import cut
from speech.vendors.base import AudioReady
from tests.fakes import a_spec
from tests.support.manifests import check_manifest
from tests.support.world import World

TEXTS = ("The first part ends here. ", "A second one follows it, a bit longer. ", "And the third is the last.")


def test_i4_the_file_holds_every_segment_once_and_in_order() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS, spec=a_spec(vendor="scripted", format="wav"))

    world.run()

    done = world.job()
    assert done.result is not None
    data = world.results.objects[f"jobs/{job.id}.wav"].data
    frames = soundfile.info(io.BytesIO(data)).frames
    assert frames == sum(segment.audio.frames for segment in world.store.segments(job.tenant, job.id) if segment.audio)
    assert done.result.sha256 == hashlib.sha256(data).hexdigest()
    assert done.result.bytes == len(data)
    manifest = json.loads(world.results.objects[f"jobs/{job.id}.manifest.json"].data)
    assert [each["index"] for each in manifest["segments"]] == [0, 1, 2]
    assert manifest["segments"][0]["start"] == 0
    assert [each["end"] for each in manifest["segments"][:-1]] == [each["start"] for each in manifest["segments"][1:]]
    assert manifest["job"]["status"] == "completed"
    assert manifest["job"]["cost"]["vendor_calls"] == 3
    assert all(attempt["outcome"] == "settled" for each in manifest["segments"] for attempt in each["attempts"])


def test_the_manifest_says_which_characters_of_which_text_each_segment_is() -> None:
    texts = ("Grüße aus Köln. ", "東京は晴れ。 ", "The end.")
    world = World()
    job = world.a_synthesizing_job(*texts)

    world.run()

    whole = "".join(texts)
    manifest = json.loads(world.results.objects[f"jobs/{job.id}.manifest.json"].data)
    assert manifest["text"] == {"sha256": hashlib.sha256(whole.encode()).hexdigest(), "characters": len(whole)}
    assert [whole[each["from"] : each["to"]] for each in manifest["segments"]] == list(texts)


def test_a_manifest_with_a_key_that_its_schema_does_not_have_is_not_taken() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)
    world.run()
    manifest = json.loads(world.results.objects[f"jobs/{job.id}.manifest.json"].data)

    check_manifest(manifest)

    for part in (manifest, manifest["job"], manifest["segments"][0], manifest["segments"][0]["attempts"][0]):
        part["colour"] = "red"
        with pytest.raises(AssertionError, match="colour"):
            check_manifest(manifest)
        del part["colour"]


@pytest.mark.parametrize("format", ["mp3", "wav", "flac", "ogg"])
@pytest.mark.parametrize("sample_rate", [8000, 22_050, 48_000])
def test_every_format_comes_out_at_any_sample_rate(format: str, sample_rate: int) -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS, spec=a_spec(vendor="scripted", format=format, sample_rate=sample_rate))

    world.run()

    done = world.job()
    assert done.status is JobStatus.COMPLETED
    assert done.result is not None
    info = soundfile.info(io.BytesIO(world.results.objects[f"jobs/{job.id}.{format}"].data))
    assert info.frames / info.samplerate == pytest.approx(done.result.duration_seconds, abs=0.002)
    assert info.samplerate >= sample_rate


def test_subtitles_hold_the_spoken_text_exactly() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)

    world.run()

    vtt = world.results.objects[f"jobs/{job.id}.vtt"].data.decode()
    said = " ".join(line for line in vtt.splitlines()[1:] if line and "-->" not in line and not line.strip().isdigit())
    assert said.split() == "".join(TEXTS).split()


def test_a_cue_begins_after_the_pause_that_is_heard_before_it() -> None:
    world = World()
    first, second = "This is said slowly.", "And this much longer sentence is said in hardly any time at all."
    rate = 16_000
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(4 * rate) / rate)
    speech = io.BytesIO()
    pause = np.zeros(rate // 2)
    soundfile.write(speech, np.concatenate([tone[: 2 * rate], pause, tone]), rate, format="WAV", subtype="PCM_16")
    world.vendor.starts = [AudioReady(speech.getvalue(), "audio/wav")]
    job = world.a_synthesizing_job(f"{first} {second}")

    world.run()

    vtt = webvtt.from_string(world.results.objects[f"jobs/{job.id}.vtt"].data.decode())
    assert [cue.text.replace("\n", " ") for cue in vtt.captions] == [first, second]
    assert vtt.captions[1].start == "00:00:02.500"


def test_b12_an_assembly_that_died_before_its_last_write_is_done_again_to_the_same_bytes() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)
    world.store.fail_next("finish", StoreUnavailable("died"))
    with pytest.raises(StoreUnavailable):
        world.run()
    first = world.results.objects[f"jobs/{job.id}.mp3"].data

    world.run_with_sweeps(seconds=300)

    assert world.job().status is JobStatus.COMPLETED
    assert world.results.objects[f"jobs/{job.id}.mp3"].data == first


def test_f3_two_finishers_make_one_assembly() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)
    world.run()

    world.assemble(AssembleAudio(job.tenant, job.id))
    world.run()

    assert len(world.results.versions[f"jobs/{job.id}.mp3"]) == 1


def test_a_second_assembler_leaves_a_live_lease_alone() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS)
    now = world.clock.now()
    leased = jobs.lease_assembly(
        jobs.begin_assembly(job, now=now, due_at=now), token="somebody", now=now, lease_ms=60_000
    )
    world.store.put(leased)

    world.assemble(AssembleAudio(job.tenant, job.id))

    assert world.job().status is JobStatus.ASSEMBLING
    assert not world.results.objects


def test_a2_an_overtaken_drop_does_not_replace_what_the_newer_version_published() -> None:
    world = World()
    job = world.a_synthesizing_job(*TEXTS, source=Source("upload", "texts", "a/b.txt", "v1"))
    world.store.advance_upload(job.tenant, "texts", "a/b.txt", order="2", job_id="job_of_the_newer_version")

    world.run()

    assert world.job().status is JobStatus.COMPLETED
    assert "a/b.txt.mp3" not in world.results.objects
    assert f"jobs/{job.id}.mp3" in world.results.objects


def test_a_drop_is_published_beside_its_own_name() -> None:
    world = World()
    world.a_synthesizing_job(*TEXTS, source=Source("upload", "texts", "a/b.txt", "v1"))

    world.run()

    assert {"a/b.txt.mp3", "a/b.txt.vtt", "a/b.txt.srt", "a/b.txt.manifest.json"} == set(world.results.objects)


def test_segments_are_joined_as_their_text_asks_and_the_manifest_says_how() -> None:
    world = World()
    rate = 16_000
    tone = 0.05 * np.sin(2 * np.pi * 220 * np.arange(4 * rate) / rate)
    speech = io.BytesIO()
    sound = np.concatenate([np.zeros(rate), tone, np.zeros(rate)])
    soundfile.write(speech, sound, rate, format="WAV", subtype="PCM_16")
    world.vendor.starts = [AudioReady(speech.getvalue(), "audio/wav")] * 3
    text = "# The first of all\n\nThis is said then, and that at last. [pause:2s] But this is the end."
    pieces = cut(text, limit=40)
    spec = a_spec(vendor="scripted", format="wav", loudness=-20.0, trim_silence=True)
    job = world.a_synthesizing_job(*(each.text for each in pieces), spec=spec)
    for row, piece in zip(list(world.store.segments(job.tenant, job.id)), pieces, strict=True):
        world.store.put(replace(row, start=piece.byte_start, end=piece.byte_end))
    world.texts.put_text(job.tenant, job.text_id, text.encode())

    world.run()

    manifest = json.loads(world.results.objects[f"jobs/{job.id}.manifest.json"].data)
    assert [(each["why"], round(each["end"] - each["start"], 3)) for each in manifest["pauses"]] == [
        ("after-heading", 0.8),
        ("pause", 2.0),
    ]
    assert manifest["audio"]["loudness"] == {"target": -20.0, "true_peak_ceiling": -1.0}
    for each in manifest["segments"]:
        assert each["trimmed"]["start"] > 0.7
        assert each["level"]["loudness"] + each["level"]["gain"] == pytest.approx(-20.0, abs=0.02)
    silent = sum(each["end"] - each["start"] for each in manifest["pauses"])
    spoken = sum(each["end"] - each["start"] for each in manifest["segments"])
    audio = soundfile.info(io.BytesIO(world.results.objects[f"jobs/{job.id}.wav"].data))
    assert audio.frames / rate == pytest.approx(silent + spoken, abs=1e-4)
    vtt = webvtt.from_string(world.results.objects[f"jobs/{job.id}.vtt"].data.decode())
    assert [cue.text for cue in vtt.captions] == [
        "The first of all",
        "This is said then, and that at last.",
        "But this is the end.",
    ]
    assert [round(_seconds(cue.start) * 1000) for cue in vtt.captions] == [
        round(each["start"] * 1000) for each in manifest["segments"]
    ]


def _seconds(stamp: str) -> float:
    hours, minutes, seconds = stamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
