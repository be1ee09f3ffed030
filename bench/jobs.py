"""(d) Two hundred short jobs over the API of a laptop cloud, beside a script that makes the bare calls."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import soundfile

from bench.cloud import ENVIRONMENT
from bench.figures import cpu_ms, interleaved, median, table
from local.process import ROOT, plain_environment
from speech.audio.lame import Mp3File

JOBS = 200
CLIENTS = 8
TARGET = 3.0
TEXT = "Job {number} of round {round}: the tide is out."
START_SECONDS, JOBS_SECONDS = 90, 300


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds: on the clock, and of CPU; for us by function."""

    wall: float
    cpu: float
    by_function: Mapping[str, float]


def measure(runs: int, jobs: int = JOBS) -> str:
    """The section of the report."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_stack(Path(name)) as stack:
        stack.jobs(-1, jobs // 2)  # every process that will be needed is started

        def ours(number: int) -> Cost:
            return stack.jobs(number, jobs)

        def bare(number: int) -> Cost:
            return stack.bare(number, jobs)

        variants: dict[str, Callable[[int], Cost]] = {"ours": ours, "bare": bare}
        seen = interleaved(runs, variants)
        encoding = stack.encoding_ms()
    mine, theirs = (median(each.cpu for each in seen[side]) / jobs * 1000 for side in ("ours", "bare"))
    rate, bare_rate = (jobs / median(each.wall for each in seen[side]) for side in ("ours", "bare"))
    functions = sorted({name for each in seen["ours"] for name in each.by_function})
    parts = {name: median(each.by_function.get(name, 0.0) for each in seen["ours"]) / jobs * 1000 for name in functions}
    by_function = table(
        ["function", "CPU for a job, ms"],
        [(f"`{name}`", f"{part:.1f}") for name, part in sorted(parts.items(), key=lambda each: -each[1])],
    )
    rows = [
        ("ours", f"{rate:.1f}", f"{mine:.1f}", f"{mine / theirs:.1f}"),
        ("bare calls", f"{bare_rate:.1f}", f"{theirs:.1f}", "1"),
    ]
    return f"""## {jobs} short jobs

`POST /v1/jobs` from {CLIENTS} clients against a laptop cloud with warm processes, until everything is told; CPU is that
of the functions' processes alone. Beside it `bench/bare.py`: the same texts, one after another, with a vendor POST,
`put_object` of what came, and one row, against the same servers. One moto process and one emulator serve everything, so
jobs a second are a figure of the laptop, not of AWS.

{table(["", "jobs a second", "CPU for a job, ms", "ratio"], rows)}

{by_function}

Target: a ratio of {TARGET:g}.

{verdict(mine, theirs, encoding)}
"""


def verdict(mine: float, theirs: float, encoding: float) -> str:
    """Where the CPU goes, as far as it is more than the target."""
    if mine <= TARGET * theirs:
        return "It is met."
    return f"""\
It is not met. {encoding:.1f} ms of ours is LAME encoding the MP3 that was asked for, which the script does not do;
without it the ratio is {(mine - encoding) / theirs:.1f}. Most of the rest is AWS calls: the script makes two, a job
makes those named above, and each costs botocore about the same on either side. They are what the script does not have:
jobs that survive the death of any process and buy nothing twice, verified audio, subtitles, a manifest, an event."""


@dataclass(frozen=True, slots=True)
class Stack:
    folder: Path
    facts: Mapping[str, Any]

    def jobs(self, number: int, jobs: int) -> Cost:
        """Make jobs and wait until the world has been told about each."""
        before, told = self._cpu(), self._told()
        started = time.perf_counter()
        headers = {"Authorization": f"Bearer {self.facts['api_key']}"}
        with httpx.Client(base_url=self.facts["api_url"], headers=headers, timeout=60, trust_env=False) as api:

            def post(each: int) -> str:
                text = TEXT.format(number=each, round=number)
                answer = api.post("/v1/jobs", json={"text": text, "vendor": "voiceai"})
                return str(answer.raise_for_status().json()["id"])

            with ThreadPoolExecutor(CLIENTS) as clients:
                made = list(clients.map(post, range(jobs)))
            deadline = time.monotonic() + JOBS_SECONDS
            while self._told() < told + jobs:
                if time.monotonic() > deadline:
                    raise TimeoutError("The jobs did not end.")
                time.sleep(0.02)  # between two looks at a counter, bounded by the deadline above
            wall = time.perf_counter() - started
            after = self._cpu()
            if api.get(f"/v1/jobs/{made[-1]}").json()["status"] != "completed":
                raise RuntimeError("A job did not complete.")
        spent: dict[str, float] = defaultdict(float)
        for (name, pid), seconds in after.items():
            spent[name] += seconds - before.get((name, pid), 0.0)
        return Cost(wall, sum(spent.values()), {name: seconds for name, seconds in spent.items() if seconds})

    def bare(self, number: int, jobs: int) -> Cost:
        environment = plain_environment(
            AWS_ENDPOINT_URL=self.facts["aws_endpoint_url"],
            AWS_DEFAULT_REGION=self.facts["region"],
            VOICEAI_BASE_URL=self.facts["vendors"]["voiceai"],
            BUCKET=self.facts["audio_bucket"],
            TABLE=self.facts["jobs_table"],
            TEXT=TEXT.replace("{round}", f"{number} and bare"),
        )
        command = [sys.executable, str(ROOT / "bench" / "bare.py"), str(jobs)]
        said = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
        return Cost(said["wall"], said["cpu"], {})

    def encoding_ms(self) -> float:
        """CPU of encoding one of these jobs' audio as MP3, as we do."""
        answer = httpx.post(
            f"{self.facts['vendors']['voiceai']}/api/v1/tts/speech",
            headers={"Authorization": "Bearer key"},
            json={"text": TEXT.format(number=1, round=1), "audio_format": "wav"},
            trust_env=False,
        )
        samples, rate = soundfile.read(io.BytesIO(answer.raise_for_status().content), dtype="int16")

        def encode() -> None:
            with tempfile.TemporaryDirectory() as folder:
                file = Mp3File(Path(folder) / "audio.mp3", rate)
                file.write(samples)
                file.close()

        return cpu_ms(encode)

    def _cpu(self) -> dict[tuple[str, int], float]:
        """Function and process → seconds of CPU so far."""
        ticks = os.sysconf("SC_CLK_TCK")
        spent = {}
        for file in (self.folder / "pids").glob("*/*"):
            fields = Path(f"/proc/{file.name}/stat").read_text().rpartition(") ")[2].split()
            spent[file.parent.name, int(file.name)] = (int(fields[11]) + int(fields[12])) / ticks
        return spent

    def _told(self) -> int:
        """How many deliveries were made."""
        return (self.folder / "invocations").read_text().count('"function": "deliver_event"')


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """`make up`, as a user has it."""
    (folder / "invocations").touch()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "layers" / "speech"))),
        "STACK_DIR": str(folder),
        "INVOCATIONS_LOG": str(folder / "invocations"),
        "SWEEP_SECONDS": "60",
        **ENVIRONMENT,
    }
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "local.up"], cwd=folder, env=environment, stdout=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (folder / "stack.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The laptop cloud did not start.")
            time.sleep(0.05)  # between two looks for a file that another process writes, bounded by the deadline
        yield Stack(folder, json.loads((folder / "stack.json").read_text()))
    finally:
        process.terminate()
        process.wait(30)
