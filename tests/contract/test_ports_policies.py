"""What every keeper of the policy promises: the one in memory and the one in DynamoDB pass the same tests."""

from collections.abc import Iterator
from itertools import count

import pytest
from botocore.exceptions import ClientError

from speech.aws.clients import Clients
from speech.aws.dynamo import POLICY_KEY, DynamoPolicies
from speech.policy import Lifecycle, Limits, Policy, Speaker, Standing
from speech.ports import Policies
from speech.prices import Price
from tests.fakes import FakeClock, FakePolicies
from tests.fakes.aws import create_table, in_process_aws

_tables = count()

WHOLE = Policy(
    prices={"voiceai": Price(per_credit=0.0003, plan="starter")},
    limits={"convai": Limits(requests_per_minute=60, concurrency=2)},
    lifecycle={"convai/voice=WUMale 3": Lifecycle(Standing.RETIRING, "2027-03-01", "The contract ends.")},
    aliases={"narrator": (Speaker("voiceai", "one"), Speaker("playht", "s3://a/b:c"))},
    fallback=(Speaker("voiceai"),),
)


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        yield clients


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def table(aws: Clients) -> str:
    return create_table(aws.dynamodb, f"policies-{next(_tables)}")


@pytest.fixture(params=["fake", "dynamodb"])
def policies(request: pytest.FixtureRequest, clock: FakeClock) -> Policies:
    if request.param == "fake":
        return FakePolicies()
    return DynamoPolicies(request.getfixturevalue("aws").dynamodb, request.getfixturevalue("table"), clock=clock)


def test_before_anybody_decided_anything_the_policy_is_empty(policies: Policies) -> None:
    assert policies.policy() == Policy()


def test_what_was_put_in_force_is_in_force(policies: Policies) -> None:
    policies.put(WHOLE)

    assert policies.policy() == WHOLE


def test_another_process_sees_it_within_a_minute(aws: Clients, table: str, clock: FakeClock) -> None:
    ours = DynamoPolicies(aws.dynamodb, table, clock=clock)
    assert ours.policy() == Policy()

    DynamoPolicies(aws.dynamodb, table, clock=clock).put(WHOLE)

    clock.advance(59)
    assert ours.policy() == Policy()
    clock.advance(1)
    assert ours.policy() == WHOLE


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, "[]", '{"prices": 1}', '{"lifecycle": {"a": {}}}'])
def test_a_row_that_cannot_be_understood_changes_nothing(aws: Clients, table: str, clock: FakeClock, body: str) -> None:
    ours = DynamoPolicies(aws.dynamodb, table, clock=clock)
    ours.put(WHOLE)
    assert ours.policy() == WHOLE
    aws.dynamodb.put_item(TableName=table, Item={**POLICY_KEY, "policy": {"S": body}})

    clock.advance(60)

    assert ours.policy() == WHOLE
    assert DynamoPolicies(aws.dynamodb, table, clock=clock).policy() == Policy()


def test_fields_of_another_release_are_passed_over(aws: Clients, table: str, clock: FakeClock) -> None:
    body = '{"moods": {}, "limits": {"convai": {"concurrency": 2, "moods": 3}}}'
    aws.dynamodb.put_item(TableName=table, Item={**POLICY_KEY, "policy": {"S": body}})

    policy = DynamoPolicies(aws.dynamodb, table, clock=clock).policy()

    assert policy == Policy(limits={"convai": Limits(concurrency=2)})


def test_a_table_that_cannot_be_read_leaves_the_last_policy_and_is_not_asked_by_every_event(
    aws: Clients, table: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = DynamoPolicies(aws.dynamodb, table, clock=clock)
    ours.put(WHOLE)
    assert ours.policy() == WHOLE
    asked = 0

    def refuse(**_: object) -> None:
        nonlocal asked
        asked += 1
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetItem")

    monkeypatch.setattr(aws.dynamodb, "get_item", refuse)
    clock.advance(60)

    assert [ours.policy() for _ in range(5)] == [WHOLE] * 5
    assert asked == 1
