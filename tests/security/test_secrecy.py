"""Canaries in texts, keys, tokens and addresses: whatever goes wrong, none is in a log, a metric, a message, an event,
a row, a problem, an error page or a manifest (T8, I17).

The real functions, adapters and emulators; AWS in this process.
"""

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest

from local.emulators import EMULATORS
from local.emulators.base import Emulator
from speech.aws.clock import SystemClock
from speech.settings import TENANT
from speech.vendors import VENDORS, keys_of
from tests.fakes import FakeClock
from tests.fakes.aws import AUDIO_BUCKET
from tests.support.cloud import Cloud, a_cloud, a_put, a_record
from tests.support.edge import event

WORDS = ("zephyrquartz", "mirabellenkuchen", "oktoberlicht")
TEXT = f"The {WORDS[0]} met the {WORDS[1]} under the {WORDS[2]}, and nobody said a word."
HOOK = "https://customer.example/hook?secret=hookcanary4711"
FOLDER = "a folder"
PAUSE = threading.Event()
"""Never set: emulated vendors work in real time."""

LAST = 40
"""Steps after which a job must have ended; each is half a minute to the functions."""


def vendor_keys() -> dict[str, str]:
    return {name: f"canarykey{number}x{name.lower().replace('_', '')}" for number, name in enumerate(_names())}


def _names() -> list[str]:
    return [name for vendor in VENDORS for name in keys_of(vendor)]


QUOTING = f"Cannot say '{TEXT}' with key {' '.join(vendor_keys().values())} for {HOOK}"
"""What a vendor says that repeats all it was sent."""

FAULTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "nothing": ("", {}),
    "a refusal that quotes": (
        "status",
        {"status": 400, "body": {"message": QUOTING, "error": QUOTING, "code": QUOTING}},
    ),
    "a refused key that is quoted": ("status", {"status": 401, "body": QUOTING}),
    "no credit, and a quotation": ("status", {"status": 402, "body": {"detail": QUOTING, "error_message": QUOTING}}),
    "a failing server that quotes": ("status", {"status": 500, "body": QUOTING}),
    "a throttle that quotes": ("status", {"status": 429, "body": QUOTING}),
    "a success that quotes": ("json", {"body": {"text": QUOTING}}),
    "a page that quotes": ("html", {"body": f"<html>{QUOTING}</html>"}),
    "a failed job that quotes": ("job-failed", {"reason": f"Bad {' '.join(vendor_keys().values())}."}),
    "a failed job that quotes the text": ("job-failed", {"reason": f"What is a {WORDS[1]}?"}),
    "a status that quotes": ("job-unknown-status", {"reason": WORDS[2]}),
    "a socket that quotes": ("socket-error", {"reason": QUOTING}),
    "a lost answer": ("reset", {}),
    "silence": ("silent", {}),
}


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def emulator(vendor: str) -> Iterator[Emulator]:
    with EMULATORS[vendor](**EMULATORS[vendor].in_tests) as running:
        yield running


@pytest.mark.parametrize("name", FAULTS)
def test_t8_i17_no_canary_is_told_whatever_becomes_of_the_job(
    vendor: str, emulator: Emulator, name: str, log: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    fault, options = FAULTS[name]
    if fault:
        if fault not in emulator.faults.kinds:
            pytest.skip(f"the documents of {vendor} give no way to play {fault}")
        emulator.faults.play(fault, times=None, **options)
    environment = {
        "LOCAL": "true",
        "SEGMENT_ATTEMPTS": "1",
        "JOB_DEADLINE_SECONDS": "200",
        f"{vendor.upper()}_BASE_URL": emulator.url,
    }
    with a_cloud(**environment) as cloud:
        cloud.clients.secrets.update_secret(SecretId="vendors", SecretString=json.dumps(vendor_keys()))
        clock = FakeClock(SystemClock().now())
        cloud.services.__dict__["clock"] = clock
        token = cloud.an_api_key()
        posted = post(cloud, token, vendor, EMULATORS[vendor].default_voice)
        key = drop(cloud, vendor, EMULATORS[vendor].default_voice)

        ends = run_to_the_end(cloud, clock)

        assert len(ends) == 2
        assert set(ends) == {"completed"} if not fault else set(ends) <= {"completed", "failed"}
        asked = get(cloud, token, posted)
        seen = {
            "log": log.getvalue(),
            "standard streams": "".join(capfd.readouterr()),
            "answers": posted["body"] + without_links(asked["body"]),
            **sent(cloud),
            **pages(cloud, key),
        }
        secrets = canaries(token, tokens_of(emulator), links_in(asked["body"]))
    leaks = {(what, where) for what, shapes in secrets.items() for where, text in seen.items() if told(shapes, text)}
    # A row keeps the customer's address, for it will be called.
    assert leaks - {("webhook", "rows")} == set()


def post(cloud: Cloud, token: str, vendor: str, voice: str | None) -> dict[str, Any]:
    sample = event("api_post_job")
    sample["headers"] = {**sample["headers"], "authorization": f"Bearer {token}"}
    sample["body"] = json.dumps({"text": TEXT, "vendor": vendor, "voice": voice, "webhook_url": HOOK, "format": "wav"})
    answer: dict[str, Any] = cloud.call("jobs_api", sample)
    assert answer["statusCode"] == 202, answer["body"]
    return answer


def get(cloud: Cloud, token: str, posted: Mapping[str, Any]) -> dict[str, Any]:
    sample = event("api_get_job")
    sample["headers"] = {**sample["headers"], "authorization": f"Bearer {token}"}
    sample["rawPath"] = sample["requestContext"]["http"]["path"] = posted["headers"]["Location"]
    answer: dict[str, Any] = cloud.call("jobs_api", sample)
    assert answer["statusCode"] == 200
    return answer


def drop(cloud: Cloud, vendor: str, voice: str | None) -> str:
    """The same text as a file, so that there is a page about what became of it."""
    key = f"{FOLDER}/b.txt"
    options = {"voicedrop-vendor": vendor, **({"voicedrop-voice": voice} if voice else {})}
    version = cloud.drop(key, f"{TEXT}\n\n{TEXT}".encode(), metadata=options)
    cloud.call("ingest_upload", {"Records": [a_record(a_put(key, version), "drop")]})
    return key


def run_to_the_end(cloud: Cloud, clock: FakeClock) -> list[str]:
    """Every function in turn, and time in leaps; returns how the jobs ended."""
    handed_over = 0
    for _ in range(LAST):
        cloud.run()
        checks = [each for each in messages(cloud) if '"attempt"' in each]
        for body in checks[handed_over:]:
            cloud.call("check_segment", {"Records": [a_record(body, "check")]})
        handed_over = len(checks)
        rows = [row["status"]["S"] for row in cloud.rows() if row["sk"]["S"] == "job"]
        if set(rows) <= {"completed", "failed"}:
            cloud.run()
            return rows
        clock.advance(30)
        cloud.call("sweep", event("schedule"))
        PAUSE.wait(0.05)
    raise AssertionError(f"the jobs did not end: {rows}")


def messages(cloud: Cloud) -> list[str]:
    """The bodies of all messages that were sent."""
    found = []
    for call in cloud.calls:
        if call.service == "sqs" and call.writes:
            body = json.loads(call.request["body"])
            found += [each["MessageBody"] for each in body.get("Entries", [body]) if "MessageBody" in each]
    return found


def sent(cloud: Cloud) -> dict[str, str]:
    """What left for queues, event bus and table."""

    def of(service: str) -> str:
        return "\n".join(str(call.request["body"]) for call in cloud.calls if call.service == service and call.writes)

    return {"messages": of("sqs"), "events": of("eventbridge") + of("events"), "rows": of("dynamodb")}


def pages(cloud: Cloud, key: str) -> dict[str, str]:
    """What is published for people beside the audio: the text itself belongs to the subtitles alone."""
    published = cloud.objects(AUDIO_BUCKET)
    return {
        "page": published.get(f"{key}.error.md", b"").decode(),
        "manifests": "\n".join(data.decode() for name, data in published.items() if name.endswith(".manifest.json")),
    }


def tokens_of(emulator: Emulator) -> list[str]:
    """The callback tokens that a vendor was given."""
    journal = json.dumps([each.body for each in emulator.journal.entries], default=str)
    return re.findall(r"/callbacks/creatify/([\w-]+)", journal)


def links_in(body: str) -> list[str]:
    return re.findall(r"X-Amz-Signature=(\w+)", body)


def without_links(body: str) -> str:
    """The answer to whoever asked for the links is where they belong."""
    return re.sub(r'"https?://[^"]*X-Amz-Signature[^"]*"', "null", body)


def canaries(token: str, callbacks: list[str], links: list[str]) -> dict[str, list[str]]:
    return {
        "text": list(WORDS),
        "vendor key": list(vendor_keys().values()),
        "API key": [token, token.rsplit("_", 1)[-1]],
        "signing secret": ["s" * 48],
        "callback token": callbacks,
        "link": ["X-Amz-Signature", "X-Amz-Credential", *links],
        "webhook": ["hookcanary4711"],
    }


def told(shapes: list[str], text: str) -> bool:
    """Whether a secret stands in a text: as it is, as an address or JSON spells it, or in base 64."""
    folded = text.casefold()
    for shape in shapes:
        spelled = {shape, quote(shape, safe=""), json.dumps(shape)[1:-1]}
        spelled |= {base64.b64encode(b" " * shift + shape.encode()).decode()[4:-4] for shift in range(3)}
        if any(each.casefold() in folded for each in spelled if len(each) > 7):
            return True
    return False


def test_the_canaries_would_be_seen() -> None:
    """Or all of this would prove nothing."""
    text = f"{TEXT} {base64.b64encode(TEXT.encode()).decode()}"

    assert told([WORDS[1]], text)
    assert told([WORDS[1]], base64.b64encode(TEXT.encode()).decode())
    assert not told(["notthere"], text)


def test_i17_a_row_of_a_job_holds_no_text(cloud: Cloud) -> None:
    token = cloud.an_api_key()

    post(cloud, token, "voiceai", None)

    assert not told(list(WORDS), json.dumps(cloud.rows()))
    assert any(row["pk"]["S"].startswith(f"{TENANT}#job#") for row in cloud.rows())
