"""(b) A warm segment: our CPU beside the vendor and AWS calls, and every AWS call in the life of a job."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import soundfile

from bench.cloud import Cloud, Report, cloud
from bench.figures import cpu_ms, interleaved, median, table

OURS_MS = 5.0
DECODES = 1.5

SENTENCES = (
    "The harbour master counts the boats at dusk, and writes each name into a book that nobody else has ever read.",
    "When the fog comes in he rings the old bell by hand, slowly, and the fishermen find their way home by the sound.",
    "On clear nights the lamps of the far shore lie on the water like a second street, quieter than the first.",
    "Of these evenings, number {number} of {kind} was the longest that anyone in the village could remember.",
)

WHY = {
    ("jobs_api", "dynamodb GetItem"): "whose API key this is; kept for a minute",
    ("jobs_api", "secretsmanager GetSecretValue"): "the pepper of API keys; kept for five minutes",
    ("jobs_api", "s3 PutObject"): "the text, before the row that names it",
    ("jobs_api", "dynamodb TransactWriteItems"): "the commit: job and segment rows at once",
    ("jobs_api", "sqs SendMessage"): "wakes start_segment",
    ("ingest_message", "dynamodb GetItem"): "did this message come before?",
    ("ingest_message", "s3 PutObject"): "the text",
    ("ingest_message", "dynamodb TransactWriteItems"): "the commit",
    ("ingest_message", "sqs SendMessage"): "wakes start_segment",
    (
        "ingest_upload",
        "dynamodb GetItem",
    ): "did this version of the file come before?",
    ("ingest_upload", "s3 HeadObject"): "size and options of the file",
    ("ingest_upload", "s3 GetObject"): "the nearest voicedrop.json and lexicon.csv, folder by folder; then the file",
    ("ingest_upload", "s3 PutObject"): "our own copy of the text",
    ("ingest_upload", "dynamodb TransactWriteItems"): "the commit",
    ("ingest_upload", "sqs SendMessage"): "wakes start_segment",
    ("ingest_upload", "dynamodb PutItem"): "this job is the newest of its object key",
    ("start_segment", "dynamodb BatchGetItem"): "job, segment and how the vendor fares, in one read",
    ("start_segment", "s3 HeadObject"): "is this audio there already? then nothing is bought",
    ("start_segment", "s3 GetObject"): "the segment's text; queues carry ids only",
    ("start_segment", "secretsmanager GetSecretValue"): "the vendor's key; kept for five minutes",
    ("start_segment", "s3 PutObject"): "the verified audio, under its content",
    (
        "start_segment",
        "dynamodb TransactWriteItems",
    ): "the attempt, and that nobody else makes it, before the vendor is called; then all at once: the segment is "
    "stored and counted, its job goes to assembly",
    ("start_segment", "sqs SendMessage"): "wakes assemble_audio",
    ("assemble_audio", "dynamodb GetItem"): "the job; for a drop also which job is the newest of its key",
    ("assemble_audio", "dynamodb PutItem"): "the lease: one assembles, and a dead one is noticed",
    ("assemble_audio", "dynamodb Query"): "the segments; the rows decide, not the counter",
    ("assemble_audio", "s3 GetObject"): "the audio of the segment; the text, for the cues",
    ("assemble_audio", "s3 PutObject"): "audio, .vtt, .srt, .manifest.json",
    ("assemble_audio", "dynamodb TransactWriteItems"): "the end and what is to be told, at once",
    ("assemble_audio", "sqs SendMessage"): "wakes deliver_event",
    ("deliver_event", "dynamodb BatchGetItem"): "what is to be told, and the job, in one read",
    ("deliver_event", "dynamodb GetItem"): "which job is the newest of this object key",
    ("deliver_event", "events PutEvents"): "tells the account",
    ("deliver_event", "s3 DeleteObject"): "an error page of an earlier version goes",
    ("deliver_event", "dynamodb PutItem"): "it was told",
}


def measure(runs: int) -> str:
    """The section of the report."""
    with cloud() as world:
        cpu, calls = list(_cpu(world, runs)), _calls(world)
    return f"""## A warm segment

CPU of `start_segment` in a warm process, for a segment of {len(_text(0, "wav"))} characters of Voice.ai: all of the
process's CPU, less what was spent inside botocore's calls (measured in place, in the same run), less what the same
request to the same server costs with httpx alone. The rest is ours; it should be under {OURS_MS:g} ms plus {DECODES:g}
decodes. A decode is one `soundfile.read` of the segment's audio.

{table(["audio", "all, ms", "AWS calls, ms", "bare httpx, ms", "ours, ms", "a decode, ms", "allowed, ms"], cpu)}

## AWS calls of a job with one segment

By botocore's own hooks, in warm processes, from the way in until everything is told. What is kept in memory for minutes
(API keys, secrets) is not read again and so not here.

{calls}
"""


def _text(number: int, kind: str) -> str:
    """Never the same twice: what was spoken before is not bought again."""
    return " ".join(SENTENCES).format(number=number, kind=kind)


def _cpu(world: Cloud, runs: int) -> Iterator[Sequence[str]]:
    code = world.folder / "bare"
    code.mkdir()
    (code / "app.py").write_text(BARE, encoding="utf-8")
    with world.worker("start_segment", code=code) as bare:
        for audio_format in ("wav", "mp3"):

            def ours(run: int, audio_format: str = audio_format) -> Report:
                world.empty()
                world.post(_text(run, audio_format), vendor_options={"audio_format": audio_format})
                return world.run("start_segment", world.take("start_segment"))

            def alone(run: int, audio_format: str = audio_format) -> Report:
                return bare({"text": _text(run, f"another {audio_format}"), "audio_format": audio_format})

            variants: dict[str, Callable[[int], Report]] = {"ours": ours, "alone": alone}
            figures = {name: reports[1:] for name, reports in interleaved(runs + 1, variants).items()}
            whole = median(each.cpu for each in figures["ours"])
            aws = median(each.aws_cpu for each in figures["ours"])
            vendor = median(each.cpu for each in figures["alone"])
            decode = _decode_ms(world, audio_format)
            mine = median(each.cpu - each.aws_cpu for each in figures["ours"]) - vendor
            allowed = OURS_MS + DECODES * decode
            yield audio_format, *(f"{each:.1f}" for each in (whole, aws, vendor, mine, decode, allowed))


def _decode_ms(world: Cloud, audio_format: str) -> float:
    """CPU of decoding the same speech once."""
    audio = world.speak(_text(0, "decoded"), audio_format)
    return cpu_ms(lambda: soundfile.read(io.BytesIO(audio), dtype="float32"))


BARE = """
import os
import httpx

client = httpx.Client(verify=False, trust_env=False)  # plain HTTP on loopback has no certificate to check

def handler(event, context):
    url = os.environ["VOICEAI_BASE_URL"] + "/api/v1/tts/speech"
    client.post(url, headers={"Authorization": "Bearer key"}, json=event).raise_for_status()
"""


# --- the calls ---


def _calls(world: Cloud) -> str:
    def api(text: str) -> list[tuple[str, Report]]:
        return [("jobs_api", world.post(text))]

    def drop(text: str) -> list[tuple[str, Report]]:
        bucket = world.made.wiring.outputs["TextsBucket"]
        world.s3.put_object(Bucket=bucket, Key=f"{text[:20]}.txt", Body=text.encode())
        return []

    def message(text: str) -> list[tuple[str, Report]]:
        body = json.dumps({"text": text})
        world.sqs.send_message(QueueUrl=world.made.wiring.outputs["RequestsQueueUrl"], MessageBody=body)
        return []

    ways = {"API": api, "drop": drop, "message": message}
    made: dict[str, Counter[tuple[str, str]]] = {}
    world.empty()
    for name, way in ways.items():
        for text in (f"{name} to warm up.", f"{name} that counts."):
            steps = way(text) + world.drain()
            calls = [(step, f"{each.service} {each.operation}") for step, report in steps for each in report.calls]
            made[name] = Counter(each for each in calls if not each[1].startswith("vendor"))
    rows = [
        (f"`{function}`", call, *(made[name][function, call] or "" for name in ways), why)
        for (function, call), why in WHY.items()
        if any(made[name][function, call] for name in ways)
    ]
    unexplained = {each for counter in made.values() for each in counter} - WHY.keys()
    if unexplained:
        raise ValueError(f"Calls without a reason: {sorted(unexplained)}")
    total = ("all", "", *(sum(made[name].values()) for name in ways), "")
    return table(["function", "call", *ways, "why"], [*rows, total])
