"""AWS in this process, as the product's boto3 clients see it: moto's table and buckets, the rest played here.

Every call is a point of the machine, and can fail before or after its effect in the ways that AWS fails.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from moto import backends as moto_backends

from local.template import ACCOUNT, REGION, Template
from speech.aws.clients import Clients
from tests.support.sim.chance import Fault
from tests.support.sim.machine import Machine, Unplayed


def get_backend(service: str) -> Any:
    """moto's own, without the types of two hundred services."""
    any_backend: Any = moto_backends.get_backend
    return any_backend(service)


READS = frozenset({"GetItem", "BatchGetItem", "Query", "HeadObject", "GetObject", "GetSecretValue", "ListObjectsV2"})

_BUSY: Mapping[str, tuple[str, int]] = {
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "s3": ("SlowDown", 503),
    "sqs": ("OverLimit", 403),
    "secretsmanager": ("ThrottlingException", 400),
    "events": ("ThrottlingException", 400),
}

Call = Callable[[], Any]


class Cloud:
    """What the functions of one world reach through boto3.

    `before` and `after` hear of every call that has an effect, with its service, operation and parameters.
    """

    def __init__(self, machine: Machine, secrets: Mapping[str, str]) -> None:
        self.machine = machine
        self._secrets = secrets
        self.send: Callable[[str, str, float], str] = lambda _url, _body, _delay: ""
        self.events: list[dict[str, Any]] = []
        self.effect: Callable[[str, str, Mapping[str, Any]], None] = lambda _service, _operation, _params: None
        self.touched: Callable[[str, str, Mapping[str, Any]], None] = lambda _service, _operation, _params: None
        self._last_pages: dict[str, Any] = {}

    def call(self, client: BaseClient, service: str, operation: str, params: dict[str, Any], real: Call) -> Any:
        """One call of the product's."""
        if self.machine.current is None:
            return real() if service in ("dynamodb", "s3") else self._played(service, operation, params)
        self.touched(service, operation, params)
        before, after = _faults_of(service, operation, params)

        def effect() -> Any:
            answer = real() if service in ("dynamodb", "s3") else self._played(service, operation, params)
            if operation not in READS:
                self.effect(service, operation, params)
            return answer

        def fail(fault: Fault, effect: Call) -> Any:
            return self._fail(client, service, operation, params, fault, effect)

        return self.machine.point(f"{service}.{operation}", effect, before=before, after=after, fail=fail)

    def _fail(
        self, client: BaseClient, service: str, operation: str, params: Mapping[str, Any], fault: Fault, effect: Call
    ) -> Any:
        match fault.kind:
            case "busy":
                code, status = _BUSY[service]
                raise _error(client, operation, code, status)
            case "broken":
                raise _error(client, operation, "InternalServerError", 500)
            case "conflict":
                raise _error(
                    client,
                    operation,
                    "TransactionCanceledException",
                    400,
                    CancellationReasons=[{"Code": "TransactionConflict"} for _ in params["TransactItems"]],
                )
            case "unreachable":
                raise EndpointConnectionError(endpoint_url=f"https://{service}.{REGION}.amazonaws.com/")
            case "unanswered":
                effect()
                raise ReadTimeoutError(endpoint_url=f"https://{service}.{REGION}.amazonaws.com/")
            case "broken afterwards":
                effect()
                raise _error(client, operation, "InternalServerError", 500)
            case "repeated":  # the SDK sends again what was not answered, bodies from their beginning
                effect()
                if hasattr(params.get("Body"), "seek"):
                    params["Body"].seek(0)
                return effect()
            case "stale":
                key = str(params.get("ExpressionAttributeValues"))
                fresh = effect()
                return self._last_pages.get(key.partition("'N'")[0]) or {**fresh, "Items": fresh["Items"][1:]}
            case "partly":
                return self._partly(service, params, effect)
            case "refused":
                return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        raise Unplayed(f"nothing plays {fault.kind}")

    def _partly(self, service: str, params: Mapping[str, Any], effect: Call) -> Any:
        if service == "sqs":
            taken, refused = params["Entries"][:-1], params["Entries"][-1]
            for each in taken:
                self.send(params["QueueUrl"], each["MessageBody"], float(each.get("DelaySeconds", 0)))
            return {"Successful": [], "Failed": [{"Id": refused["Id"], "SenderFault": False, "Code": "InternalError"}]}
        answer = effect()
        ((table, wanted),) = params["RequestItems"].items()
        last = wanted["Keys"][-1]
        rows = [row for row in answer["Responses"][table] if any(row[name] != last[name] for name in last)]
        left = {table: {"Keys": [last], "ConsistentRead": True}}
        return {**answer, "Responses": {table: rows}, "UnprocessedKeys": left}

    def _played(self, service: str, operation: str, params: Mapping[str, Any]) -> Any:
        """The services that moto is not asked for."""
        match service, operation:
            case "sqs", "SendMessage":
                letter = self.send(params["QueueUrl"], params["MessageBody"], float(params.get("DelaySeconds", 0)))
                return {"MessageId": letter}
            case "sqs", "SendMessageBatch":
                for each in params["Entries"]:
                    self.send(params["QueueUrl"], each["MessageBody"], float(each.get("DelaySeconds", 0)))
                return {"Successful": [{"Id": each["Id"]} for each in params["Entries"]], "Failed": []}
            case "secretsmanager", "GetSecretValue":
                return {"SecretString": self._secrets[params["SecretId"]]}
            case "events", "PutEvents":
                self.events.extend(params["Entries"])
                return {"FailedEntryCount": 0, "Entries": [{} for _ in params["Entries"]]}
        raise Unplayed(f"nobody plays {service}.{operation}")


def _faults_of(service: str, operation: str, params: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    before: tuple[str, ...] = ("busy", "broken", "unreachable")
    after: tuple[str, ...] = () if operation in READS else ("unanswered", "broken afterwards", "repeated")
    if operation == "TransactWriteItems":
        before = (*before, "conflict")
    if operation == "BatchGetItem" or (operation == "SendMessageBatch" and len(params["Entries"]) > 1):
        after = (*after, "partly")
    if operation == "Query" and "IndexName" in params:
        after = ("stale",)
    if operation == "PutEvents":
        after = ("unanswered", "refused")
    if operation == "UpdateItem":
        after = ("unanswered", "broken afterwards")  # ADD is not idempotent, and the SDK repeats it all the same
    return before, after


def _error(client: BaseClient, operation: str, code: str, status: int, **facts: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "played"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **facts,
    }
    kind: Any = client.exceptions.from_code(code)
    error: ClientError = kind(response, operation)
    return error


# --- moto ---------------------------------------------------------------------------------------------


class Moto:
    """moto with the table and the buckets of the template, emptied from world to world."""

    def __init__(self, clients: Clients, template: Template) -> None:
        for logical_id, properties in template.resources("AWS::DynamoDB::Table"):
            wanted = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
            clients.dynamodb.create_table(
                TableName=template.name(logical_id), **{name: properties[name] for name in wanted}
            )
        for logical_id, properties in template.resources("AWS::S3::Bucket"):
            bucket = template.name(logical_id)
            clients.s3.create_bucket(Bucket=bucket)
            if "VersioningConfiguration" in properties:
                versioning = properties["VersioningConfiguration"]
                clients.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
        self._tables = get_backend("dynamodb")[ACCOUNT][REGION].tables
        self._buckets = get_backend("s3")[ACCOUNT]["aws"].buckets

    def empty(self) -> None:
        for table in self._tables.values():
            table.items.clear()
        for bucket in self._buckets.values():
            for key in list(bucket.keys.keys()):
                bucket.keys.pop(key)

    def object(self, bucket: str, key: str) -> bytes | None:
        """The newest version of an object, without a call."""
        found = self._buckets[bucket].keys.get(key)
        return bytes(found.value) if found is not None and hasattr(found, "value") else None

    def keys(self, bucket: str) -> list[str]:
        return list(self._buckets[bucket].keys.keys())

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row as the API would give it, without a call."""
        for by_range in self._tables[table].items.values():
            for item in by_range.values():
                yield {name: value.to_regular_json() for name, value in item.attrs.items()}


@contextmanager
def through(current: Callable[[], Cloud | None]) -> Iterator[None]:
    """Every call of any boto3 client passes the cloud of the current world."""
    kind: Any = BaseClient
    real = kind._make_api_call

    def make_api_call(client: BaseClient, operation: str, params: dict[str, Any]) -> Any:
        cloud = current()
        if cloud is None:
            return real(client, operation, params)
        service: str = client.meta.service_model.service_name
        return cloud.call(client, service, operation, params, lambda: real(client, operation, params))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", make_api_call)
        yield
