"""What a completed job must have left behind, by the contract, whoever spoke it."""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import soundfile
import webvtt

from tests.support.manifests import as_manifest
from tests.support.stack import Stack
from tests.support.tone_vendors import as_heard, heard

RESOURCE: Mapping[str, Any] = {
    "id": None,
    "status": None,
    "vendor": None,
    "voice": None,
    "language": None,
    "format": None,
    "characters": None,
    "segments": {"total", "stored", "failed"},
    "estimate": {"seconds_left"},
    "rendered": {"segments", "of", "summary"},
    "preview": {"seconds", "of"},
    "source": {"type", "bucket", "key", "version_id"},
    "audio": {"url", "format", "bytes", "duration_seconds", "sha256"},
    "subtitles": {"vtt", "srt"},
    "chapters": None,
    "problem": None,
    "cost": {"currency", "amount", "credits", "vendor_calls"},
    "request_id": None,
    "retry_of": None,
    "metadata": None,
    "created_at": None,
    "updated_at": None,
}
"""The keys of a job resource, and of the objects in it."""

CONTAINERS = {"mp3": "MP3", "wav": "WAV", "flac": "FLAC", "ogg": "OGG"}
CODECS = {"mp3": "MPEG_LAYER_III", "wav": "PCM_16", "flac": "PCM_16", "ogg": "OPUS"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True)
class Spoken:
    """A completed job's audio and manifest, checked."""

    job: Mapping[str, Any]
    manifest: Mapping[str, Any]
    audio: bytes
    seconds: float
    sample_rate: int

    @property
    def attempts(self) -> list[Mapping[str, Any]]:
        return [attempt for segment in self.manifest["segments"] for attempt in segment["attempts"]]

    @property
    def outcomes(self) -> list[str]:
        return [attempt["outcome"] for attempt in self.attempts]


def folded(text: str) -> str:
    return " ".join(text.split())


def check_resource(job: Mapping[str, Any]) -> None:
    """The same keys always, whatever state the job is in."""
    assert set(job) == set(RESOURCE)
    for name, keys in RESOURCE.items():
        if keys and job[name] is not None:
            assert set(job[name]) == keys, name
    assert INSTANT.fullmatch(job["created_at"])
    assert INSTANT.fullmatch(job["updated_at"])
    assert job["created_at"] <= job["updated_at"]


def completed(stack: Stack, job: Mapping[str, Any], text: str, *, base: str | None = None) -> Spoken:
    """Check everything that a completed job promises, and hand it back."""
    assert job["status"] == "completed", f"{job['problem']}\n{stack.trouble()}"
    check_resource(job)
    base = base if base is not None else f"jobs/{job['id']}"
    manifest = as_manifest(stack.result(f"{base}.manifest.json"))
    audio = stack.audio(job)
    assert stack.result(f"{base}.{job['format']}") == audio
    with soundfile.SoundFile(io.BytesIO(audio)) as file:
        assert (file.format, file.subtype, file.channels) == (CONTAINERS[job["format"]], CODECS[job["format"]], 1)
        rate, frames = file.samplerate, len(file.read(dtype="int16"))
        assert file.frames == frames
    seconds = frames / rate
    assert job["audio"]["format"] == job["format"]
    assert job["audio"]["bytes"] == len(audio)
    assert job["audio"]["sha256"] == hashlib.sha256(audio).hexdigest()
    assert abs(job["audio"]["duration_seconds"] - seconds) < 0.001
    assert len(text) / 60 < seconds < len(text) / 2
    assert job["problem"] is None
    _check_manifest(manifest, job, seconds, rate)
    _check_segments(manifest["segments"], job, seconds)
    for suffix, link in job["subtitles"].items():
        written = stack.fetch(link)
        assert stack.result(f"{base}.{suffix}") == written
        _check_cues(_cues(written.decode(), suffix), text, manifest["segments"], seconds)
    return Spoken(job, manifest, audio, seconds, rate)


def accounted_for(result: Spoken, sold: Sequence[str], text: str) -> None:
    """I5, I20: a job of one segment is whole, and every purchase but the one that was needed is flagged."""
    assert heard(result.audio) == as_heard(text)
    assert len(sold) == result.job["cost"]["vendor_calls"] == len(result.attempts)
    # A worker may die between storing the audio and writing that down: then it is found, and not bought again.
    assert result.outcomes in (["settled"], ["ambiguous"], ["ambiguous", "settled"])


def _check_manifest(manifest: Mapping[str, Any], job: Mapping[str, Any], seconds: float, rate: int) -> None:
    told = {**manifest["job"], "subtitles": job["subtitles"], "chapters": job["chapters"]}
    told["audio"] = {**manifest["job"]["audio"]}
    told["audio"]["url"] = job["audio"]["url"]  # links are made for each request and never stored
    assert told == job
    assert manifest["job"]["audio"]["url"] is None
    assert manifest["job"]["subtitles"] is None
    assert manifest["audio"]["sample_rate"] == rate
    assert "exact at the edges of segments" in manifest["subtitles"]["alignment"]
    assert manifest["segments"][-1]["to"] <= manifest["text"]["characters"]
    silent = sum(each["end"] - each["start"] for each in manifest["pauses"])
    spoken = sum(each["end"] - each["start"] for each in manifest["segments"])
    assert abs(spoken + silent - seconds) < 0.001


def _check_segments(segments: Sequence[Mapping[str, Any]], job: Mapping[str, Any], seconds: float) -> None:
    total = job["segments"]["total"]
    assert job["segments"] == {"total": total, "stored": total, "failed": 0}
    assert [each["index"] for each in segments] == list(range(total))
    assert sum(each["characters"] for each in segments) <= job["characters"]
    edge, character = 0.0, 0
    for each in segments:
        assert character <= each["from"] <= each["to"]
        character = each["to"]
        assert (each["vendor"], each["voice"]) == (job["vendor"], job["voice"])
        assert edge <= each["start"] < each["end"] <= seconds + 0.001
        edge = each["end"]
    assert sum(len(each["attempts"]) for each in segments) == job["cost"]["vendor_calls"]


def _check_cues(
    cues: Sequence[tuple[float, float, str]], text: str, segments: Sequence[Mapping[str, Any]], seconds: float
) -> None:
    """They hold the text, fit the audio, follow one another, and are exact where segments meet."""
    assert folded(" ".join(said for _, _, said in cues)) == folded(text)
    edge = 0.0
    for start, end, said in cues:
        assert said.strip()
        assert edge <= start < end <= seconds + 0.001
        edge = end
    starts, ends = {start for start, _, _ in cues}, {end for _, end, _ in cues}
    for each in segments:
        assert min(abs(each["start"] - start) for start in starts) < 0.0011
        assert min(abs(each["end"] - end) for end in ends) < 0.0011


def _cues(written: str, suffix: str) -> list[tuple[float, float, str]]:
    read = webvtt.from_string(written) if suffix == "vtt" else webvtt.from_buffer(io.StringIO(written), format="srt")
    return [(_seconds(each.start), _seconds(each.end), each.text) for each in read.captions]


def _seconds(stamp: str) -> float:
    hours, minutes, rest = stamp.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)
