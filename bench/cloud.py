"""What the parts of the benchmark stand on: a cloud in which nothing runs by itself, and functions to run by hand."""

import asyncio
import compileall
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from local import stack
from local.deployed import absent
from local.process import ROOT
from local.queues import record
from local.runtime import variables
from local.schedules import event as schedule_event
from local.template import QueueSource

ENVIRONMENT = {"DEFAULT_VOICES": "convai=WUMale 3", "LEASE_SECONDS": "3600"}
"""Nothing comes due while we measure."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call to AWS or to a vendor, with the milliseconds of CPU inside it."""

    service: str
    operation: str
    cpu: float


@dataclass(frozen=True, slots=True)
class Report:
    """What one event cost, in milliseconds; the rest only when the worker was watched."""

    wall: float
    cpu: float
    answer: Any = None
    calls: tuple[Call, ...] = ()
    clients: Mapping[str, Any] = field(default_factory=dict)
    modules: Sequence[str] = ()

    @property
    def aws_cpu(self) -> float:
        """Milliseconds of CPU inside calls to AWS."""
        return sum(call.cpu for call in self.calls if call.service != "vendor")


class Worker:
    """A function's process. Its first event is a cold start, the next ones are warm."""

    def __init__(self, folder: Path, environment: Mapping[str, str], log: Path, *, watched: bool = False) -> None:
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            # As on Lambda, nothing is compiled on the way but the function's own file.
            [sys.executable, "-P", "-B", str(ROOT / "bench" / "worker.py"), *(["--watch"] if watched else [])],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._log.close()

    def __call__(self, event: Event) -> Report:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("The worker has no pipes.")
        print(json.dumps(event), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A function failed:\n{Path(self._log.name).read_text()[-4000:]}")
        said = json.loads(line)
        return Report(**{**said, "calls": tuple(Call(*each) for each in said.get("calls", ()))})


@dataclass
class Cloud:
    """Resources and vendors are there; queues fill up until somebody empties them."""

    folder: Path
    made: stack.Cloud
    layer: Path
    warm: dict[str, Worker] = field(default_factory=dict)
    kept: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.session = stack.aws_session()
        self.s3 = self.client("s3")
        self.sqs = self.client("sqs")
        self.names = sorted(self.made.wiring.functions)

    def client(self, service: str) -> Any:
        name: Any = service  # boto3's stubs know a service by its literal name only
        return self.session.client(name, endpoint_url=self.made.endpoint)

    # --- functions ---

    def environment(self, name: str, code: Path | None = None) -> dict[str, str]:
        """What a function's process sees, with the compiled layer in the place of the checkout's."""
        function = self.made.wiring.functions[name]
        path = os.pathsep.join(map(str, (self.layer, code or self.code(name))))
        more = {"PYTHONPATH": path, "BENCH_ABSENT": ",".join(absent())}
        return variables(function, endpoint=self.made.endpoint) | more

    def code(self, name: str) -> Path:
        return self.folder / "functions" / name

    def worker(self, name: str, *, code: Path | None = None, watched: bool = False, **environment: str) -> Worker:
        """A new process of a function, or of other code in its place."""
        folder = code or self.code(name)
        log = self.folder / "logs" / f"{name}.log"
        return Worker(folder, self.environment(name, folder) | environment, log, watched=watched)

    def run(self, name: str, event: Event) -> Report:
        """Call a function in a process that stays, and is watched."""
        if name not in self.warm:
            self.warm[name] = self.kept.enter_context(self.worker(name, watched=True))
        return self.warm[name](event)

    # --- jobs, step by step ---

    def post(self, text: str, **options: Any) -> Report:
        """A job by the API."""
        report = self.run("jobs_api", self.post_event(text, **options))
        if report.answer["statusCode"] != 202:
            raise RuntimeError(f"The API answered {report.answer['statusCode']}.")
        return report

    def post_event(self, text: str, **options: Any) -> Event:
        event = sample("api_post_job")
        event["headers"] |= {"authorization": f"Bearer {self.made.api_key}"}
        event["headers"].pop("idempotency-key", None)
        return event | {"body": json.dumps({"text": text, **options}), "isBase64Encoded": False}

    def take(self, name: str) -> Event:
        """Let jobs go on until there is a message for this function, and do not hand it over."""
        while True:
            moved = False
            for source in self.made.wiring.queues:
                for event in self._received(source):
                    if source.function == name:
                        return event
                    self.run(source.function, event)
                    moved = True
            if not moved:
                raise RuntimeError(f"No message came for {name}.")

    def drain(self) -> list[tuple[str, Report]]:
        """Let jobs go on until nothing is left to do; what each step cost."""
        steps: list[tuple[str, Report]] = []
        before = -1
        while len(steps) != before:
            before = len(steps)
            for source in self.made.wiring.queues:
                steps += [(source.function, self.run(source.function, event)) for event in self._received(source)]
        return steps

    def empty(self) -> None:
        """Forget every message."""
        for source in self.made.wiring.queues:
            while list(self._received(source)):
                pass

    def speak(self, text: str, audio_format: str) -> bytes:
        """What Voice.ai answers."""
        url = f"{self.made.vendors['voiceai']}/api/v1/tts/speech"
        body = {"text": text, "audio_format": audio_format}
        answer = httpx.post(url, headers={"Authorization": "Bearer key"}, json=body, trust_env=False)
        return answer.raise_for_status().content

    def scheduled(self) -> Event:
        return schedule_event(self.made.wiring.schedules[0])

    def _received(self, source: QueueSource) -> Iterator[Event]:
        url = f"{self.made.endpoint}/{'/'.join(source.queue_arn.rsplit(':', 2)[1:])}"
        answer = self.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"])
        for message in answer.get("Messages", ()):
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            yield {"Records": [record(message, source.queue_arn)]}


def sample(name: str) -> Event:
    """A sample event of `events/`."""
    event: Event = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
    return event


@contextmanager
def cloud() -> Iterator[Cloud]:
    """moto, the vendors' emulators, and all that the template describes, in a folder that vanishes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, asyncio.Runner() as runner:
        folder = Path(name)
        layer = compiled_layer(folder)
        with stack.prepared(folder) as household:
            made = runner.run(
                stack.created(folder, ENVIRONMENT, household, api_url="http://127.0.0.1:9")  # nobody calls back
            )
            world = Cloud(folder, made, layer)
            with world.kept:
                yield world
        for server in made.servers:
            runner.run(server.gone())


def compiled_layer(folder: Path) -> Path:
    """The package compiled as the layer's makefile does it, and the functions as they are deployed: not compiled."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "functions", folder / "functions", ignore=ignored)
    layer = folder / "opt" / "python"
    shutil.copytree(ROOT / "layers" / "speech" / "speech", layer / "speech", ignore=ignored)
    compileall.compile_dir(layer, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    return layer
