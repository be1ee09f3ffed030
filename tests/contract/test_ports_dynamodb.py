"""What only DynamoDB can get wrong: lost answers, busy tables, rows of other releases, the shape of its rows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from speech import jobs, segments
from speech.aws.clients import Clients
from speech.aws.dynamo import RETENTION_SECONDS, TRIES_OF_CONFLICTS, DynamoJobStore, DynamoPolicies
from speech.aws.faults import translated
from speech.aws.rows import decode, encode
from speech.errors import CorruptRow, InvalidRequest, StaleWrite, StoreUnavailable
from speech.health import Health
from speech.jobs import Job
from speech.policy import Policy, Speaker
from speech.ports import Due
from speech.segments import Segment
from speech.settings import TENANT
from tests.fakes import (
    JOB_ID,
    NOW,
    FakeClock,
    a_cost,
    a_delivery,
    a_job,
    a_problem,
    a_segment,
    a_spec,
    an_api_key,
    an_attempt,
    some_audio,
)
from tests.fakes.aws import create_table, in_process_aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_tables = count()

Interrupt = Callable[..., None]


@pytest.fixture(scope="module")
def aws() -> Iterator[Clients]:
    with in_process_aws() as clients:
        yield clients


@pytest.fixture
def table(aws: Clients) -> str:
    return create_table(aws.dynamodb, f"rows-{next(_tables)}")


@pytest.fixture
def store(aws: Clients, table: str) -> DynamoJobStore:
    return DynamoJobStore(aws.dynamodb, table, clock=FakeClock())


@pytest.fixture
def client(aws: Clients) -> "DynamoDBClient":
    return aws.dynamodb


@pytest.fixture
def on_event(client: "DynamoDBClient") -> Iterator[Callable[[str, Any], None]]:
    """Listen to the SDK's own events until the test ends."""
    heard: list[tuple[str, Any]] = []

    def listen(event: str, handler: Any) -> None:
        client.meta.events.register_first(event, handler)
        heard.append((event, handler))

    yield listen
    for event, handler in heard:
        client.meta.events.unregister(event, handler)


@pytest.fixture
def answer_lost(on_event: Callable[[str, Any], None]) -> Interrupt:
    """The next call of an operation takes effect and its answer never arrives."""

    def arrange(operation: str, *, error: Exception | None = None) -> None:
        left = [error or ReadTimeoutError(endpoint_url="http://dynamodb")]

        def lose(**_: Any) -> None:
            if left:
                raise left.pop()

        on_event(f"after-call.dynamodb.{operation}", lose)

    return arrange


@pytest.fixture
def sdk_repeats(on_event: Callable[[str, Any], None]) -> Interrupt:
    """The SDK repeats the next call of an operation although the first one took effect."""

    def arrange(operation: str) -> None:
        seconds_to_wait = [0]

        def again(**_: Any) -> int | None:
            return seconds_to_wait.pop() if seconds_to_wait else None

        on_event(f"needs-retry.dynamodb.{operation}", again)

    return arrange


def rows_of(client: "DynamoDBClient", table: str) -> dict[str, dict[str, Any]]:
    return {row["sk"]["S"]: row for row in client.scan(TableName=table)["Items"]}


# --- Errors after the write applied ----------------------------------------------------------


def test_e2_a_write_that_the_sdk_repeats_is_not_reported_as_stale(
    store: DynamoJobStore, sdk_repeats: Interrupt
) -> None:
    store.create(a_job(), [a_segment()])
    claimed = segments.claim(a_segment(), now=NOW, lease_ms=1_000)
    sdk_repeats("PutItem")

    store.save_segment(claimed)

    assert store.segment(TENANT, JOB_ID, 0) == claimed


def test_e2_a_write_whose_answer_is_lost_is_found_in_the_row(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    store.create(a_job(), [a_segment()])
    claimed = segments.claim(a_segment(), now=NOW, lease_ms=1_000)
    answer_lost("PutItem")

    store.save_segment(claimed)

    assert store.segment(TENANT, JOB_ID, 0) == claimed


def test_e2_a_lost_answer_to_a_write_that_did_not_apply_is_unavailable(
    store: DynamoJobStore, answer_lost: Interrupt
) -> None:
    store.create(a_job(), [a_segment()])
    store.save_segment(claimed := segments.claim(a_segment(), now=NOW, lease_ms=1_000))
    answer_lost("PutItem")

    with pytest.raises(StoreUnavailable):
        store.save_segment(segments.claim(a_segment(), now=NOW + 1, lease_ms=1_000))

    assert store.segment(TENANT, JOB_ID, 0) == claimed


def test_e2_when_not_even_the_row_can_be_read_the_outcome_is_unavailable(
    store: DynamoJobStore, answer_lost: Interrupt
) -> None:
    store.create(a_job())
    answer_lost("PutItem")
    answer_lost("GetItem")

    with pytest.raises(StoreUnavailable):
        store.save(jobs.begin_synthesis(a_job(), now=NOW, due_at=NOW))


def test_e2_a_creation_that_the_sdk_repeats_is_still_ours(store: DynamoJobStore, sdk_repeats: Interrupt) -> None:
    sdk_repeats("TransactWriteItems")

    created = store.create(a_job(), [a_segment()])

    assert created
    assert store.create(a_job()) is False


def test_e2_a_creation_whose_answer_is_lost_is_still_ours(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    answer_lost("TransactWriteItems")

    assert store.create(a_job(), [a_segment()])


def test_e2_a_creation_that_lost_the_race_is_not_ours_though_its_answer_was_lost(
    store: DynamoJobStore, answer_lost: Interrupt
) -> None:
    store.create(a_job())
    answer_lost("TransactWriteItems")

    with pytest.raises(StoreUnavailable):
        store.create(a_job(metadata={"who": "second"}))


def test_e2_an_end_that_the_sdk_repeats_is_not_reported_as_stale(store: DynamoJobStore, sdk_repeats: Interrupt) -> None:
    store.create(a_job())
    failed = jobs.fail(a_job(), a_problem(), cost=a_cost(), now=NOW)
    sdk_repeats("TransactWriteItems")

    store.finish(failed, a_delivery())

    assert store.get(TENANT, JOB_ID) == failed


def test_e2_segments_whose_answer_is_lost_are_added_once(store: DynamoJobStore, sdk_repeats: Interrupt) -> None:
    sdk_repeats("TransactWriteItems")

    store.add_segments([a_segment(), a_segment(index=1)])

    assert list(store.segments(TENANT, JOB_ID)) == [a_segment(), a_segment(index=1)]


# --- A busy table ----------------------------------------------------------------------------


def aws_says(code: str, status: int = 400, **more: Any) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ClientError(response, "Call")


@pytest.mark.parametrize(
    "error",
    [
        aws_says("ProvisionedThroughputExceededException"),
        aws_says("ThrottlingException"),
        aws_says("RequestLimitExceeded"),
        aws_says("InternalServerError", 500),
        aws_says("AnythingNew", 503),
        aws_says("TransactionConflictException"),
    ],
    ids=lambda error: str(error.response["Error"]["Code"]),
)
def test_e1_what_passes_is_unavailable(store: DynamoJobStore, answer_lost: Interrupt, error: ClientError) -> None:
    answer_lost("GetItem", error=error)

    with pytest.raises(StoreUnavailable):
        store.get(TENANT, JOB_ID)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("LimitExceededException", 400),
        ("ProvisionedThroughputExceededException", 400),
        ("RequestLimitExceeded", 400),
        ("TooManyRequestsException", 429),
        ("ThrottlingException", 400),
        ("Throttling", 400),
        ("KmsThrottled", 400),
        ("OverLimit", 403),
        ("SlowDown", 503),
        ("AnythingNew", 429),
    ],
)
def test_e13_a_limit_of_the_account_is_no_fault_of_the_job(code: str, status: int) -> None:
    with pytest.raises(StoreUnavailable) as caught, translated():
        raise aws_says(code, status)

    assert (caught.value.code, caught.value.retryable, caught.value.status) == ("temporarily-unavailable", True, 503)


def test_a_bug_of_ours_keeps_its_name(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    answer_lost("GetItem", error=aws_says("ValidationException"))

    with pytest.raises(ClientError, match="ValidationException"):
        store.get(TENANT, JOB_ID)


def cancelled(*codes: str) -> ClientError:
    return aws_says("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


def test_e3_a_conflict_of_transactions_is_not_a_lost_race(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    answer_lost("TransactWriteItems", error=cancelled("None", "TransactionConflict"))

    with pytest.raises(StoreUnavailable):
        store.finish(a_job(rev=2), a_delivery())


def test_e3_a_refused_condition_beside_a_conflict_is_a_lost_race(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    answer_lost("TransactWriteItems", error=cancelled("ConditionalCheckFailed", "TransactionConflict"))

    with pytest.raises(StaleWrite):
        store.finish(a_job(rev=2), a_delivery())


def a_calling_segment(**changes: Any) -> Segment:
    return segments.claim(a_segment(**changes), now=NOW, lease_ms=1_000)


def test_e2_a_claim_whose_answer_is_lost_is_ours(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    store.create(a_job(), [a_segment()])
    answer_lost("TransactWriteItems")

    assert store.claim_audio(a_calling_segment(), until=NOW) is None


def test_e2_a_claim_that_the_sdk_repeats_is_ours(store: DynamoJobStore, sdk_repeats: Interrupt) -> None:
    store.create(a_job(), [a_segment()])
    sdk_repeats("TransactWriteItems")

    assert store.claim_audio(a_calling_segment(), until=NOW) is None


def test_e2_a_claim_that_meets_a_busy_table_is_not_made(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    answer_lost("TransactWriteItems", error=aws_says("ThrottlingException"))

    with pytest.raises(StoreUnavailable):
        store.claim_audio(a_calling_segment(), until=NOW)


def test_e3_claims_that_meet_in_the_same_moment_begin_again(store: DynamoJobStore, answer_lost: Interrupt) -> None:
    store.create(a_job(), [a_segment()])
    answer_lost("TransactWriteItems", error=cancelled("None", "TransactionConflict"))

    assert store.claim_audio(a_calling_segment(), until=NOW) is None


def test_e3_where_claims_meet_again_and_again_nobody_knows_whose_it_is(
    store: DynamoJobStore, answer_lost: Interrupt
) -> None:
    for _ in range(TRIES_OF_CONFLICTS):
        answer_lost("TransactWriteItems", error=cancelled("None", "TransactionConflict"))

    rival = store.claim_audio(a_calling_segment(job_id="job_unknown"), until=NOW)

    assert rival is not None
    assert rival.job_id == ""


def test_e12_a_claim_that_cannot_be_understood_is_nobodys(
    store: DynamoJobStore, client: "DynamoDBClient", table: str
) -> None:
    store.create(a_job(), [a_segment()])
    key = {"pk": {"S": f"{TENANT}#claim#{a_segment().audio_key}"}, "sk": {"S": "claim"}}
    client.put_item(TableName=table, Item={**key, "segment": {"S": "x"}, "write_id": {"S": "w"}})

    rival = store.claim_audio(a_calling_segment(), until=NOW)

    assert rival is not None
    assert store.job_and_segment(TENANT, rival.job_id, rival.segment) == (None, None)
    assert store.claim_audio(a_calling_segment(), until=NOW, over=rival) is None


def test_a_claim_outlives_the_last_moment_of_its_job_by_a_day(
    store: DynamoJobStore, client: "DynamoDBClient", table: str
) -> None:
    store.create(a_job(), [a_segment()])

    store.claim_audio(a_calling_segment(), until=NOW + 3_600_000)

    row = rows_of(client, table)["claim"]
    assert int(row["expires_at"]["N"]) == (NOW + 3_600_000) // 1000 + 86_400
    assert "audio_key" not in row


def test_keys_that_were_not_processed_are_asked_for_again(
    store: DynamoJobStore, on_event: Callable[[str, Any], None]
) -> None:
    store.create(a_job(), [a_segment()])
    answered: list[int] = []

    def leave_one(parsed: dict[str, Any], **_: Any) -> None:
        table, rows = next(iter(parsed["Responses"].items()))
        if not answered:
            row = rows.pop()
            parsed["UnprocessedKeys"] = {table: {"Keys": [{"pk": row["pk"], "sk": row["sk"]}]}}
        answered.append(len(rows))

    on_event("after-call.dynamodb.BatchGetItem", leave_one)

    assert store.job_and_segment(TENANT, JOB_ID, 0) == (a_job(), a_segment())
    assert answered == [1, 1]


def test_keys_that_are_never_processed_are_unavailable(
    store: DynamoJobStore, on_event: Callable[[str, Any], None]
) -> None:
    def leave_all(parsed: dict[str, Any], **_: Any) -> None:
        parsed["UnprocessedKeys"] = {"t": {"Keys": [{"pk": {"S": "p"}, "sk": {"S": "s"}}]}}

    on_event("after-call.dynamodb.BatchGetItem", leave_all)

    with pytest.raises(StoreUnavailable):
        store.job_and_segment(TENANT, JOB_ID, 0)


# --- A vendor's row --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage", [{"slots": {"S": "{"}}, {"closed_until": {"S": "soon"}}, {"trial": {"S": "[]"}, "rev": {"N": "7"}}]
)
def test_e12_a_vendors_row_that_is_damaged_stops_nobody_and_is_written_over(
    store: DynamoJobStore, client: "DynamoDBClient", table: str, damage: dict[str, Any]
) -> None:
    store.save_health(Health("convai", rev=1, spacing=5))
    key = {"pk": {"S": f"{TENANT}#vendor#convai"}, "sk": {"S": "health"}}
    row = client.get_item(TableName=table, Key=key)["Item"]
    client.put_item(TableName=table, Item={**row, **damage})

    found = store.health("convai")

    assert found == Health("convai", rev=found.rev)
    store.save_health(replace(found, rev=found.rev + 1, trials=1))
    assert store.health("convai").trials == 1


def test_the_policy_is_read_along_with_a_segment_once_a_minute(client: "DynamoDBClient", table: str) -> None:
    clock = FakeClock()
    policies = DynamoPolicies(client, table, clock=clock)
    store = DynamoJobStore(client, table, clock=clock, policies=policies)
    DynamoPolicies(client, table).put(first := Policy(fallback=(Speaker("dify"),)))
    store.create(a_job(), [a_segment()])
    asked: list[int] = []
    client.meta.events.register_first(
        "provide-client-params.dynamodb.BatchGetItem",
        lambda params, **_: asked.append(len(params["RequestItems"][table]["Keys"])),
    )

    assert policies.is_old()
    for _ in range(3):
        assert store.job_segment_and_health(TENANT, JOB_ID, 0, "convai")[0] == a_job()
        assert policies.policy() == first
    DynamoPolicies(client, table).put(second := Policy())
    clock.advance(60)
    store.job_segment_and_health(TENANT, JOB_ID, 0, "convai")

    assert not policies.is_old()
    assert policies.policy() == second
    assert asked == [4, 3, 3, 4]


# --- Rows ------------------------------------------------------------------------------------


def test_the_keys_of_rows_begin_with_the_tenant(store: DynamoJobStore, client: "DynamoDBClient", table: str) -> None:
    """T2."""
    store.create(a_job(), [a_segment(index=1)], delivery=a_delivery())
    store.count(TENANT, JOB_ID, stored=1)
    store.advance_upload(TENANT, "texts", "a.txt", order="1", job_id=JOB_ID)
    store.put_api_key(an_api_key())

    rows = client.scan(TableName=table)["Items"]

    assert all(row["pk"]["S"].startswith("default#") for row in rows)
    assert {row["sk"]["S"] for row in rows} == {"job", "segment#000001", "delivery", "progress", "upload", "key"}
    assert "a.txt" not in str(rows)


def test_only_what_comes_due_is_in_the_index(store: DynamoJobStore, client: "DynamoDBClient", table: str) -> None:
    store.create(a_job(due_at=None), [a_segment(), a_segment(index=1)])
    store.save_segment(segments.store(a_segment(), some_audio(), now=NOW))

    indexed = client.scan(TableName=table, IndexName="due")["Items"]

    assert [row["sk"]["S"] for row in indexed] == ["segment#000001"]
    assert set(indexed[0]) == {"pk", "sk", "due_shard", "due_at"}


def test_overdue_rows_are_spread_over_the_shards(store: DynamoJobStore, client: "DynamoDBClient", table: str) -> None:
    """One job of many segments must not write into one partition of the index alone."""
    store.add_segments([a_segment(index=index) for index in range(60)])

    shards = [row["due_shard"]["S"] for row in client.scan(TableName=table)["Items"]]

    assert {shard: shards.count(shard) >= 5 for shard in shards} == dict.fromkeys("0123", True)


def test_a_row_expires_long_after_its_last_write_and_never_before_it_comes_due(
    store: DynamoJobStore, client: "DynamoDBClient", table: str
) -> None:
    far = NOW + 365 * 86_400_000
    store.create(a_job(due_at=far), [a_segment(due_at=None)])
    store.put_api_key(an_api_key())

    rows = rows_of(client, table)

    assert int(rows["segment#000000"]["expires_at"]["N"]) == NOW // 1000 + RETENTION_SECONDS
    assert int(rows["job"]["expires_at"]["N"]) == far // 1000 + RETENTION_SECONDS
    assert "expires_at" not in rows["key"]


def test_a_key_of_the_index_that_is_none_of_ours_is_passed_over(
    store: DynamoJobStore, client: "DynamoDBClient", table: str
) -> None:
    """E12."""
    index = {"due_shard": {"S": "0"}, "due_at": {"N": "1"}}
    client.put_item(TableName=table, Item={"pk": {"S": "what"}, "sk": {"S": "ever"}, **index})
    client.put_item(TableName=table, Item={"pk": {"S": "default#job#j"}, "sk": {"S": "else"}, **index})
    store.create(a_job())

    assert store.due(NOW, 10) == [Due("job", TENANT, JOB_ID)]


def test_e11_attributes_of_a_newer_release_are_passed_over() -> None:
    row = encode(a_job(spec=a_spec())) | {"colour": {"S": "blue"}}
    row["spec"] = {"S": row["spec"]["S"][:-1] + ',"pitch":2}'}

    assert decode(Job, row) == a_job()


def test_e11_attributes_that_an_older_release_did_not_write_have_their_defaults() -> None:
    row = encode(a_segment())
    del row["checks"], row["sends"]

    assert decode(Segment, row) == a_segment()


@pytest.mark.parametrize(
    "damage",
    [
        {"rev": {"S": "1"}},
        {"status": {"S": "dreaming"}},
        {"audio": {"S": "{"}},
        {"audio": {"S": "{}"}},
        {"audio": {"S": '{"container":"wav","sample_rate":"8000"}'}},
        {"attempts": {"S": '{"number":1}'}},
        {"attempts": {"S": '[{"number":1,"started_at":1,"outcome":"perhaps"}]'}},
        {"problem": {"S": "[]"}},
        {"index": {"N": "one"}},
        {"audio_key": {"NULL": True}},
    ],
    ids=str,
)
def test_e12_a_damaged_row_is_a_typed_error_that_quotes_nothing(damage: dict[str, Any]) -> None:
    row = encode(a_segment()) | damage

    with pytest.raises(CorruptRow) as caught:
        decode(Segment, row)

    assert caught.value.detail == "A segment row cannot be understood."


def test_e12_a_row_without_what_it_needs_is_a_typed_error() -> None:
    row = encode(a_segment())
    del row["audio_key"]

    with pytest.raises(CorruptRow):
        decode(Segment, row)


def test_a19_a_segment_row_with_many_attempts_stays_small() -> None:
    attempts = tuple(an_attempt(number=number, request_id="r" * 200) for number in range(1, 21))

    row = encode(replace(a_segment(), attempts=attempts, problem=a_problem(), audio=some_audio()))

    assert len(str(row)) < 10_000


def test_a19_options_too_large_for_a_row_are_the_sender_s_error() -> None:
    job = a_job(metadata={"note": "x" * 120_000})

    with pytest.raises(InvalidRequest, match="too large"):
        encode(job)


def test_a19_a_job_with_the_longest_options_can_still_end(store: DynamoJobStore) -> None:
    """What we write into its row ourselves is not what makes it too large."""
    job = a_job(metadata={"note": "x" * 101_000})
    assert store.create(job)

    store.finish(jobs.fail(job, a_problem(), cost=a_cost(), now=NOW), a_delivery())

    ended = store.get(TENANT, job.id)
    assert ended is not None
    assert ended.problem == a_problem()


def test_a19_a_new_job_with_longer_ones_is_refused(store: DynamoJobStore) -> None:
    with pytest.raises(InvalidRequest, match="too large"):
        store.create(a_job(metadata={"note": "x" * 120_000}))
