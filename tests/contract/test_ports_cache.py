"""What every cache promises: the one in memory and the one in DynamoDB pass the same tests."""

import os
from collections.abc import Iterator
from itertools import count

import pytest

from speech.aws.clients import Clients
from speech.aws.dynamo import DynamoCache
from speech.ports import Cache
from speech.settings import TENANT
from tests.fakes import FakeCache, FakeClock
from tests.fakes.aws import create_table, in_process_aws

_tables = count()


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        yield clients


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def table(aws: Clients) -> str:
    return create_table(aws.dynamodb, f"cache-{next(_tables)}")


@pytest.fixture(params=["fake", "dynamodb"])
def cache(request: pytest.FixtureRequest, clock: FakeClock) -> Cache:
    if request.param == "fake":
        return FakeCache(clock)
    clients: Clients = request.getfixturevalue("aws")
    return DynamoCache(clients.dynamodb, request.getfixturevalue("table"), clock=clock)


@pytest.mark.parametrize("size", [0, 1, 89_999, 90_000, 90_001, 500_000])
def test_what_was_remembered_is_recalled_however_long_it_is(cache: Cache, size: int) -> None:
    data = os.urandom(size)
    cache.remember(TENANT, "voices#convai", data, seconds=3_600)

    assert cache.recall(TENANT, "voices#convai") == data


def test_the_newest_counts_whether_it_is_longer_or_shorter(cache: Cache) -> None:
    for data in (b"a" * 200_000, b"b", b"c" * 300_000):
        cache.remember(TENANT, "x", data, seconds=60)

        assert cache.recall(TENANT, "x") == data


def test_nothing_is_recalled_for_another_tenant_or_under_another_name(cache: Cache) -> None:
    cache.remember(TENANT, "x", b"data", seconds=60)

    assert cache.recall("acme", "x") is None
    assert cache.recall(TENANT, "y") is None


def test_its_time_is_over_when_it_was_said_to_be(cache: Cache, clock: FakeClock) -> None:
    """E8: the table may drop it days later; whoever reads it looks at the time."""
    cache.remember(TENANT, "x", b"data", seconds=60)

    clock.advance(58)
    assert cache.recall(TENANT, "x") == b"data"
    clock.advance(2)
    assert cache.recall(TENANT, "x") is None


def test_megabytes_are_not_kept(cache: Cache) -> None:
    cache.remember(TENANT, "x", bytes(2_000_000), seconds=60)

    assert cache.recall(TENANT, "x") is None


def test_e6_no_row_is_large_and_the_table_may_drop_each_in_time(aws: Clients, table: str, clock: FakeClock) -> None:
    DynamoCache(aws.dynamodb, table, clock=clock).remember(TENANT, "x", os.urandom(200_000), seconds=60)

    rows = aws.dynamodb.scan(TableName=table)["Items"]

    assert len(rows) == 3
    assert all(len(row["data"]["B"]) < 100_000 for row in rows)
    assert {row["expires_at"]["N"] for row in rows} == {str(clock.now() // 1000 + 60)}
    assert {row["pk"]["S"] for row in rows} == {f"{TENANT}#cache#x"}


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_part_that_is_gone_or_of_another_write_makes_it_nothing(
    aws: Clients, table: str, clock: FakeClock, lost: int
) -> None:
    cache = DynamoCache(aws.dynamodb, table, clock=clock)
    cache.remember(TENANT, "x", os.urandom(200_000), seconds=60)
    key = {"pk": {"S": f"{TENANT}#cache#x"}, "sk": {"S": f"part#{lost:03d}"}}
    row = aws.dynamodb.get_item(TableName=table, Key=key)["Item"]

    aws.dynamodb.put_item(TableName=table, Item={**row, "write_id": {"S": "another"}})
    assert cache.recall(TENANT, "x") is None
    aws.dynamodb.delete_item(TableName=table, Key=key)
    assert cache.recall(TENANT, "x") is None
