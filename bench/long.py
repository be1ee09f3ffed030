"""(e) A text of a million characters through a laptop cloud, and what joining costs beside copying."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import boto3

from bench.figures import table
from bench.jobs import running_stack
from local.process import ROOT, plain_environment
from tests.template.translated import sam_template

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHARACTERS = 1_000_000
VENDOR = "voiceai"
JOB_SECONDS = 5_400
BESIDE_SECONDS = 7_200.0
"""How much of the audio the joins are compared on."""

ASSEMBLY, ASSEMBLY_MB, OTHERS_MB = "assemble_audio", 512, 256
TALE = (
    "the harbour master counts boats at dusk and writes each name into a book that nobody else has ever read "
    "when fog comes in he rings an old bell by hand slowly so fishermen find their way home by its sound while "
    "gulls sleep on cold stones beneath yellow lamps and children listen behind windows for ships with red sails"
)


@dataclass(slots=True)
class Used:
    """What one function needed: the largest process in MB, the longest run and all CPU in seconds."""

    memory: float = 0.0
    longest: float = 0.0
    cpu: float = 0.0
    runs: int = 0


def measure(characters: int = CHARACTERS) -> str:
    """The section of the report. Once is long enough."""
    text = a_book(characters)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_stack(Path(name)) as stack:
        started = time.perf_counter()
        done, used = _speak(stack.folder, stack.facts, text)
        wall = time.perf_counter() - started
        beside = list(_joins(stack.facts, done, Path(name)))
    limits = {_folder(each): int(each["Timeout"]) for each in _functions()}
    audio, hours = done["audio"], done["audio"]["duration_seconds"] / 3_600
    rows = [
        (
            f"`{name}`",
            f"{each.memory:.0f}",
            ASSEMBLY_MB if name == ASSEMBLY else OTHERS_MB,
            f"{each.longest:.1f}",
            f"{limits[name] / 3:.0f}",
            each.runs,
            f"{each.cpu:.0f}",
            f"{each.cpu / hours:.1f}",
        )
        for name, each in sorted(used.items(), key=lambda each: -each[1].cpu)
        if each.runs
    ]
    kept = all(
        each.memory < (ASSEMBLY_MB if name == ASSEMBLY else OTHERS_MB) and each.longest < limits[name] / 3
        for name, each in used.items()
    )
    cpu = sum(each.cpu for each in used.values())
    size = f"{audio['bytes'] / 1e6:,.0f} MB of {audio['format'].upper()}"
    head = (
        "function",
        "memory, MB",
        "allowed",
        "longest run, s",
        "allowed",
        "runs",
        "CPU, s",
        "CPU for an hour of audio, s",
    )
    beside_head = ("", "CPU, s", "audio s a second of CPU", "memory, MB", "seconds of audio in the file")
    return f"""## {characters:,} characters

A text of {characters:,} characters, no sentence of which comes twice, dropped in a laptop cloud with {VENDOR}:
{hours:.1f} hours of audio, {size}, from {done["segments"]["total"]:,} segments,
{wall / 60:.1f} minutes after the drop. All functions together took {cpu / hours:.0f} s of CPU for an hour of
audio. Memory is the most that a process of the function ever had; the longest run is on the clock, load of the machine
included, and a third of the function's time limit is allowed.

{table(head, rows)}

Target: every figure below what is allowed. {"It is met." if kept else "It is not met."}

The same segments, as they came from the vendor, up to {BESIDE_SECONDS / 3_600:g} hours of audio, joined in a fresh
process each: by us (decoded, joined, encoded, read back and checked), by FFmpeg's concat (PyAV's build of it, nothing
read back), and as a plain copy of the bytes, which plays only the first segment.

{table(beside_head, beside)}
"""


def a_book(characters: int) -> str:
    """Chapters of paragraphs of sentences; the same every time, and no sentence twice."""
    words, chance = TALE.split(), Random(0)
    parts, length, number = list[str](), 0, 0
    while length < characters:
        number += 1
        some = [chance.choice(words) for _ in range(chance.randint(6, 24))]
        sentence = f"{' '.join(some).capitalize()} number {number}."
        parts.append(sentence + ("\n\n" if number % 7 == 0 else " "))
        if number % 300 == 1:
            parts.insert(len(parts) - 1, f"# Chapter {number // 300 + 1}\n\n")
        length += sum(map(len, parts[-1 - (number % 300 == 1) :]))
    return "".join(parts)[:characters]


# ---------------------------------------------------------------- the job


def _speak(folder: Path, facts: Mapping[str, Any], text: str) -> tuple[dict[str, Any], dict[str, Used]]:
    """Drop the text and wait for its manifest; the job, and what the functions needed."""
    s3 = _session(facts).client("s3", endpoint_url=facts["aws_endpoint_url"])
    used: dict[str, Used] = defaultdict(Used)
    seen: dict[tuple[str, str], float] = {}
    options = {"voicedrop-vendor": VENDOR}
    s3.put_object(Bucket=facts["texts_bucket"], Key="book.txt", Body=text.encode(), Metadata=options)
    deadline = time.monotonic() + JOB_SECONDS
    ends = {"book.txt.manifest.json", "book.txt.error.md"}
    while not (ended := ends & _keys(s3, facts["audio_bucket"])):
        if time.monotonic() > deadline:
            raise TimeoutError("The job did not end.")
        time.sleep(1)  # between two looks at a job of many minutes, bounded by the deadline above
        _look(folder, used, seen)
    _look(folder, used, seen)
    said = s3.get_object(Bucket=facts["audio_bucket"], Key=ended.pop())["Body"].read()
    if not said.startswith(b"{"):
        raise RuntimeError(f"The job failed: {said.decode()}")
    job: dict[str, Any] = json.loads(said)["job"]
    for (name, _), cpu in seen.items():
        used[name].cpu += cpu
    for log in (folder / "logs").glob("*.log"):
        times = [float(each) / 1000 for each in re.findall(r"REPORT .*? Duration: ([\d.]+) ms", log.read_text())]
        if times and log.stem in used:
            used[log.stem].longest, used[log.stem].runs = max(times), len(times)
    return job, used


def _session(facts: Mapping[str, Any]) -> boto3.session.Session:
    return boto3.session.Session("test", "test", region_name=facts["region"])


def _keys(s3: "S3Client", bucket: str) -> set[str]:
    return {each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())}


def _look(folder: Path, used: dict[str, Used], cpu: dict[tuple[str, str], float]) -> None:
    """What every process of a function has needed so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    for file in (folder / "pids").glob("*/*"):
        process = Path("/proc") / file.name
        try:
            peak = _peak_mb(process)
            fields = (process / "stat").read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        of = used[file.parent.name]
        of.memory = max(of.memory, peak)
        cpu[file.parent.name, file.name] = (int(fields[11]) + int(fields[12])) / ticks


def _peak_mb(process: Path) -> float:
    """getrusage would tell of the parent, too."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
    return int(peak[1]) / 1024 if peak else 0.0


def _functions() -> Iterator[dict[str, Any]]:
    for each in sam_template()["Resources"].values():
        if each["Type"] == "AWS::Serverless::Function":
            yield each["Properties"]


def _folder(function: Mapping[str, Any]) -> str:
    return str(function["CodeUri"]).strip("/").rpartition("/")[2]


# ---------------------------------------------------------------- beside others


def _joins(facts: Mapping[str, Any], job: Mapping[str, Any], folder: Path) -> Iterator[Sequence[object]]:
    """The rows of the comparison, each from a process of its own."""
    parts = folder / "parts"
    parts.mkdir()
    seconds = _fetch(facts, job, parts)
    for title, way in WAYS.items():
        command = [sys.executable, "-m", "bench.long", way, str(parts), str(folder / f"joined-{way}")]
        environment = plain_environment(PYTHONPATH=os.pathsep.join(map(str, (ROOT, ROOT / "layers" / "speech"))))
        said = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, cwd=ROOT).stdout)
        yield title, f"{said['cpu']:.1f}", f"{seconds / said['cpu']:,.0f}", f"{said['memory']:.0f}", said["heard"]


def _fetch(facts: Mapping[str, Any], job: Mapping[str, Any], parts: Path) -> float:
    """The stored segments of the job, in their order, as files; how long they are together."""
    session = _session(facts)
    s3 = session.client("s3", endpoint_url=facts["aws_endpoint_url"])
    table_of = session.resource("dynamodb", endpoint_url=facts["aws_endpoint_url"]).Table(facts["jobs_table"])
    pages: list[Any] = []
    more: dict[str, Any] = {}
    while not pages or more:
        page = table_of.scan(**more)
        pages += page["Items"]
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else {}
    rows = sorted(
        (each for each in pages if "audio_key" in each and job["id"] in f"{each['pk']} {each['sk']}"),
        key=lambda each: each["sk"],
    )
    (bucket,) = [each["Name"] for each in s3.list_buckets()["Buckets"] if "-work-" in each["Name"]]
    seconds = 0.0
    for number, row in enumerate(rows):
        answer = s3.get_object(Bucket=bucket, Key=f"segments/{row['audio_key']}")
        (parts / f"{number:05}.wav").write_bytes(answer["Body"].read())
        seconds += int(answer["Metadata"]["frames"]) / int(answer["Metadata"]["sample-rate"])
        if seconds > BESIDE_SECONDS:
            break
    return seconds


WAYS = {
    "plain copy of the bytes": "copy",
    "ours, to WAV": "ours-wav",
    "FFmpeg concat, copied to WAV": "ffmpeg-wav",
    "ours, to MP3": "ours-mp3",
    "FFmpeg concat, encoded to MP3": "ffmpeg-mp3",
    "ours, to FLAC": "ours-flac",
    "FFmpeg concat, encoded to FLAC": "ffmpeg-flac",
    "ours, to Ogg Opus": "ours-ogg",
    "FFmpeg concat, encoded to Ogg Opus": "ffmpeg-ogg",
}


def _copy(parts: Sequence[Path], out: Path) -> None:
    with out.open("wb") as file:
        for part in parts:
            file.write(part.read_bytes())


def _ours(parts: Sequence[Path], out: Path, format: str) -> None:
    from speech.audio.join import join

    join((part.read_bytes() for part in parts), format=format, sample_rate=None, path=out)


def _ffmpeg(parts: Sequence[Path], out: Path, format: str) -> None:
    import av

    listed = out.with_suffix(".txt")
    listed.write_text("".join(f"file '{part}'\n" for part in parts))
    encoder, settings = {
        "wav": ("", {}),
        "mp3": ("libmp3lame", {"q": "5", "compression_level": "3"}),
        "flac": ("flac", {}),
        "ogg": ("libopus", {"b": "57000", "compression_level": "5"}),
    }[format]
    with (
        av.open(str(listed), format="concat", options={"safe": "0"}) as source,
        av.open(str(out), "w", format=format) as target,
    ):
        heard = source.streams.audio[0]
        if not encoder:
            copied = target.add_stream_from_template(heard)
            for packet in source.demux(heard):
                if packet.dts is not None:
                    packet.stream = copied
                    target.mux(packet)
            return
        rate = 24_000 if format == "ogg" else heard.rate
        # The stubs know the encoders of FFmpeg by their literal names only.
        made: Any = target.add_stream(encoder, rate=rate, layout="mono", options=settings)
        for frame in source.decode(heard):
            target.mux(made.encode(frame))
        target.mux(made.encode(None))


def _heard(out: Path) -> str:
    """What a decoder that made none of the files finds in it."""
    import av

    with av.open(str(out)) as file:
        stream = file.streams.audio[0]
        samples = sum(frame.samples for frame in file.decode(stream))
        return f"{samples / stream.codec_context.sample_rate:.3f}"


def _main(way: str, parts: Path, out: Path) -> None:
    files = sorted(parts.iterdir())
    kind, _, wanted = way.partition("-")
    started = time.process_time()
    if kind == "copy":
        _copy(files, out)
    elif kind == "ours":
        _ours(files, out, wanted)
    else:
        _ffmpeg(files, out, wanted)
    cpu = time.process_time() - started
    memory = _peak_mb(Path("/proc/self"))
    print(json.dumps({"cpu": cpu, "memory": memory, "heard": _heard(out)}))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
