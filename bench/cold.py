"""(a) Cold starts: each function's import and first call beside the smallest program with the same clients."""

import ast
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.cloud import Cloud, Event, Report, cloud, sample
from bench.figures import interleaved, median, table
from local.process import ROOT
from speech.callbacks import make_token

TARGET = 1.15
TEXT = "The tide was out when run {number} began, and the gulls had the whole of the beach to themselves."

ABOUT = """\
Each function's import and first call in a fresh process, on a real event, beside the smallest program that imports the
same third-party modules, makes the same AWS clients with the same configuration, and calls each of them, and the
vendor, once. That program is generated from what the function was seen to use. Both processes have loaded Lambda's
runtime client before the clock starts; the package is compiled as in the layer, `app.py` is not, as deployed. Where a
function decodes audio, or encodes MP3, so does the small program: the same audio, once, with the same library. AWS is
moto and vendors are emulators on this machine; the time of every further call of a function is in its figure.
"""

CALLS = {
    "dynamodb": 'get_item(TableName=os.environ["JOBS_TABLE"], Key={"pk": {"S": "bench"}, "sk": {"S": "bench"}})',
    "s3": 'put_object(Bucket="bench", Key="bench", Body=b"bench")',
    "sqs": 'send_message(QueueUrl=os.environ["BENCH_QUEUE_URL"], MessageBody="bench")',
    "secretsmanager": 'get_secret_value(SecretId="bench")',
    "events": 'put_events(Entries=[{"Source": "bench", "DetailType": "bench", "Detail": "{}"}])',
}
"""One call for each AWS client that a function makes."""

VENDOR_CALLS = {
    "POST /api/v1/tts/speech": 'post(os.environ["VOICEAI_BASE_URL"] + "/api/v1/tts/speech", headers='
    '{"Authorization": "Bearer key"}, json={"text": event["text"], "audio_format": "wav"})',
    "GET /api/text_to_speech": 'get(os.environ["CREATIFY_BASE_URL"] + "/api/text_to_speech/", headers='
    '{"X-API-ID": "id", "X-API-KEY": "key"})',
}
"""The vendor call of the functions that make one. Plain http needs no certificates, so neither side loads any."""

AUDIO_CALLS = {
    "speech.audio.decode": 'samples, rate = soundfile.read(os.environ["BENCH_AUDIO"], dtype="float32")',
    "speech.audio.lame": "mp3 = lameenc.Encoder(); mp3.silence(); mp3.set_channels(1); mp3.set_in_sample_rate(rate); "
    "mp3.set_vbr(4); mp3.set_vbr_quality(5.0); mp3.set_quality(3); "
    "mp3.encode((samples * 32767).astype('int16').tobytes()); mp3.flush()",
}
"""What whoever has loaded one of these modules of ours did with the library of audio."""


def measure(runs: int) -> str:
    """The section of the report."""
    with cloud() as world:
        rows = list(_rows(world, runs))
    worst, worst_cpu = (max(float(row[column]) for row in rows) for column in (3, 4))
    return f"""## Cold starts

{ABOUT}
{table(["function", "ours, ms", "smallest, ms", "ratio", "ratio of CPU", "our AWS calls", "clients"], rows)}

Target: {TARGET}. Worst: {worst:.2f} on the clock, where calls to one moto process are
most of the difference; {worst_cpu:.2f} by CPU.
"""


def _rows(world: Cloud, runs: int) -> Iterator[Sequence[str]]:
    world.s3.create_bucket(Bucket="bench")
    queue = world.sqs.create_queue(QueueName="bench")["QueueUrl"]
    world.client("secretsmanager").create_secret(Name="bench", SecretString="bench")
    (world.folder / "audio.wav").write_bytes(world.speak(TEXT, "wav"))
    needs = {"BENCH_QUEUE_URL": queue, "BENCH_AUDIO": str(world.folder / "audio.wav")}
    for name in world.names:
        # One more, to warm the servers up, and one for finding out what the function uses.
        events = list(_events(world, name, runs + 2))
        with world.worker(name, watched=True) as watched:
            seen = watched(events.pop())
        code = world.folder / "smallest" / name
        code.mkdir(parents=True)
        (code / "app.py").write_text(smallest(seen, world.code(name) / "app.py"), encoding="utf-8")

        def ours(number: int, name: str = name, events: list[Event] = events) -> Report:
            with world.worker(name) as worker:
                return worker(events[number])

        def floor(number: int, name: str = name, code: Path = code) -> Report:
            with world.worker(name, code=code, **needs) as worker:
                return worker({"text": TEXT.format(number=f"{name} {number}")})

        variants: dict[str, Callable[[int], Report]] = {"ours": ours, "floor": floor}
        figures = interleaved(runs + 1, variants)
        wall = {side: median(each.wall for each in reports[1:]) for side, reports in figures.items()}
        cpu = {side: median(each.cpu for each in reports[1:]) for side, reports in figures.items()}
        yield (
            f"`{name}`",
            f"{wall['ours']:.0f}",
            f"{wall['floor']:.0f}",
            f"{wall['ours'] / wall['floor']:.2f}",
            f"{cpu['ours'] / cpu['floor']:.2f}",
            str(sum(call.service != "vendor" for call in seen.calls)),
            ", ".join(sorted({call.service for call in seen.calls} - {"vendor"})),
        )


# --- the events ---


def _events(world: Cloud, name: str, number: int) -> Iterator[Event]:
    """Events that have never been handled, each of a job of its own."""
    make = _MAKERS.get(name)
    for each in range(number):
        text = TEXT.format(number=f"{each} of {name}")
        if make is not None:
            yield make(world, text)
        else:
            world.empty()
            world.post(text)
            yield world.take(name)


def _upload(world: Cloud, text: str) -> Event:
    world.empty()
    world.s3.put_object(Bucket=world.made.wiring.outputs["TextsBucket"], Key=f"in/{text[:40]}.txt", Body=text.encode())
    return world.take("ingest_upload")


def _message(world: Cloud, text: str) -> Event:
    world.empty()
    body = f'{{"text": "{text}"}}'
    world.sqs.send_message(QueueUrl=world.made.wiring.outputs["RequestsQueueUrl"], MessageBody=body)
    return world.take("ingest_message")


def _dead_letter(world: Cloud, text: str) -> Event:
    """A synthesis message that nobody could handle."""
    world.empty()
    world.post(text)
    return world.take("start_segment")


def _working(world: Cloud, text: str) -> str:
    """A job of which Creatify has taken the only segment; its id."""
    world.empty()
    job: str = json.loads(world.post(text, vendor="creatify").answer["body"])["id"]
    world.run("start_segment", world.take("start_segment"))
    return job


def _check(world: Cloud, text: str) -> Event:
    """A check that finds the vendor done: it fetches, verifies and stores."""
    event = sample("check_segment")
    record = event["Records"][0]
    record["body"] = f'{{"v":1,"tenant":"default","job_id":"{_working(world, text)}","segment":0,"attempt":1}}'
    time.sleep(0.6)  # the audio must be ready; the emulator speaks for half a second, and cannot be waited for
    return event


def _callback(world: Cloud, text: str) -> Event:
    arn = world.made.wiring.outputs["SigningSecretArn"]
    key = world.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"].encode()
    token = make_token(key, job_id=_working(world, text), segment=0, attempt=1, expires_at=int(time.time()) + 3600)
    return sample("creatify_callback") | {"pathParameters": {"token": token}}


_MAKERS: dict[str, Callable[[Cloud, str], Event]] = {
    "jobs_api": lambda world, text: world.post_event(text),
    "ingest_upload": _upload,
    "ingest_message": _message,
    "check_segment": _check,
    "vendor_callback": _callback,
    "close_failed_job": _dead_letter,
    "sweep": lambda world, _: world.scheduled(),
}


# --- the smallest program ---


def smallest(seen: Report, app: Path) -> str:
    """A function that imports, makes and calls what the one that was seen did, and does nothing else."""
    services = list(dict.fromkeys(call.service for call in seen.calls if call.service != "vendor"))
    vendor = next((call.operation for call in seen.calls if call.service == "vendor"), None)
    imports = [*dict.fromkeys(_third_party(seen, app)), "import io", "import os"]
    clients = ["import boto3", "from botocore.config import Config", "session = boto3.session.Session()"]
    clients += [f"{name} = session.client({name!r}, config=Config(**{seen.clients[name]!r}))" for name in services]
    calls = [f"{name}.{CALLS[name]}" for name in services]
    calls += [call for module, call in AUDIO_CALLS.items() if module in seen.modules]
    if vendor is not None:
        call = next(text for start, text in VENDOR_CALLS.items() if vendor.startswith(start))
        imports.append("import httpx")
        # Plain HTTP on loopback has no certificate to check, and loading the CAs would flatter our own start.
        calls.append(f"httpx.Client(verify=False, trust_env=False).{call}.raise_for_status()")  # plain HTTP
    body = "\n    ".join(calls)
    return "\n".join([*imports, *(clients if services else []), "", "def handler(event, context):", f"    {body}", ""])


def _third_party(seen: Report, app: Path) -> Iterator[str]:
    """What our own modules import of what is not ours, as they write it, if it was loaded."""
    loaded = set(seen.modules)
    package = ROOT / "layers" / "speech"
    own = [package / f"{name.replace('.', '/')}.py" for name in sorted(loaded) if name.startswith("speech.")]
    for path in (app, *(path for path in own if path.exists())):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (f"import {each.name}" for each in node.names if _foreign(each.name, loaded))
            elif isinstance(node, ast.ImportFrom) and _foreign(node.module or "", loaded):
                yield ast.unparse(node)


def _foreign(module: str, loaded: set[str]) -> bool:
    root = module.partition(".")[0]
    return module in loaded and root != "speech" and root not in sys.stdlib_module_names
