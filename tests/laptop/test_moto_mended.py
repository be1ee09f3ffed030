"""The mended moto does what AWS does where moto alone would not."""

import threading
import time
import uuid
from decimal import Decimal
from typing import Any

import boto3
import pytest
from boto3.dynamodb.types import Binary
from botocore.config import Config
from botocore.exceptions import ClientError


@pytest.fixture
def table(moto: str) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return session.resource("dynamodb", endpoint_url=moto).create_table(
        TableName=f"t-{uuid.uuid4()}",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )


def put(table: Any, sk: str, value: int, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table.name, "Item": {"pk": "p", "sk": sk, "value": value}, **more}}


def refused(table: Any) -> dict[str, Any]:
    """An operation that makes its transaction fail."""
    key = {"pk": "p", "sk": "nowhere"}
    return {"ConditionCheck": {"TableName": table.name, "Key": key, "ConditionExpression": "attribute_exists(pk)"}}


def transact(table: Any, *operations: dict[str, Any]) -> None:
    table.meta.client.transact_write_items(TransactItems=list(operations))


def value(table: Any, sk: str) -> int | None:
    item = table.get_item(Key={"pk": "p", "sk": sk}).get("Item")
    return None if item is None else int(item["value"])


def test_a_failed_transaction_changes_nothing(table: Any) -> None:
    transact(table, put(table, "old", 1), put(table, "gone", 1))
    update = {
        "TableName": table.name,
        "Key": {"pk": "p", "sk": "old"},
        "UpdateExpression": "SET #v = :two",
        "ExpressionAttributeNames": {"#v": "value"},
        "ExpressionAttributeValues": {":two": 2},
    }
    delete = {"TableName": table.name, "Key": {"pk": "p", "sk": "gone"}}

    with pytest.raises(ClientError, match="TransactionCanceled"):
        transact(table, put(table, "new", 2), {"Update": update}, {"Delete": delete}, refused(table))

    assert (value(table, "old"), value(table, "gone"), value(table, "new")) == (1, 1, None)


def test_a_failed_transaction_leaves_alone_what_others_write(table: Any) -> None:
    stop = threading.Event()

    def fail_again_and_again() -> None:
        while not stop.is_set():
            with pytest.raises(ClientError):
                transact(table, put(table, "new", 2), refused(table))

    thread = threading.Thread(target=fail_again_and_again)
    thread.start()
    for number in range(30):
        table.put_item(Item={"pk": "p", "sk": f"other-{number}", "value": number})
    stop.set()
    thread.join()

    assert [value(table, f"other-{number}") for number in range(30)] == list(range(30))
    assert value(table, "new") is None


def test_a_transaction_costs_the_same_in_a_large_table(table: Any) -> None:
    with table.batch_writer() as batch:
        for number in range(1500):
            batch.put_item(Item={"pk": "p", "sk": f"row-{number}", "value": number, "text": "x" * 200})

    started = time.monotonic()
    transact(table, *(put(table, f"new-{number}", number) for number in range(100)))

    # Copying 1,500 rows a hundred times takes more than a minute.
    assert time.monotonic() - started < 10
    assert value(table, "new-99") == 99


def test_values_of_every_type_come_back_as_they_were(table: Any) -> None:
    kinds = {
        "text": "a",
        "number": Decimal("1.5"),
        "bytes": Binary(b"\x00\xff"),
        "truth": False,
        "nothing": None,
        "list": ["", {"deeper": [Decimal(0), None]}],
        "map": {"empty": {}, "S": "a name that is also a type's", "s": []},
        "texts": {"a", "b"},
        "numbers": {Decimal(1), Decimal(2)},
    }

    table.put_item(Item={"pk": "p", "sk": "kinds", **kinds})

    assert table.get_item(Key={"pk": "p", "sk": "kinds"})["Item"] == {"pk": "p", "sk": "kinds", **kinds}


def test_of_racing_conditional_writes_one_wins(table: Any) -> None:
    wins: list[int] = []

    def race(number: int) -> None:
        for sk in map(str, range(10)):
            try:
                transact(table, put(table, sk, number, ConditionExpression="attribute_not_exists(pk)"))
            except ClientError:
                continue
            wins.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(wins) == 10


def test_no_message_is_lost_or_received_twice_while_others_are_deleted(moto: str) -> None:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    sqs = session.client("sqs", endpoint_url=moto, config=Config(max_pool_connections=20))
    url = sqs.create_queue(QueueName=f"q-{uuid.uuid4()}")["QueueUrl"]
    received: list[str] = []
    deadline = time.monotonic() + 60

    def send(first: int) -> None:
        for number in range(first, first + 40):
            sqs.send_message(QueueUrl=url, MessageBody=str(number))

    def receive() -> None:
        while len(received) < 160 and time.monotonic() < deadline:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=3, WaitTimeSeconds=1).get("Messages", [])
            for message in messages:
                received.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    threads = [threading.Thread(target=send, args=(first,)) for first in range(0, 160, 40)]
    threads += [threading.Thread(target=receive) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(received, key=int) == [str(number) for number in range(160)]
