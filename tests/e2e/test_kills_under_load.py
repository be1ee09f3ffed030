"""Jobs of all vendors by all ways in, while working processes of every function are killed with `kill -9`.

At full count (`make prove`) 40 jobs and 30 kills. The vendors are the repository's emulators: their billing books are
what the record is compared with.
"""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from local.emulators import EMULATORS
from local.emulators.book import fingerprint
from tests.support.prove import promised, proven
from tests.support.results import completed
from tests.support.stack import MORTAL_LEASE, TERMINAL, Stack, impatient_template, kill, running, unique

WAYS = ("api", "message", "upload")
JOBS, KILLS = promised(full=(40, 30), usual=(15, 10))
SHARE = -(-KILLS // 6)
"""Of all kills, how many may meet the same function."""

SECONDS = 300.0
"""How long it may take to hand something in, and how long everything may take after that: machines are busy."""

MAY_FAIL_WITH = "vendor-ambiguous"
"""Where a vendor cannot be asked, two calls that were cut off are the end of it: bought twice, blindly, never."""


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose queues bring back soon what a dead function had received; its vendors are the emulators."""
    folder = tmp_path_factory.mktemp("load")
    template = impatient_template(folder / "app", MORTAL_LEASE)
    # A vendor gets half a lease: on a busy machine speech takes its time, and giving up on it is no kill.
    with running(folder / "stack", template, LEASE_SECONDS=str(3 * MORTAL_LEASE), SEGMENT_ATTEMPTS="4") as up:
        yield up


@dataclass
class Order:
    """One text on its way, and how the job that it became is found."""

    vendor: str
    way: str
    text: str = field(default_factory=unique)
    name: str = field(default_factory=lambda: f"load/{uuid.uuid4().hex}.txt")

    def place(self, stack: Stack) -> None:
        """Hand it in, as a client does: again until somebody says that he has it."""
        request: dict[str, Any] = {"text": self.text, "vendor": self.vendor, "format": "wav"}
        if voice := EMULATORS[self.vendor].default_voice:
            request["voice"] = voice
        if self.way == "upload":
            stack.drop(self.name, request.pop("text"), **request)
        elif self.way == "message":
            stack.send({**request, "request_id": self.name})
        else:
            self._post(stack, request)

    def _post(self, stack: Stack, request: dict[str, Any]) -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                answer = stack.api.post("/v1/jobs", json=request, headers={"Idempotency-Key": self.name})
            except httpx.TransportError:
                continue
            if answer.status_code < 500:
                assert answer.status_code == 202, answer.text
                return
        raise AssertionError("The API did not take a job.")

    def job(self, stack: Stack) -> dict[str, Any] | None:
        """The job that it became, if it exists."""
        if self.way == "upload":
            found = stack.jobs_in_table(self.name)
            assert len(found) <= 1
            return stack.job(found[0]) if found else None
        jobs = stack.jobs_of(self.name)
        assert len(jobs) <= 1
        return jobs[0] if jobs else None


class Killer:
    """Kills processes in the middle of their work, whichever function they are of."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack, self._weather = stack, random.Random(seed)
        self._read: dict[str, int] = {}
        self._busy: dict[str, dict[str, int]] = {}
        self.killed: Counter[str] = Counter()

    def run(self, kills: int, over: threading.Event) -> None:
        while self.killed.total() < kills and not over.wait(self._weather.uniform(0.05, 0.3)):
            # Every function gets its turn: a few of them are at work most of the time.
            working = {
                name: list(busy.values())
                for name, busy in self._working().items()
                if busy and self.killed[name] < SHARE
            }
            if working:
                name = self._weather.choice(sorted(working))
                self.killed[name] += kill(self._weather.choice(working[name]))

    def _working(self) -> dict[str, dict[str, int]]:
        """Invocations that have begun and not ended, by function: request id → process."""
        for path in (self._stack.folder / "logs").glob("*.log"):
            busy = self._busy.setdefault(path.stem, {})
            with path.open("rb") as file:
                file.seek(self._read.get(path.stem, 0))
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[path.stem] = self._read.get(path.stem, 0) + len(whole)
            for line in whole.decode(errors="replace").splitlines():
                words = line.split()
                if line.startswith("START RequestId: ") and "Pid:" in words:
                    busy[words[2]] = int(words[-1])
                elif line.startswith("END RequestId: "):
                    busy.pop(words[2], None)
                elif line.startswith("EXIT Pid: "):
                    gone = [each for each, pid in busy.items() if pid == int(words[2])]
                    for each in gone:
                        del busy[each]
        return self._busy


def orders(first: int, count: int) -> list[Order]:
    """Every vendor by every way in, in turn."""
    vendors = sorted(EMULATORS)
    return [Order(vendors[n % len(vendors)], WAYS[n // len(vendors) % len(WAYS)]) for n in range(first, first + count)]


@pytest.mark.timeout(2 * SECONDS + 160)
def test_i1_i5_i14_i20_what_was_taken_in_under_kills_ends_once_and_every_purchase_is_on_record(
    emulated: Stack,
) -> None:
    stack, placed, over = emulated, orders(0, JOBS), threading.Event()
    killer = Killer(stack, seed=20261120)
    storm = threading.Thread(target=killer.run, args=(KILLS, over))
    storm.start()

    with ThreadPoolExecutor(6) as clients:
        list(clients.map(lambda order: order.place(stack), placed))
    until = time.monotonic() + SECONDS
    jobs: dict[str, dict[str, Any]] = {}
    while (len(jobs) < len(placed) or storm.is_alive()) and time.monotonic() < until:
        if len(jobs) == len(placed):  # work for the rest of the kills to meet
            placed += (more := orders(len(placed), len(EMULATORS)))
            for order in more:
                order.place(stack)
        for order in placed:
            if order.name not in jobs and (job := order.job(stack)) and job["status"] in TERMINAL:
                jobs[order.name] = job
        time.sleep(0.2)  # between two looks: each asks the API about every job that has not ended
    over.set()
    storm.join()

    assert [order for order in placed if order.name not in jobs] == [], stack.trouble()
    assert killer.killed.total() == KILLS
    extra = flagged = failed = 0
    for order in placed:
        job, bought = jobs[order.name], len(stack.emulator(order.vendor).purchases(order.text))
        if job["status"] == "failed":
            failed += 1
            assert job["problem"]["code"] == MAY_FAIL_WITH, job["problem"]
            assert order.vendor != "creatify"
            assert bought <= job["cost"]["vendor_calls"]
            flagged += job["cost"]["vendor_calls"]
            extra += bought
            continue
        result = completed(stack, job, order.text, base=order.name if order.way == "upload" else None)
        doubtful = len(result.outcomes) - result.outcomes.count("settled")
        assert bought == 1 or bought <= 1 + doubtful
        assert order.vendor != "creatify" or bought == 1
        assert bought <= job["cost"]["vendor_calls"] == len(result.attempts)
        extra, flagged = extra + bought - 1, flagged + doubtful
    ours = {fingerprint(order.text) for order in placed}
    sold = [entry for vendor in EMULATORS for entry in stack.emulator(vendor).sold()]
    assert {entry["text_sha256"] for entry in sold} <= ours
    assert extra <= flagged
    proven(
        "kills",
        jobs=len(placed),
        kills=killer.killed.total(),
        killed=dict(sorted(killer.killed.items())),
        ended=len(jobs),
        completed=len(jobs) - failed,
        failed_as_ambiguous=failed,
        purchases=len(sold),
        extra=extra,
        flagged=flagged,
        unflagged=0,
    )
