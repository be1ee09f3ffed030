"""A laptop cloud of the test's own: started as a user starts it, used as a user uses it, watched through its logs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx

from local.process import ROOT

T = TypeVar("T")

TERMINAL = ("completed", "failed", "cancelled")
VENDORS = ("convai", "voiceai", "creatify")
MORTAL_LEASE = 5
"""Seconds after which the work of a process that was killed is taken up again, where tests kill."""

PATIENCE = 100.0
"""Seconds after which something that takes a few has gone wrong: the machine may have much else to do."""

QUIET = {"DEFAULT_VOICES": "convai=WUMale 3", "SWEEP_SECONDS": "1"}
"""What every stack here is told, unless its test knows better."""


def wait_for(condition: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """What the condition says as soon as it says something."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"Not within {seconds:g} seconds: {what}"
        time.sleep(pause)  # between two looks at what other processes do, who need the machine more than we
        pause = min(pause * 1.25, 0.4)
    return answer


@dataclass(frozen=True)
class Emulator:
    """One of the repository's emulators, through the addresses it has for whoever runs it."""

    url: str

    def play(self, fault: str, *, match: str | None = None, **options: Any) -> None:
        """Play a fault to requests about texts that hold `match`, or to those of a `route`."""
        httpx.post(
            f"{self.url}/_emulator/faults", json={"fault": fault, "match": match, **options}, trust_env=False
        ).raise_for_status()

    def switch(self, **switches: Any) -> None:
        httpx.put(f"{self.url}/_emulator/switches", json=switches, trust_env=False).raise_for_status()

    def purchases(self, text: str) -> list[dict[str, Any]]:
        """What was sold of exactly this text."""
        from local.emulators.book import fingerprint

        return [each for each in self._get("book")["entries"] if each["text_sha256"] == fingerprint(text)]

    def sold(self) -> list[dict[str, Any]]:
        """Everything that was sold."""
        entries: list[dict[str, Any]] = self._get("book")["entries"]
        return entries

    def requests(self, text: str | None = None) -> list[dict[str, Any]]:
        """Every request, or those whose body holds this text."""
        entries: list[dict[str, Any]] = self._get("requests")
        return [each for each in entries if text is None or text in json.dumps(each["body"], ensure_ascii=False)]

    def undocumented(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._get("undocumented")
        return entries

    def _get(self, what: str) -> Any:
        return httpx.get(f"{self.url}/_emulator/{what}", trust_env=False).raise_for_status().json()


@dataclass
class Stack:
    """A running `python -m local.up`."""

    process: subprocess.Popen[bytes]
    folder: Path
    facts: Mapping[str, Any]
    jobs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = httpx.Client(
            base_url=self.facts["api_url"],
            headers={"Authorization": f"Bearer {self.facts['api_key']}"},
            timeout=40,
            trust_env=False,
        )
        self.s3 = self.client("s3")
        self.sqs = self.client("sqs")

    def client(self, service: str) -> Any:
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        return session.client(service, endpoint_url=self.facts["aws_endpoint_url"])  # type: ignore[call-overload]  # any

    def emulator(self, vendor: str) -> Emulator:
        return Emulator(self.facts["vendors"][vendor])

    # --- the three ways in ---

    def post(self, **request: Any) -> dict[str, Any]:
        """Ask the API for a job; it must be accepted."""
        answer = self.api.post("/v1/jobs", json=request)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def drop(self, key: str, body: str | bytes, **options: str) -> str:
        """Put a file in the texts bucket, options as metadata; returns its version."""
        metadata = {f"voicedrop-{name.replace('_', '-')}": value for name, value in options.items()}
        data = body.encode() if isinstance(body, str) else body
        answer = self.s3.put_object(Bucket=self.facts["texts_bucket"], Key=key, Body=data, Metadata=metadata)
        version: str = answer["VersionId"]
        return version

    def send(self, body: str | Mapping[str, Any]) -> str:
        """Send a message to the requests queue; returns the identity that its job will have."""
        text = body if isinstance(body, str) else json.dumps(body)
        message_id: str = self.sqs.send_message(QueueUrl=self.facts["requests_queue_url"], MessageBody=text)[
            "MessageId"
        ]
        return str(body.get("request_id", message_id)) if isinstance(body, Mapping) else message_id

    # --- the way out ---

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.api.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def ended(self, job_id: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """The job once it has ended."""
        return self._wait(
            lambda: job if (job := self.job(job_id))["status"] in TERMINAL else None, seconds, f"the end of {job_id}"
        )

    def requested(self, request_id: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """The one job of a message or an Idempotency-Key, once it exists."""
        jobs = self._wait(lambda: self.jobs_of(request_id), seconds, f"a job for {request_id}")
        assert len(jobs) == 1
        return jobs[0]

    def jobs_of(self, request_id: str) -> list[dict[str, Any]]:
        answer = self.api.get("/v1/jobs", params={"request_id": request_id})
        assert answer.status_code == 200, answer.text
        jobs: list[dict[str, Any]] = answer.json()["jobs"]
        return jobs

    def dropped(self, key: str, *, seconds: float = PATIENCE, since: str | None = None) -> dict[str, Any]:
        """The manifest of a drop, once it is there; a drop that failed fails the test with its page.

        `since` is the file's version, when an earlier version left a manifest behind.
        """

        def manifest() -> dict[str, Any] | None:
            found = self.result(f"{key}.manifest.json")
            read = json.loads(found) if found else None
            if read and (since is None or read["job"]["source"]["version_id"] == since):
                return dict(read)
            page = self.result(f"{key}.error.md")
            assert page is None, page
            return None

        written = self._wait(manifest, seconds, f"the manifest of {key!r}")
        self.ended(written["job"]["id"])  # the manifest lies there a moment before its job is completed
        return written

    def page(self, key: str, *, seconds: float = PATIENCE) -> str:
        """The page that says why a drop failed, once it is there."""
        return self._wait(lambda: self.result(f"{key}.error.md"), seconds, f"the page of {key!r}").decode()

    def result(self, key: str) -> bytes | None:
        """An object of the audio bucket, if it is there."""
        try:
            data: bytes = self.s3.get_object(Bucket=self.facts["audio_bucket"], Key=key)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None
        return data

    def objects(self, bucket: str = "audio_bucket") -> set[str]:
        """Every key of a bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.facts[bucket])
        return {each["Key"] for page in pages for each in page.get("Contents", ())}

    def audio(self, job: Mapping[str, Any]) -> bytes:
        """The audio of a completed job, as its link gives it."""
        assert job["status"] == "completed", job["problem"]
        return self.fetch(job["audio"]["url"])

    def fetch(self, url: str) -> bytes:
        """What lies behind a link that the API gave."""
        return httpx.get(url, trust_env=False).raise_for_status().content

    def manifest(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest of a completed job, whichever way it came."""
        source = job["source"]
        base = source["key"] if source["type"] == "upload" else f"jobs/{job['id']}"
        found = self.result(f"{base}.manifest.json")
        assert found is not None
        manifest: dict[str, Any] = json.loads(found)
        return manifest

    # --- behind the scenes ---

    def logs(self) -> dict[str, str]:
        """The log of every function and server, by name."""
        return {path.stem: path.read_text(errors="replace") for path in sorted((self.folder / "logs").iterdir())}

    def watch(self, function: str) -> "Watch":
        """Look at what a function does from now on."""
        path = self.folder / "logs" / f"{function}.log"
        return Watch(path, path.stat().st_size)

    def pids(self, function: str) -> list[int]:
        return [int(each.name) for each in (self.folder / "pids" / function).iterdir()]

    def queue(self, name: str) -> str:
        url: str = self.sqs.get_queue_url(QueueName=f"voicedrop-{name}")["QueueUrl"]
        return url

    def drained(self, name: str, *, seconds: float = 30) -> None:
        """Wait until nothing is in a queue and nobody works on anything from it."""
        url, names = self.queue(name), ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")

        def is_empty() -> bool:
            counts = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))["Attributes"]
            return all(counts[each] == "0" for each in names)

        self._wait(is_empty, seconds, f"{name} is empty")

    def jobs_in_table(self, needle: str) -> list[str]:
        """The ids of all jobs with this in their row."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.facts["jobs_table"])
        rows = [row for page in pages for row in page["Items"]]
        return [row["id"]["S"] for row in rows if "created_at" in row and "id" in row and needle in json.dumps(row)]

    def _wait(self, condition: Callable[[], T | None], seconds: float, what: str) -> T:
        try:
            return wait_for(condition, seconds=seconds, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.trouble()}") from None

    def trouble(self) -> str:
        """What the functions said that may explain why something did not happen."""
        lines = []
        for name, log in self.logs().items():
            said = [line for line in log.splitlines() if not line.startswith(("START", "END", "REPORT"))]
            loud = [
                line for line in said if re.search(r'"level":"(WARNING|ERROR|CRITICAL)"|Traceback|Task timed', line)
            ]
            lines += [f"--- {name}", *loud[-5:], *said[-5:]]
        return "\n".join(lines)


@dataclass
class Watch:
    """A function's log from a moment on."""

    path: Path
    start: int

    def starts(self) -> list[int]:
        """The processes in which invocations began, oldest first."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return [int(pid) for pid in re.findall(rb"START RequestId: \S+ Version: \S+ Pid: (\d+)\n", file.read())]

    def worked(self, times: int, *, seconds: float = 30) -> None:
        """Wait until so many invocations have ended."""

        def ended() -> bool:
            return self.path.read_bytes()[self.start :].count(b"END RequestId:") >= times

        wait_for(ended, seconds=seconds, what=f"{times} invocations of {self.path.stem}")

    def started(self, *, seconds: float = 30, after: int = 0) -> int:
        """The process of the next invocation, as soon as it has begun; `after` so many others."""
        deadline = time.monotonic() + seconds
        while len(pids := self.starts()) <= after:
            assert time.monotonic() < deadline, f"{self.path.stem} was not invoked within {seconds:g} seconds."
            time.sleep(0.002)  # between two looks at a log; short, as some want to kill at the beginning of the work
        return pids[after]

    def died(self, pid: int, *, seconds: float = 10) -> None:
        """Wait until the stack has noticed that a process is gone."""
        gone = f"EXIT Pid: {pid} Status: -9\n".encode()
        wait_for(lambda: gone in self.path.read_bytes(), seconds=seconds, what=f"the end of {pid}")


def kill(pid: int) -> bool:
    """`kill -9`. False when it was gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def running(folder: Path, template: Path = ROOT / "template.yaml", /, **env: str) -> Iterator[Stack]:
    """Start a stack in a folder of its own, as a user does, and stop it by its pid."""
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / "up.out"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.up", "--template", str(template)],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "layers" / "speech"),
                "STACK_DIR": str(folder),
                **QUIET,
                **env,
            },
        )
    try:
        wait_for(
            lambda: (folder / "stack.json").exists() or process.poll() is not None,
            seconds=180,  # a few seconds, unless the machine has much else to do
            what="a stack that is up",
        )
        assert process.poll() is None, said.read_text()
        yield Stack(process, folder, json.loads((folder / "stack.json").read_text()))
        assert process.poll() is None, f"The stack ended by itself.\n{said.read_text()}"
    finally:
        process.terminate()
        process.wait(30)
    assert not (folder / "stack.json").exists()


def impatient_template(folder: Path, seconds: int) -> Path:
    """The template, but what a dead function had received comes back after so many seconds, not six timeouts.

    And no more of a function than two at once: where they die all the time, it is starting them that takes long.
    """
    folder.mkdir(parents=True)
    for code in ("functions", "layers"):
        (folder / code).symlink_to(ROOT / code)
    text = (ROOT / "template.yaml").read_text()
    for pattern, value in ((r"(VisibilityTimeout:) \d+", seconds), (r"(MaximumConcurrency:) (\d+|!Ref \w+)", 2)):
        text, count = re.subn(pattern, rf"\1 {value}", text)
        assert count > 5
    (folder / "template.yaml").write_text(text)
    return folder / "template.yaml"


def unique(sentence: str = "A sentence that nobody has spoken before") -> str:
    """A text of its own, so that nothing of it is stored already."""
    return f"{sentence}, {uuid.uuid4().hex[:12]}."
