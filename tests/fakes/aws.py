"""AWS for the tests: moto in this process, with the table, buckets and queues that the template describes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.awsrequest import AWSResponse
from botocore.signers import RequestSigner
from moto import backends as moto_backends
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.core.request import normalize_request
from werkzeug.exceptions import HTTPException

from local import moto_mended
from local.template import ACCOUNT
from speech.aws.clients import Clients

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

REGION: Final = "eu-central-1"
TABLE = "jobs"
TEXTS_BUCKET = "voicedrop-texts"
AUDIO_BUCKET = "voicedrop-audio"
WORK_BUCKET = "voicedrop-work"

TABLE_DEFINITION: dict[str, Any] = {
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
        {"AttributeName": "due_shard", "AttributeType": "S"},
        {"AttributeName": "due_at", "AttributeType": "N"},
        {"AttributeName": "audio_key", "AttributeType": "S"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "due",
            "KeySchema": [
                {"AttributeName": "due_shard", "KeyType": "HASH"},
                {"AttributeName": "due_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
        {
            "IndexName": "audio",
            "KeySchema": [{"AttributeName": "audio_key", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
"""As in the template: a test compares the two."""


_one_at_a_time = RLock()
_BACKENDS = {"eventbridge": "events", "secrets-manager": "secretsmanager"}
"""What moto calls a service, where botocore calls it something else."""


@cache
def _routes(service: str) -> list[tuple[re.Pattern[str], Any]]:
    """The addresses at which moto plays a service, and who answers there."""
    name = _BACKENDS.get(service, service)
    any_backend: Any = moto_backends.get_backend  # without the types of two hundred services
    urls = any_backend(name)[ACCOUNT]["aws" if service == "s3" else REGION].urls
    return [(re.compile(pattern), method) for pattern, method in urls.items()]


def _answer(_: BotocoreStubber, event_name: str, request: Any, **_facts: Any) -> AWSResponse:
    """Ask moto by the shortest way: by itself it looks through the addresses of all its services, for every call."""
    address = request.url.partition("?")[0]
    method = next(method for pattern, method in _routes(event_name.split(".")[1]) if pattern.match(address))
    asked = normalize_request(request)
    with _one_at_a_time:
        try:
            status, headers, body = method(asked, asked.raw_url, asked.headers)
        except HTTPException as error:
            status, headers, body = error.code, error.get_headers(), error.get_body()
    return AWSResponse(request.url, status, headers, MockRawResponse(body))


_sign = RequestSigner.handler


def _sign_objects(signer: RequestSigner, operation_name: str, request: Any, **facts: Any) -> None:
    """moto checks no signature, it reads who asks for what; only to S3 the signer also says how a body is sent."""
    if signer.signing_name == "s3":
        _sign(signer, operation_name, request, **facts)
        return
    scope = f"20200101/{signer.region_name}/{signer.signing_name}/aws4_request"
    request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential=test/{scope}, SignedHeaders=host, Signature=none"


@contextmanager
def in_process_aws(region: str = REGION) -> Iterator[Clients]:
    """The product's own clients on an empty moto, which takes one request at a time: it is not made for threads."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setattr(BotocoreStubber, "__call__", _answer)
        patch.setattr(RequestSigner, "handler", _sign_objects)
        for owner, name, mended in moto_mended.ANYWHERE:
            patch.setattr(owner, name, mended)
        patch.setenv("AWS_DEFAULT_REGION", region)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.delenv("AWS_PROFILE", raising=False)
        yield Clients()


def create_table(client: "DynamoDBClient", name: str = TABLE) -> str:
    client.create_table(TableName=name, **TABLE_DEFINITION)
    return name


def create_bucket(client: "S3Client", name: str, *, versioned: bool = False) -> str:
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def create_queues(client: "SQSClient", *names: str) -> dict[str, str]:
    """Name → address, as the settings hand them to the dispatcher."""
    return {name: client.create_queue(QueueName=name)["QueueUrl"] for name in names}
