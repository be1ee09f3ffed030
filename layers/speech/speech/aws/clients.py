"""The boto3 clients of a process: one session, each client made when first used, every call bounded."""

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

CONNECT_SECONDS = 1.5
ATTEMPTS = 3
"""Of one call, the first included. Retrying is the queues' business; this is for the odd hiccup."""


class Clients:
    """Region, endpoint and credentials come from the environment, as boto3 reads it."""

    @cached_property
    def _session(self) -> "Session":
        import boto3

        return boto3.session.Session()

    @staticmethod
    def _config(read_seconds: float, signature_version: str | None = None) -> "Config":
        from boto3 import __version__
        from botocore.config import Config

        return Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            tcp_keepalive=True,
            signature_version=signature_version,
            # Two fifths of botocore's own work for a small write: the type checker has validated the
            # parameters, and the standard User-Agent is built anew twice for every call.
            parameter_validation=False,
            user_agent=f"voicedrop Boto3/{__version__}",
        )

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        return self._session.client("dynamodb", config=self._config(3))

    @cached_property
    def s3(self) -> "S3Client":
        from botocore.handlers import add_expect_header

        # With an endpoint of its own, botocore would sign links with SigV2, which knows no expiry of ours.
        client = self._session.client("s3", config=self._config(30, signature_version="s3v4"))
        # Asking S3 before each PUT whether to go on costs a round trip, more than sending what we send.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        return self._session.client("sqs", config=self._config(5))

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        return self._session.client("secretsmanager", config=self._config(5))

    @cached_property
    def events(self) -> "EventBridgeClient":
        return self._session.client("events", config=self._config(5))
