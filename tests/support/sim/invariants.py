"""What must hold when a world has come to its end, whatever went wrong on the way."""

import hashlib
import json
import re
from collections import Counter
from io import BytesIO
from typing import Any

import soundfile

from speech.jobs import Job, JobStatus
from speech.segments import Outcome, Segment
from tests.support.sim import sounds
from tests.support.sim.chance import STALL
from tests.support.sim.laboratory import SIGNING_KEY
from tests.support.sim.watch import Violated, require
from tests.support.sim.world import SWEEP_SECONDS, UPLOAD, Order, World

HERTZ = 12.0
"""How far a tone may be off after an MP3: tones are farther apart."""

VENDORS_FAULT = ("vendor-job-expired", "vendor-job-failed", "vendor-rejected", "vendor-misbehaved")
"""Problems for which a vendor must have done something."""

BUGS = re.compile(r'"message":"(message failed|overdue row not handled|unexpected error|request failed)[^"]*"')


def check(world: World, *, faultless: bool = False) -> None:
    """Raises Violated for the first promise that is broken."""
    jobs = _one_job_for_each(world)
    for order in world.orders:
        _ended(world, order, jobs[order.name])
    _nothing_hangs(world)
    _bills(world, list(jobs.values()), faultless=faultless)
    _silence(world)
    if faultless:
        for job in jobs.values():
            require(job.status is JobStatus.COMPLETED, "I1", f"without faults a job ended {job.status}")


def _one_job_for_each(world: World) -> dict[str, Job]:
    """I1, I8."""
    by_name: dict[str, Job] = {}
    keys = {order.key: order.name for order in world.orders if order.way == UPLOAD}
    for job in world.watch.jobs():
        name = keys.get(job.source.key or "") if job.source.type == UPLOAD else job.request_id
        require(name is not None, "I1", "a job that nobody asked for")
        if name is not None:
            require(name not in by_name, "I8", f"two jobs for {name}")
            by_name[name] = job
    for order in world.orders:
        require(order.name in by_name, "I1", f"{order.name} was lost")
        told = world.acknowledged.get(order.name)
        require(told in (None, by_name[order.name].id), "I8", f"{order.name} was told of another job")
    require(len(by_name) == len(world.orders), "I1", "jobs that nobody asked for")
    return by_name


def _ended(world: World, order: Order, job: Job) -> None:
    """I3, I4, I14, I21."""
    require(job.is_terminal, "I14", lambda: f"{order.name} is {job.status}")
    calm = round((world.calm_since or world.lab.clock.now) * 1000)
    late = job.updated_at - max(job.deadline_at, calm)
    require(late <= 2 * SWEEP_SECONDS * 1000, "I14", lambda: f"{order.name} ended {late} ms after its deadline")
    require(job.id not in world.watch.cancelled or job.status is JobStatus.CANCELLED, "I2", "a cancelled job went on")
    if job.status is JobStatus.COMPLETED:
        _spoken(world, order, job)
    elif job.status is JobStatus.CANCELLED:
        require(order.cancel is not None, "I1", f"{order.name} was cancelled, and nobody asked for it")
    else:
        require(job.result is None, "I3", f"{order.name} failed, and has audio")
        code = (job.problem or {}).get("code")
        require(code is not None, "I1", f"{order.name} failed without a reason")
        honest = world.of.faults or code not in VENDORS_FAULT
        require(honest, "I9", f"{order.name} ended with {code}, and its vendor did nothing wrong")
        rows = world.watch.segments(job.id)
        spoken = bool(rows) and len(rows) == job.segments_total and all(row.audio is not None for row in rows)
        in_vain = spoken and code == "deadline-exceeded" and job.deadline_at > calm + 600_000
        require(not in_vain, "I14", f"{order.name} had all its audio when its time was over")
    delivery = world.watch.deliveries().get(job.id)
    require(delivery is not None, "I21", f"{order.name} has no delivery")
    if delivery is None:
        return
    require(delivery.get("published", {}).get("BOOL"), "I21", f"{order.name} was told to nobody")
    published = Counter(json.loads(each["Detail"])["id"] for each in world.cloud.events)
    require(published[job.id], "I21", f"{order.name} is not on the bus")
    if job.webhook_url:
        require(delivery.get("webhook_done", {}).get("BOOL"), "I21", f"the webhook of {order.name} is undecided")
        outcome = delivery["outcome"]["S"]
        if outcome == "delivered":
            took = world.customer.received[f"{job.id}.{job.status.value}"]
            require(took, "I21", f"the webhook of {order.name} was not taken")


def _spoken(world: World, order: Order, job: Job) -> None:
    """Every segment once, in order, in a file that is what the record says."""
    result = job.result
    if result is None:
        raise Violated("I3", f"{order.name} is completed without a result")
    data = world.lab.moto.object(world.audio_bucket, f"{result.key}.{result.format}") or b""
    require(hashlib.sha256(data).hexdigest() == result.sha256, "I3", f"the audio of {order.name} is another")
    require(len(data) == result.bytes, "I3", f"the audio of {order.name} has another length")
    manifest = json.loads(world.lab.moto.object(world.audio_bucket, f"{result.key}.manifest.json") or b"{}")
    segments: list[dict[str, Any]] = manifest.get("segments", [])
    said = [piece.strip() for piece in pieces(world, job)]
    require(" ".join(said) == order.text, "I4", f"{order.name} does not say what was asked")
    require(len(segments) == len(said), "I4", f"{order.name} has {len(segments)} parts for {len(said)} pieces")
    samples, rate = soundfile.read(BytesIO(data))
    end = 0.0
    for piece, segment in zip(said, segments, strict=True):
        require(segment["start"] >= end - 0.001, "I4", f"parts of {order.name} overlap")
        end = segment["end"]
        tone = sounds.heard(samples[round(segment["start"] * rate) : round(end * rate)], rate)
        wanted = sounds.pitch(piece)
        require(abs(tone - wanted) < HERTZ, "I4", f"{order.name}: {tone:.0f} Hz, not {wanted}")
    require(abs(end - len(samples) / rate) < 0.01, "I4", f"{order.name} has more than its parts")


def pieces(world: World, job: Job) -> list[str]:
    """The texts of a job's segments, in the order of speech."""
    stored = world.lab.moto.object(_work_bucket(world), f"texts/{job.tenant}/{job.text_id}.txt") or b""
    return [stored[row.start : row.end].decode() for row in world.watch.segments(job.id)]


def _work_bucket(world: World) -> str:
    return world.fleet.settings("start_segment").work_bucket


def _nothing_hangs(world: World) -> None:
    """I15, and that nothing comes due for ever."""
    require(not world.watch.due, "I14", lambda: f"comes due for ever: {sorted(world.watch.due)[:3]}")
    require(world.post.is_empty(), "I15", "messages are left")


def _bills(world: World, jobs: list[Job], *, faultless: bool) -> None:
    """I5, I20: whatever was billed shows in an attempt that says so, or that says that nobody knows."""
    settled: Counter[str] = Counter()
    unsure: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    good_of: Counter[str] = Counter()
    unsure_of: Counter[str] = Counter()
    for job in jobs:
        rows = world.watch.segments(job.id)
        for text, row in zip(pieces(world, job), rows, strict=True):
            said = text.strip()
            wanted[said] += 1
            _count(row, row.audio_key, good_of, unsure_of)
            _count(row, said, settled, unsure)
            good = sum(attempt.outcome is Outcome.SETTLED and attempt.problem_code is None for attempt in row.attempts)
            require(good <= 1, "I5", "a segment was bought again after it was bought well")
    for key, good in good_of.items():
        require(good <= 1 + unsure_of[key], "I5", f"{good} jobs bought the same audio, {unsure_of[key]} unsure")
    billed = Counter({text.strip(): count for text, count in world.market.bill().items()})
    spoilt = Counter(sale.text.strip() for sale in world.market.sales if sale.purchase.fault is not None)
    reconciled = {sale.text.strip() for sale in world.market.sales if sale.vendor == "creatify"}
    stood_still = any(fired.fault.kind == STALL for fired in world.plan.fired)
    for said in billed | settled:
        count = billed[said]
        known, maybe = settled[said], unsure[said]
        require(known <= count <= known + maybe, "I20", f"{count} billed, {known} recorded, {maybe} more may have been")
        if said in reconciled and not stood_still:
            require(count - spoilt[said] <= wanted[said], "I5", "bought twice from a vendor that can be asked")
        if faultless:
            require(count == 1, "I5", f"without faults bought {count} times")
    world.paid = sum(billed.values())
    world.needed = len(wanted)
    world.flagged = sum(unsure.values())


def _count(row: Segment, said: str, settled: Counter[str], unsure: Counter[str]) -> None:
    for attempt in row.attempts:
        if attempt.outcome is Outcome.SETTLED and attempt.problem_code is None:
            settled[said] += 1
        elif attempt.outcome is not Outcome.RELEASED:
            unsure[said] += 1


def _silence(world: World) -> None:
    """I17: no text, key, token or link anywhere but where it belongs. And no bug was swallowed."""
    said = "\n".join(world.lab.said)
    inside = "\n".join(body for body in world.post.bodies if '"v":' in body[:6])
    told = "\n".join(each["Detail"] for each in world.cloud.events) + "\n".join(world.customer.bodies)
    secrets = {word for order in world.orders for word in canaries(order)}
    secrets |= {SIGNING_KEY, world.lab.api_token, "vendor-canary-", "X-Amz-Signature", *world.tokens}
    for place, text in (("a log", said), ("a message", inside), ("an event", told)):
        for secret in secrets:
            require(secret not in text, "I17", f"a secret is in {place}")
    bug = BUGS.search(said)
    require(bug is None, "BUG", lambda: f"swallowed: {_line_of(said, bug.start() if bug else 0)}")


def canaries(order: Order) -> set[str]:
    """Words of a text that are nowhere else."""
    return {word for word in re.findall(r"[A-Za-z]+", order.text) if len(word) > 9}


def _line_of(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 : text.find("\n", at)][:700]
