"""AWS for the tests: moto in this process, with the table, buckets and queues that the template describes."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.s3.responses import S3Response

from local.moto_mended import complete_on_condition
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
_answer = BotocoreStubber.__call__


def _answer_alone(stubber: BotocoreStubber, *event: Any, **facts: Any) -> Any:
    with _one_at_a_time:
        return _answer(stubber, *event, **facts)


@contextmanager
def in_process_aws() -> Iterator[Clients]:
    """The product's own clients on an empty moto, which takes one request at a time: it is not made for threads."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setattr(BotocoreStubber, "__call__", _answer_alone)
        patch.setattr(S3Response, "_key_response_post", complete_on_condition)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
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
