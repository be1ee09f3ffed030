"""The edge on fakes: the ways in and the callback wired together, and the functions called with real events."""

import importlib.util
import json
import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from speech import vendors
from speech.apikeys import SCOPES, new_key
from speech.jobs import Job
from speech.settings import Settings
from speech.usecases.accept_job import AcceptJob
from speech.usecases.cancel_job import CancelJob
from speech.usecases.check_api_key import CheckApiKey
from speech.usecases.clean_up import CleanUp
from speech.usecases.erase_job import EraseJob
from speech.usecases.finish_job import FinishJob
from speech.usecases.ingest_message import IngestMessage
from speech.usecases.ingest_upload import IngestUpload
from speech.usecases.list_vendors import ListVendors
from speech.usecases.list_voices import ListVoices
from speech.usecases.post_job import PostJob
from speech.usecases.read_job import ReadJob
from speech.usecases.read_vendor import ReadVendor
from speech.usecases.vendor_callback import VendorCallback
from speech.vendors.base import Vendor
from speech.vendors.creatify import read_callback
from speech.vendors.http import VendorClient
from tests.fakes import (
    FakeCache,
    FakeClock,
    FakeDispatcher,
    FakeInputStore,
    FakeJobStore,
    FakeKeys,
    FakePolicies,
    FakeResultStore,
    FakeSegmentStore,
    FakeTextStore,
)

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "voicedrop-texts"


def event(name: str) -> dict[str, Any]:
    """A sample event of `events/`."""
    loaded: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def function(folder: str) -> ModuleType:
    """The module of a function, loaded as Lambda does but under a name of its own."""
    path = ROOT / "functions" / folder / "app.py"
    spec = importlib.util.spec_from_file_location(f"function_{folder}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Context:
    """What Lambda tells a function about its invocation."""

    function_name = "edge"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:edge"
    aws_request_id = "8a4f1c5e-0000-0000-0000-000000000000"


def a_notification(key: str, **changes: Any) -> str:
    """The body of a queue message that tells of one created object; `key` is as S3 encodes it."""
    body: dict[str, Any] = json.loads(event("s3_put")["Records"][0]["body"])
    described = {"key": key, "versionId": "v1", "sequencer": "0055AED6DCD90281E5", **changes}
    body["Records"][0]["s3"]["object"] = {name: value for name, value in described.items() if value is not None}
    return json.dumps(body)


@dataclass
class Edge:
    """Everything a function of the edge asks of `services()`, on fakes."""

    settings: Settings = field(
        default_factory=lambda: Settings(
            texts_bucket=BUCKET, default_voices={"convai": "WUMale 1"}, callback_base_url="https://speech.example"
        )
    )
    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeJobStore = field(default_factory=FakeJobStore)
    texts: FakeTextStore = field(default_factory=FakeTextStore)
    audio: FakeSegmentStore = field(default_factory=FakeSegmentStore)
    inputs: FakeInputStore = field(default_factory=FakeInputStore)
    results: FakeResultStore = field(default_factory=FakeResultStore)
    dispatcher: FakeDispatcher = field(default_factory=FakeDispatcher)
    keys: FakeKeys = field(default_factory=FakeKeys)
    policies: FakePolicies = field(default_factory=FakePolicies)
    vendor_url: str = "http://127.0.0.1:1"

    def __post_init__(self) -> None:
        self.cache = FakeCache(self.clock)
        self.accept_job = AcceptJob(
            self.store,
            self.texts,
            self.dispatcher,
            self.clock,
            self.settings,
            vendors,
            self.policies,
            self.inputs,
        )
        self.post_job = PostJob(self.accept_job)
        self.read_job = ReadJob(self.store, self.results, self.clock)
        self.cancel_job = CancelJob(self.store, FinishJob(self.store, self.dispatcher, self.clock, self.settings))
        self.clean_up = CleanUp(self.store, self.texts, self.audio, self.results, self.clock)
        self.erase_job = EraseJob(self.store, self.cancel_job, self.clean_up, self.clock, self.settings)
        self.list_vendors = ListVendors(vendors, self.settings, self.policies, self.clock)
        self.list_voices = ListVoices(vendors, self.vendor, self.cache, self.settings)
        self.read_vendor = ReadVendor(vendors, self.list_vendors, self.vendor, self.store)
        self.check_api_key = CheckApiKey(self.store, self.keys, self.clock)
        self.ingest_upload = IngestUpload(self.inputs, self.store, self.accept_job, self.settings)
        self.ingest_message = IngestMessage(self.accept_job)
        self.vendor_callback = VendorCallback(self.keys, self.dispatcher, self.clock, read_callback)

    def vendor(self, name: str, *, fresh_keys: bool = False) -> Vendor:
        """The real adapter of a vendor, which is at `vendor_url`."""
        client = VendorClient(name, self.vendor_url, local=True, deadline_seconds=5)
        return vendors.vendor_class(name)(client, self.keys.vendor_keys(fresh=fresh_keys))

    def an_api_key(self, *scopes: str) -> str:
        """An API key of this stack, as its owner holds it."""
        token, record = new_key(pepper=self.keys.signing, env="test", scopes=scopes or SCOPES, now=self.clock.now())
        self.store.put_api_key(record)
        return token

    def drop(self, key: str, data: bytes | str, *, metadata: Mapping[str, str] | None = None) -> Job:
        """Place a file in the texts bucket and let S3 tell of it; returns the job it made."""
        before = {job.id for job in self.store.jobs()}
        content = data.encode() if isinstance(data, str) else data
        placed = self.inputs.drop(BUCKET, key, content, metadata=metadata)
        self.ingest_upload(a_notification(s3_encoded(key), versionId=placed.version_id))
        made = [job for job in self.store.jobs() if job.id not in before]
        assert len(made) == 1
        return made[0]

    def only_job(self) -> Job:
        jobs = self.store.jobs()
        assert len(jobs) == 1
        return jobs[0]

    def call(self, folder: str, of: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a function of the edge with an event."""
        module = function(folder)
        # Its composition root is the cloud's; here its services are these.
        module.services = lambda: self  # type: ignore[attr-defined]  # a module's own name, set from outside
        with warnings.catch_warnings():
            # Forgotten between tests by pytest, which has filters of its own.
            warnings.filterwarnings("ignore", message="No application metrics to publish")
            answer: dict[str, Any] = module.handler(deepcopy(dict(of)), Context())
        return answer


def s3_encoded(key: str) -> str:
    """A key as S3 writes it in a notification."""
    from urllib.parse import quote_plus

    return quote_plus(key, safe="/")
