"""`make demo`: drop a text into a laptop cloud made for it, and bring home the audio. `python -m local.demo`

Environment: TEXT (a file of yours), VENDOR, VOICE, FORMAT, and all that `make up` understands.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from local.emulators import EMULATORS
from local.process import ROOT
from local.stack import Facts, StackFailed, aws_session, running

SAMPLE = ROOT / "local" / "samples" / "hear-yourself.txt"
OUT = Path("out")
OPTIONS = {"VENDOR": "vendor", "VOICE": "voice", "FORMAT": "format"}
VOICES = ", ".join(f"{name}={vendor.default_voice}" for name, vendor in EMULATORS.items() if vendor.default_voice)
"""For vendors that always want to be told a voice: one of their documents'."""

POLL_SECONDS = 0.4
START_SECONDS = 60.0
"""How long until a dropped file must have become a job."""

TERMINAL = {"completed", "failed", "cancelled"}


class DemoFailed(Exception):
    """No audio came of it. The message is for a person."""


@dataclass(frozen=True, slots=True)
class Drop:
    """What is spoken, and how."""

    name: str
    text: bytes
    options: Mapping[str, str]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Drop":
        path = Path(env.get("TEXT") or SAMPLE)
        try:
            text = path.read_bytes()
        except OSError as error:
            raise DemoFailed(f"{path} cannot be read: {error.strerror}.") from None
        return cls(path.name, text, {option: env[name] for name, option in OPTIONS.items() if env.get(name)})


async def demo(env: Mapping[str, str]) -> None:
    """Speak one file. Raises DemoFailed or StackFailed with what to tell."""
    drop = Drop.from_env(env)
    stack_dir = Path(env.get("STACK_DIR") or ".local/demo")
    print("Starting the laptop cloud …", flush=True)
    async with running(stack_dir, {"DEFAULT_VOICES": VOICES, **env}) as facts:
        bucket = Buckets(facts)
        print(f"Dropping {drop.name} ({len(drop.text):,} bytes) into the texts bucket.", flush=True)
        await bucket.put("voicedrop.json", json.dumps(drop.options).encode())
        await bucket.put(drop.name, drop.text)
        progress = Progress(sys.stdout)
        job: dict[str, Any] = {}
        async for job in watched(facts, await bucket.job_id(drop.name, stack_dir)):
            progress.show(job)
        progress.end()
        if job["status"] != "completed":
            raise DemoFailed(await bucket.error_page(drop.name) or described(job))
        suffixes = [f".{job['format']}", ".vtt", ".srt", ".manifest.json"]
        if job["chapters"]:
            suffixes.append(".chapters.json")
        files = [await bucket.fetch(drop.name + suffix) for suffix in suffixes]
        print(summary(job, files, emulated=not env.get(f"{job['vendor'].upper()}_BASE_URL")))


class Buckets:
    """The two ends of the system, as a user of S3 sees them."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        session = aws_session()
        self._s3 = session.client("s3", endpoint_url=facts.aws_endpoint_url)
        self._dynamodb = session.client("dynamodb", endpoint_url=facts.aws_endpoint_url)

    async def put(self, key: str, body: bytes) -> None:
        await asyncio.to_thread(self._s3.put_object, Bucket=self._facts.texts_bucket, Key=key, Body=body)

    async def job_id(self, key: str, stack_dir: Path) -> str:
        """The job that a dropped file became."""
        from speech.aws.dynamo import DynamoJobStore
        from speech.settings import TENANT

        store = DynamoJobStore(self._dynamodb, self._facts.jobs_table)
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    job_id = await asyncio.to_thread(store.latest_upload, TENANT, self._facts.texts_bucket, key)
                    if job_id is not None:
                        return job_id
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise DemoFailed(f"No job came of the file. {stack_dir}/logs/ingest_upload.log may say why.") from None

    async def fetch(self, key: str) -> Path:
        """Bring a result home."""
        path = OUT / key
        answer = await asyncio.to_thread(self._s3.get_object, Bucket=self._facts.audio_bucket, Key=key)
        await asyncio.to_thread(_write, path, answer["Body"].read())
        return path

    async def error_page(self, key: str) -> str | None:
        """What went wrong in plain words; it is written a moment after the job has failed."""
        for _ in range(int(5 / POLL_SECONDS)):
            try:
                answer = await asyncio.to_thread(
                    self._s3.get_object, Bucket=self._facts.audio_bucket, Key=f"{key}.error.md"
                )
            except self._s3.exceptions.NoSuchKey:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return str(answer["Body"].read().decode())
        return None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


async def watched(facts: Facts, job_id: str) -> AsyncIterator[dict[str, Any]]:
    """The job, again and again, until it has ended."""
    headers = {"Authorization": f"Bearer {facts.api_key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(f"{facts.api_url}/v1/jobs/{job_id}") as answer:
                job: dict[str, Any] = await answer.json(content_type=None)
            if answer.status != 200:
                raise DemoFailed(f"The API answered {answer.status}: {job.get('title') or job.get('message')}")
            yield job
            if job["status"] in TERMINAL:
                return
            await asyncio.sleep(POLL_SECONDS)


class Progress:
    """A bar that is drawn again on a terminal; anywhere else a line for every state and every quarter."""

    WIDTH = 30
    QUARTERS = 4

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown: object = None
        self._terminal = out.isatty()

    def show(self, job: Mapping[str, Any]) -> None:
        total, stored = job["segments"]["total"] or 0, job["segments"]["stored"]
        line = job["status"] + (f", {stored} of {total} segments spoken" if total else "") + self._left(job)
        change = line if self._terminal else (job["status"], self.QUARTERS * stored // total if total else 0)
        if change == self._shown:
            return
        self._shown = change
        if self._terminal:
            filled = self.WIDTH * stored // total if total else 0
            print(f"\r\033[K[{'#' * filled}{'.' * (self.WIDTH - filled)}] {line}", end="", file=self._out, flush=True)
        else:
            print(line, file=self._out, flush=True)

    def end(self) -> None:
        if self._terminal:
            print(file=self._out)

    @staticmethod
    def _left(job: Mapping[str, Any]) -> str:
        seconds = job["estimate"]["seconds_left"] if job["estimate"] else None
        if seconds is None:
            return ""
        return f", about {seconds} s left" if seconds < 100 else f", about {round(seconds / 60)} min left"


def described(job: Mapping[str, Any]) -> str:
    """A problem in a line, where there is no page about it."""
    problem = job["problem"] or {}
    return f"The job {job['status']}: {problem.get('title')}. {problem.get('detail')}"


def summary(job: Mapping[str, Any], files: list[Path], *, emulated: bool) -> str:
    """What was spoken by whom, how long it is, and what it would have cost."""
    seconds = job["audio"]["duration_seconds"]
    segments = job["segments"]["total"]
    voice = f"voice {job['voice']}" if job["voice"] else "its default voice"
    return "\n".join(
        [
            "",
            f"Spoken     {job['characters']:,} characters in {segments} segment{'' if segments == 1 else 's'}",
            f"By         {job['vendor']}{' (emulated on this machine)' if emulated else ''}, {voice}",
            f"Length     {int(seconds // 60)} min {seconds % 60:.1f} s",
            f"{'Would cost' if emulated else 'Cost':<10} {cost(job['cost'])}",
            f"Rendered   {job['rendered']['summary']}",
            *(f"{'Files' if not number else '':<10} {path}" for number, path in enumerate(files)),
        ]
    )


def cost(known: Mapping[str, Any]) -> str:
    """What is known of the price. Unknown is never nothing."""
    calls = known["vendor_calls"]
    parts = [f"{calls} vendor call{'' if calls == 1 else 's'}"]
    if known["credits"] is not None:
        parts.append(f"{known['credits']:g} of the vendor's credits")
    price = f"{known['amount']:.4f} {known['currency']}" if known["amount"] is not None else "price in money unknown"
    return ", ".join([*parts, price])


async def _main() -> int:
    task = asyncio.current_task()
    if task is not None:
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    try:
        await demo(os.environ)
    except asyncio.CancelledError:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (DemoFailed, StackFailed) as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
