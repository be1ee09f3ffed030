"""The functions as they are deployed, called in this process on an empty moto: what they ask of AWS is there to see."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus
from zlib import crc32

import pytest

from speech.apikeys import SCOPES, new_key
from speech.aws.clients import Clients
from speech.bootstrap import Services, services
from speech.observability import metrics
from speech.vendors import VENDORS, keys_of
from speech.vendors.base import Voice
from tests.fakes.aws import (
    AUDIO_BUCKET,
    TABLE,
    TEXTS_BUCKET,
    WORK_BUCKET,
    create_bucket,
    create_queues,
    create_table,
    in_process_aws,
)
from tests.support.edge import Context, event, function
from tests.support.world import ScriptedVendor

QUEUES = (*VENDORS, "checks", "assembly", "deliveries")
SIGNING_SECRET = "s" * 48
STEPS = (("start_segment", VENDORS), ("assemble_audio", ("assembly",)), ("deliver_event", ("deliveries",)))
"""Which function takes from which queues, in the order of a job's life. Checks are for whoever has time."""


@dataclass(frozen=True)
class Call:
    """One call of the AWS API, as it leaves for the network."""

    service: str
    operation: str
    request: Mapping[str, Any] = field(repr=False)
    """The HTTP request, as botocore prepares it."""

    @property
    def writes(self) -> bool:
        return not self.operation.startswith(("Get", "Head", "List", "Query", "BatchGet", "Receive"))


@dataclass
class Cloud:
    """AWS in this process, and the functions' view of it. `clients` are the test's own."""

    clients: Clients
    queues: Mapping[str, str]
    calls: list[Call] = field(default_factory=list)
    """Every call of AWS that functions made, the oldest first. A test may clear it."""
    is_calling: bool = False

    @property
    def services(self) -> Services:
        return services()

    def call(self, folder: str, sent: Mapping[str, Any]) -> Any:
        """Call a function as Lambda does."""
        self.is_calling = True
        try:
            return _module(folder).handler(deepcopy(dict(sent)), Context())
        finally:
            self.is_calling = False

    def take(self, queue: str) -> list[dict[str, Any]]:
        """At most ten messages of a queue, taken from it, as records of an event."""
        sqs, url = self.clients.sqs, self.queues[queue]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for each in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return [a_record(each["Body"], each["MessageId"]) for each in found]

    def give_vendors_a_voice(self) -> None:
        """From now on whatever vendor is asked speaks at once, in this process."""
        speaking = _Speaking()
        self.services.vendor = lambda *_, **__: speaking  # type: ignore[method-assign]  # a test's own vendor

    def run(self, *, one_in: int = 1) -> list[dict[str, Any]]:
        """Let the functions that follow a job's way take what lies on their queues: of one job in so many.

        Returns the records that went back to their queue; they are not taken again.
        """
        failed: list[dict[str, Any]] = []
        for folder, queues in STEPS:
            for queue in queues:
                while taken := self.take(queue):
                    records = [each for each in taken if _is_chosen(json.loads(each["body"])["job_id"], one_in)]
                    if not records:
                        continue
                    answer = self.call(folder, {"Records": records})
                    refused = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
                    failed += [record for record in records if record["messageId"] in refused]
        return failed

    def drop(self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None) -> str:
        """Place a file in the texts bucket; returns its version."""
        put = self.clients.s3.put_object(Bucket=TEXTS_BUCKET, Key=key, Body=data, Metadata=dict(metadata or {}))
        return put["VersionId"]

    def an_api_key(self, scopes: Sequence[str] = SCOPES) -> str:
        here = self.services
        token, record = new_key(pepper=here.keys.signing_key(), env="test", scopes=scopes, now=here.clock.now())
        here.store.put_api_key(record)
        return token

    def states(self, *, one_in: int = 1) -> set[str]:
        """The states that jobs are in: those that `run` has let go on."""
        jobs = (row for row in self.rows() if row["sk"]["S"] == "job")
        return {row["status"]["S"] for row in jobs if _is_chosen(row["id"]["S"], one_in)}

    def rows(self) -> list[dict[str, Any]]:
        """Everything in the table."""
        found: list[dict[str, Any]] = []
        pages = self.clients.dynamodb.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
        for page in pages:
            found += page["Items"]
        return found

    def objects(self, bucket: str) -> dict[str, bytes]:
        """What lies in a bucket."""
        found = {}
        for page in self.clients.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for each in page.get("Contents", []):
                found[each["Key"]] = self.clients.s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        return found


class _Speaking(ScriptedVendor):
    def voices(self) -> list[Voice]:
        return [Voice(id="alice"), Voice(id="berta", languages=("de",))]

    def credits_left(self) -> float:
        return 1.0


def _is_chosen(job_id: str, one_in: int) -> bool:
    return crc32(job_id.encode()) % one_in == 0


@contextmanager
def a_cloud(**environment: str) -> Iterator[Cloud]:
    """Everything that the template makes, empty. The functions read their settings from this environment."""
    with in_process_aws(), pytest.MonkeyPatch.context() as patch:
        clients = _clients()
        create_table(clients.dynamodb)
        for name in (TEXTS_BUCKET, AUDIO_BUCKET, WORK_BUCKET):
            create_bucket(clients.s3, name, versioned=name != WORK_BUCKET)
        queues = create_queues(clients.sqs, *QUEUES)
        vendor_keys = {name: f"vk_{name.lower()}" for vendor in VENDORS for name in keys_of(vendor)}
        secrets = {
            name: clients.secrets.create_secret(Name=name, SecretString=value)["ARN"]
            for name, value in (("vendors", json.dumps(vendor_keys)), ("signing", SIGNING_SECRET))
        }
        defaults = {
            "JOBS_TABLE": TABLE,
            "TEXTS_BUCKET": TEXTS_BUCKET,
            "AUDIO_BUCKET": AUDIO_BUCKET,
            "WORK_BUCKET": WORK_BUCKET,
            "VENDOR_SECRET_ARN": secrets["vendors"],
            "SIGNING_SECRET_ARN": secrets["signing"],
            "EVENT_BUS_NAME": "default",
            "CALLBACK_BASE_URL": "https://speech.example",
            **{f"{name.upper()}_QUEUE_URL": url for name, url in queues.items()},
        }
        for name, value in {**defaults, **environment}.items():
            patch.setenv(name, value)
        services.cache_clear()
        services().__dict__["_clients"] = clients  # where a cached property keeps its value
        cloud = Cloud(clients, queues)
        _watchers.append(cloud)
        try:
            yield cloud
        finally:
            _watchers.remove(cloud)
            services.cache_clear()
            metrics.clear_metrics()


_watchers: list[Cloud] = []


@cache
def _clients() -> Clients:
    """The same for every cloud: to make them takes longer than most that is done with them."""
    clients = Clients()
    for client in (clients.dynamodb, clients.s3, clients.sqs, clients.secrets, clients.events):
        client.meta.events.register_first("before-call", _write_down)
    return clients


def _write_down(model: Any, params: Mapping[str, Any], **_: Any) -> None:
    for cloud in _watchers:
        if cloud.is_calling:
            cloud.calls.append(Call(model.service_model.service_name, model.name, params))


def a_record(body: str, message_id: str) -> dict[str, Any]:
    """A queue message as Lambda hands it over."""
    (sample,) = event("start_segment")["Records"]
    return {**sample, "messageId": message_id, "body": body}


def a_put(key: str, version: str | None, *, sequencer: str = "0055AED6DCD90281E5") -> str:
    """The notification of one created object."""
    body: dict[str, Any] = json.loads(event("s3_put")["Records"][0]["body"])
    body["Records"][0]["s3"]["bucket"]["name"] = TEXTS_BUCKET
    body["Records"][0]["s3"]["object"] = {
        "key": quote_plus(key, safe="/"),
        "size": 1,
        "sequencer": sequencer,
        **({"versionId": version} if version else {}),
    }
    return json.dumps(body)


@cache
def _module(folder: str) -> ModuleType:
    return function(folder)
