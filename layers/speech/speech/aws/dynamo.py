"""The truth in DynamoDB: one table, a row per entity, each arrow one conditional write."""

import json
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from speech.aws.clock import SystemClock
from speech.aws.faults import code_of, is_conflict, translated
from speech.aws.rows import MAX_BYTES, MAX_GROWN_BYTES, Row, decode, encode
from speech.errors import CorruptRow, InvalidRequest, OverBudget, StaleWrite, StoreUnavailable
from speech.jobs import Job, Progress
from speech.observability import count, logger
from speech.ports import ApiKeyRecord, Cleanup, Clock, Delivery, Due
from speech.segments import Claim, Segment
from speech.settings import TENANT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from speech.health import Health
    from speech.policy import Policy

MOST_SEGMENTS_AT_CREATION = 90
ROWS_PER_TRANSACTION = 100

DUE_INDEX = "due"
AUDIO_INDEX = "audio"
DUE_SHARDS = 4
"""Partitions of the index of overdue rows: each takes 1,000 writes a second. Growing is safe, shrinking is not."""

RETENTION_SECONDS = 90 * 86_400
"""How long a row outlives its last write, or the time it comes due. Nothing relies on it being gone."""

READS_OF_UNPROCESSED_KEYS = 3

CLAIM_RETENTION_SECONDS = 86_400
"""How long it is kept who bought an audio, after the last moment at which that job can be under way."""

POLICY_MAX_AGE_MS = 60_000
POLICY_KEY: "_Key" = {"pk": {"S": f"{TENANT}#policy"}, "sk": {"S": "policy"}}
TRIES_OF_CONFLICTS = 10

PART_BYTES = 90_000
MOST_PARTS = 10

_Key = dict[str, Any]
Entry: TypeAlias = "Job | Segment | Delivery | Cleanup | Health"
Entity = TypeVar("Entity")


def _job_key(tenant: str, job_id: str, sort: str = "job") -> _Key:
    return {"pk": {"S": f"{tenant}#job#{job_id}"}, "sk": {"S": sort}}


def _segment_key(tenant: str, job_id: str, index: int) -> _Key:
    return _job_key(tenant, job_id, f"segment#{index:06d}")


def _upload_key(tenant: str, bucket: str, key: str) -> _Key:
    name = sha256(f"{bucket}/{key}".encode(errors="surrogatepass")).hexdigest()
    return {"pk": {"S": f"{tenant}#upload#{name}"}, "sk": {"S": "upload"}}


def _api_key_key(tenant: str, key_id: str) -> _Key:
    return {"pk": {"S": f"{tenant}#key#{key_id}"}, "sk": {"S": "key"}}


def _health_key(vendor: str) -> _Key:
    return {"pk": {"S": f"{TENANT}#vendor#{vendor}"}, "sk": {"S": "health"}}


def _claim_key(tenant: str, audio_key: str) -> _Key:
    return {"pk": {"S": f"{tenant}#claim#{audio_key}"}, "sk": {"S": "claim"}}


def _cache_key(tenant: str, name: str, part: int) -> _Key:
    return {"pk": {"S": f"{tenant}#cache#{name}"}, "sk": {"S": f"part#{part:03d}"}}


def _key_of(entity: Entry) -> _Key:
    if isinstance(entity, Job):
        return _job_key(entity.tenant, entity.id)
    if isinstance(entity, Segment):
        return _segment_key(entity.tenant, entity.job_id, entity.index)
    if isinstance(entity, Cleanup | Delivery):
        return _job_key(entity.tenant, entity.job_id, "cleanup" if isinstance(entity, Cleanup) else "delivery")
    return _health_key(entity.vendor)


def _segments_of(tenant: str, job_id: str) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
        "ExpressionAttributeValues": {":pk": _job_key(tenant, job_id)["pk"], ":prefix": {"S": "segment#"}},
        "ConsistentRead": True,
    }


class DynamoJobStore:
    """A write carries a random `write_id`: when its answer is lost, the row itself says whether it was ours."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        clock: Clock | None = None,
        policies: "DynamoPolicies | None" = None,
    ) -> None:
        """`policies` whose row is read along with others when it is to be read again: a call less."""
        self._client = client
        self._table = table
        self._clock = clock or SystemClock()
        self._policies = policies

    def create(
        self, job: Job, segments: Sequence[Segment] = (), *, delivery: Delivery | None = None, committed: int = 0
    ) -> bool:
        if len(segments) > MOST_SEGMENTS_AT_CREATION:
            raise ValueError(f"{len(segments)} segments do not fit into the transaction that creates a job.")
        write_id = _new_write_id()
        new = self._put(job, write_id, _ABSENT, most=MAX_BYTES)
        puts = [new, *(self._put(each, write_id) for each in segments)]
        if delivery is not None:
            puts.append(self._put(delivery, write_id))
        counters = self._counters(job.tenant, job.id, committed=committed) if committed else None
        try:
            self._transact(puts, write_id, counters)
        except StaleWrite:
            return False
        return True

    def add_segments(self, segments: Sequence[Segment]) -> None:
        for first in range(0, len(segments), ROWS_PER_TRANSACTION):
            write_id = _new_write_id()
            self._put_what_can_be(
                [self._put(each, write_id, _ABSENT) for each in segments[first : first + ROWS_PER_TRANSACTION]]
            )

    def get(self, tenant: str, job_id: str) -> Job | None:
        row = self._get(_job_key(tenant, job_id))
        return _decoded(Job, row)

    def progress(self, tenant: str, job_id: str, take: int = 0) -> Progress:
        return _progress(self._get(_job_key(tenant, job_id, "progress")) or {}, take)

    def save(self, job: Job) -> None:
        self._replace(job)

    def finish(self, job: Job, delivery: Delivery, cleanup: Cleanup | None = None) -> None:
        write_id = _new_write_id()
        puts = [self._put(job, write_id, _follows(job.rev)), self._put(delivery, write_id, _ABSENT)]
        if cleanup is not None:
            puts.append(self._put(cleanup, write_id))
        self._transact(puts, write_id)

    def erase(self, tombstone: Job, delivery: Delivery | None, cleanup: Cleanup) -> None:
        write_id = _new_write_id()
        puts = [
            self._put(tombstone, write_id, _follows(tombstone.rev)),
            self._put(cleanup, write_id, _UNWRITTEN if cleanup.rev == 1 else _follows(cleanup.rev)),
        ]
        if delivery is not None:
            puts.append(self._put(delivery, write_id, _follows(delivery.rev)))
        self._transact(puts, write_id)

    def cleanup(self, tenant: str, job_id: str) -> Cleanup | None:
        row = self._get(_job_key(tenant, job_id, "cleanup"))
        return _decoded(Cleanup, row)

    def save_cleanup(self, cleanup: Cleanup) -> None:
        self._replace(cleanup)

    def drop_cleanup(self, cleanup: Cleanup) -> None:
        try:
            with translated():
                self._client.delete_item(
                    TableName=self._table,
                    Key=_key_of(cleanup),
                    ConditionExpression="attribute_not_exists(pk) OR rev = :rev",
                    ExpressionAttributeValues={":rev": {"N": str(cleanup.rev)}},
                )
        except ClientError as error:
            if code_of(error) != _REFUSED:
                raise
            raise _stale() from error

    def audio_of(self, tenant: str, job_id: str) -> Iterator[tuple[int, str]]:
        for row in self._query(**_segments_of(tenant, job_id), ProjectionExpression="sk, audio_key"):
            audio_key: Mapping[str, str] = row.get("audio_key", {})
            yield int(row["sk"]["S"].partition("#")[2]), audio_key.get("S", "")

    def users_of(self, audio_key: str) -> Iterator[tuple[str, str]]:
        for row in self._query(
            IndexName=AUDIO_INDEX,
            KeyConditionExpression="audio_key = :key",
            ExpressionAttributeValues={":key": {"S": audio_key}},
        ):
            tenant, _, job_id = row["pk"]["S"].partition("#job#")
            yield tenant, job_id

    def drop_segments(self, tenant: str, job_id: str, indexes: Sequence[int]) -> None:
        for first in range(0, len(indexes), ROWS_PER_TRANSACTION):
            some = indexes[first : first + ROWS_PER_TRANSACTION]
            actions: Any = [
                {"Delete": {"TableName": self._table, "Key": _segment_key(tenant, job_id, index)}} for index in some
            ]
            with translated():
                self._client.transact_write_items(TransactItems=actions)

    def segment(self, tenant: str, job_id: str, index: int) -> Segment | None:
        row = self._get(_segment_key(tenant, job_id, index))
        return _decoded(Segment, row)

    def job_and_segment(self, tenant: str, job_id: str, index: int) -> tuple[Job | None, Segment | None]:
        job, segment = self._both(_job_key(tenant, job_id), _segment_key(tenant, job_id, index))
        return _decoded(Job, job), _decoded(Segment, segment)

    def job_segment_and_health(
        self, tenant: str, job_id: str, index: int, vendor: str
    ) -> "tuple[Job | None, Segment | None, Health]":
        keys = [_job_key(tenant, job_id), _segment_key(tenant, job_id, index), _health_key(vendor)]
        with_policy = self._policies is not None and self._policies.is_old()
        rows = {_name_of(row): row for row in self._batch_get([*keys, *([POLICY_KEY] if with_policy else [])])}
        if self._policies is not None and with_policy:
            self._policies.take(rows.get(_name_of(POLICY_KEY)))
        job, segment, health = (rows.get(_name_of(key)) for key in keys)
        return _decoded(Job, job), _decoded(Segment, segment), _health_of(vendor, health)

    def health(self, vendor: str) -> "Health":
        return _health_of(vendor, self._get(_health_key(vendor)))

    def save_health(self, health: "Health") -> None:
        self._replace(health)

    def segments(self, tenant: str, job_id: str) -> Iterator[Segment]:
        for row in self._query(**_segments_of(tenant, job_id)):
            yield decode(Segment, row)

    def save_segment(self, segment: Segment) -> None:
        self._replace(segment)

    def claim_audio(self, segment: Segment, *, until: int, over: Claim | None = None) -> Claim | None:
        write_id = _new_write_id()
        puts = [
            self._put(segment, write_id, _follows(segment.rev)),
            {"TableName": self._table, **self._claim(segment, write_id, until, over)},
        ]
        for _ in range(TRIES_OF_CONFLICTS):
            try:
                self._write(puts)
            except ClientError as error:
                refused = _refused(error)
                if 0 not in refused:
                    return _claim_of(refused[1])
                if _written_by(refused[0]) != write_id:
                    raise _stale() from error
            except StoreUnavailable as error:
                if is_conflict(error.__cause__):
                    continue
                if not self._was_written(_key_of(segment), write_id):
                    raise
            return None
        return Claim(job_id="", segment=0, token="")

    def claim_on(self, segment: Segment) -> Claim | None:
        row = self._get(_claim_key(segment.tenant, segment.audio_key))
        claim = _claim_of(row) if row else None
        return None if claim is None or (claim.job_id, claim.segment) == (segment.job_id, segment.index) else claim

    def drop_claims(self, tenant: str, job_id: str, audio_keys: Sequence[str]) -> None:
        for first in range(0, len(audio_keys), ROWS_PER_TRANSACTION):
            actions: Any = [
                {
                    "Delete": {
                        "TableName": self._table,
                        "Key": _claim_key(tenant, key),
                        "ConditionExpression": "attribute_not_exists(pk) OR job_id = :job",
                        "ExpressionAttributeValues": {":job": {"S": job_id}},
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                }
                for key in audio_keys[first : first + ROWS_PER_TRANSACTION]
            ]
            while actions:
                try:
                    with translated():
                        self._client.transact_write_items(TransactItems=actions)
                except ClientError as error:
                    refused = _refused(error)
                    actions = [action for position, action in enumerate(actions) if position not in refused]
                else:
                    break

    def save_segments(self, segments: Sequence[Segment]) -> None:
        for first in range(0, len(segments), ROWS_PER_TRANSACTION):
            write_id = _new_write_id()
            some = segments[first : first + ROWS_PER_TRANSACTION]
            self._put_what_can_be([self._put(each, write_id, _follows(each.rev)) for each in some])

    def save_within(
        self,
        segments: Sequence[Segment],
        *,
        change: int,
        limit: int | None,
        stored: int = 0,
        calls: int = 0,
        at: int | None = None,
    ) -> None:
        write_id = _new_write_id()
        first = segments[0]
        counters = self._counters(
            first.tenant, first.job_id, first.take, stored=stored, calls=calls, at=at, committed=change, limit=limit
        )
        self._transact([self._put(each, write_id, _follows(each.rev)) for each in segments], write_id, counters)

    def store_only(self, job: Job, segment: Segment, *, change: int = 0) -> None:
        write_id = _new_write_id()
        puts = [self._put(job, write_id, _follows(job.rev)), self._put(segment, write_id, _follows(segment.rev))]
        counters = self._counters(
            job.tenant, job.id, segment.take, stored=1, calls=segment.calls, committed=change or None
        )
        self._transact(puts, write_id, counters)

    def split(
        self, job: Job, shrunk: Segment, added: Sequence[Segment], *, change: int = 0, limit: int | None = None
    ) -> None:
        write_id = _new_write_id()
        puts = [self._put(job, write_id, _follows(job.rev)), self._put(shrunk, write_id, _follows(shrunk.rev))]
        counters = self._counters(job.tenant, job.id, committed=change, limit=limit) if change else None
        self._transact([*puts, *(self._put(each, write_id, _ABSENT) for each in added)], write_id, counters)

    def save_take(self, job: Job, *, change: int, limit: int | None) -> None:
        write_id = _new_write_id()
        counters = self._counters(job.tenant, job.id, committed=change, limit=limit)
        self._transact([self._put(job, write_id, _follows(job.rev))], write_id, counters)

    def count(
        self,
        tenant: str,
        job_id: str,
        *,
        take: int = 0,
        stored: int = 0,
        failed: int = 0,
        calls: int = 0,
        at: int | None = None,
    ) -> Progress:
        with translated():
            row = self._client.update_item(
                **self._counters(tenant, job_id, take, stored=stored, failed=failed, calls=calls, at=at),
                ReturnValues="ALL_NEW",
            )["Attributes"]
        return _progress(row, take)

    def delivery(self, tenant: str, job_id: str) -> Delivery | None:
        row = self._get(_job_key(tenant, job_id, "delivery"))
        return _decoded(Delivery, row)

    def job_and_delivery(self, tenant: str, job_id: str) -> tuple[Job | None, Delivery | None]:
        job, delivery = self._both(_job_key(tenant, job_id), _job_key(tenant, job_id, "delivery"))
        return _decoded(Job, job), _decoded(Delivery, delivery)

    def save_delivery(self, delivery: Delivery) -> None:
        self._replace(delivery)

    def due(self, now: int, limit: int) -> Sequence[Due]:
        shards = (
            self._query(
                IndexName=DUE_INDEX,
                KeyConditionExpression="due_shard = :shard AND due_at <= :now",
                ExpressionAttributeValues={":shard": {"S": str(shard)}, ":now": {"N": str(now)}},
                Limit=limit,
            )
            for shard in range(DUE_SHARDS)
        )
        overdue = merge(*shards, key=lambda row: int(row["due_at"]["N"]))
        return [due for row in islice(overdue, limit) if (due := _due(row)) is not None]

    def quarantine(self, due: Due) -> None:
        if due.kind == "segment":
            key = _segment_key(due.tenant, due.job_id, due.segment or 0)
        else:
            key = _job_key(due.tenant, due.job_id, due.kind)
        try:
            with translated():
                self._client.update_item(
                    TableName=self._table,
                    Key=key,
                    UpdateExpression="SET quarantined = :yes REMOVE due_at, due_shard, expires_at",
                    ConditionExpression="attribute_exists(pk)",
                    ExpressionAttributeValues={":yes": {"BOOL": True}},
                )
        except ClientError as error:
            if code_of(error) != _REFUSED:
                raise

    def advance_upload(self, tenant: str, bucket: str, key: str, *, order: str, job_id: str) -> None:
        try:
            with translated():
                self._client.put_item(
                    TableName=self._table,
                    Item=_upload_key(tenant, bucket, key)
                    | {"order": {"S": order}, "job_id": {"S": job_id}, "expires_at": self._expires(None)},
                    ConditionExpression="attribute_not_exists(pk) OR #order < :order",
                    ExpressionAttributeNames={"#order": "order"},
                    ExpressionAttributeValues={":order": {"S": order}},
                )
        except ClientError as error:
            if code_of(error) != _REFUSED:
                raise

    def latest_upload(self, tenant: str, bucket: str, key: str) -> str | None:
        row = self._get(_upload_key(tenant, bucket, key))
        if row is None:
            return None
        try:
            return str(row["job_id"]["S"])
        except KeyError as error:
            raise CorruptRow("An upload row cannot be understood.") from error

    def put_api_key(self, record: ApiKeyRecord) -> None:
        with translated():
            self._client.put_item(
                TableName=self._table, Item=_api_key_key(record.tenant, record.key_id) | encode(record)
            )

    def api_key(self, tenant: str, key_id: str) -> ApiKeyRecord | None:
        row = self._get(_api_key_key(tenant, key_id))
        return _decoded(ApiKeyRecord, row)

    # --- One row -----------------------------------------------------------------------------

    def _row(self, entity: Entry, write_id: str, most: int = MAX_GROWN_BYTES) -> Row:
        key = _key_of(entity)
        due_at = entity.due_at if isinstance(entity, Job | Segment | Delivery | Cleanup) else None
        row = key | encode(entity, most=most) | {"write_id": {"S": write_id}, "expires_at": self._expires(due_at)}
        if due_at is not None:
            shard = zlib.crc32((key["pk"]["S"] + key["sk"]["S"]).encode()) % DUE_SHARDS
            row["due_shard"] = {"S": str(shard)}
        return row

    def _expires(self, due_at: int | None) -> Row:
        return {"N": str(max(self._clock.now(), due_at or 0) // 1000 + RETENTION_SECONDS)}

    def _get(self, key: _Key) -> Mapping[str, Any] | None:
        with translated():
            return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")

    def _replace(self, entity: Entry) -> None:
        """Put an entity in the place of its previous revision. Of a vendor, or a cleanup, there may have been none."""
        write_id = _new_write_id()
        row = self._row(entity, write_id)
        try:
            with translated():
                self._client.put_item(
                    TableName=self._table,
                    Item=row,
                    **(_UNWRITTEN if entity.rev == 1 else _follows(entity.rev)),
                )
        except ClientError as error:
            if code_of(error) != _REFUSED:
                raise
            # The SDK may have repeated a write whose answer was lost: then the row is our own.
            there: Any = error.response.get("Item", {})
            if _written_by(there) != write_id:
                raise _stale() from error
        except StoreUnavailable:
            if not self._was_written(_key_of(entity), write_id):
                raise

    def _was_written(self, key: _Key, write_id: str) -> bool:
        """Whether a write whose answer was lost has taken effect, as far as can be seen now."""
        try:
            return _written_by(self._get(key) or {}) == write_id
        except StoreUnavailable:
            return False

    def _claim(self, segment: Segment, write_id: str, until: int, over: Claim | None) -> dict[str, Any]:
        """The row that says who buys an audio. Its key alone holds the audio's: it is none of those who have it."""
        owner = {"job_id": {"S": segment.job_id}, "segment": {"N": str(segment.index)}}
        values = {":job": owner["job_id"], ":segment": owner["segment"]}
        condition = "attribute_not_exists(pk) OR (#job = :job AND #segment = :segment)"
        if over is not None:
            condition, values = f"{condition} OR write_id = :over", {**values, ":over": {"S": over.token}}
        expires_at = max(self._clock.now(), until) // 1000 + CLAIM_RETENTION_SECONDS
        return {
            "Item": _claim_key(segment.tenant, segment.audio_key)
            | owner
            | {"write_id": {"S": write_id}, "expires_at": {"N": str(expires_at)}},
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#job": "job_id", "#segment": "segment"},
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    # --- Several rows ------------------------------------------------------------------------

    def _put(
        self,
        entity: Entry,
        write_id: str,
        condition: Mapping[str, Any] | None = None,
        *,
        most: int = MAX_GROWN_BYTES,
    ) -> Row:
        return {
            "TableName": self._table,
            "Item": self._row(entity, write_id, most),
            **(condition or {}),
        }

    def _counters(
        self,
        tenant: str,
        job_id: str,
        take: int = 0,
        *,
        stored: int = 0,
        failed: int = 0,
        calls: int = 0,
        at: int | None = None,
        committed: int | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """What to add to a job's counters, as the arguments of an update."""
        added = {_of_take("stored", take): stored, _of_take("failed", take): failed, "calls": calls}
        if committed is not None:
            added["committed"] = committed
        values = {f":{name}": {"N": str(value)} for name, value in added.items()}
        sums = ", ".join(f"#{name} :{name}" for name in added)
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": _job_key(tenant, job_id, "progress"),
            "UpdateExpression": f"SET expires_at = :expires ADD {sums}",
            "ExpressionAttributeNames": {f"#{name}": name for name in added},
            "ExpressionAttributeValues": {":expires": self._expires(None), **values},
        }
        if at is not None:
            first, last = _of_take("first_at", take), _of_take("last_at", take)
            update["UpdateExpression"] = f"SET {first} = if_not_exists({first}, :at), {last} = :at," + update[
                "UpdateExpression"
            ].removeprefix("SET")
            update["ExpressionAttributeValues"][":at"] = {"N": str(at)}
        if committed is not None and limit is not None:
            absent = "attribute_not_exists(#committed) OR " if committed <= limit else ""
            update["ConditionExpression"] = f"{absent}#committed <= :room"
            update["ExpressionAttributeValues"][":room"] = {"N": str(limit - committed)}
        return update

    def _transact(self, puts: Sequence[Row], write_id: str, counters: Row | None = None) -> None:
        """All of the rows or none; raises StaleWrite when one of the conditions is refused, OverBudget for that of
        the counters alone."""
        try:
            self._write_counted(puts, counters) if counters else self._write(puts)
        except ClientError as error:
            refused = _refused(error)
            if _written_by(refused.get(0, {})) != write_id:
                if set(refused) == {len(puts)}:
                    raise OverBudget("The job's max_cost leaves no room for what this may cost.") from error
                raise _stale() from error
        except StoreUnavailable:
            first = puts[0]["Item"]
            if not self._was_written({"pk": first["pk"], "sk": first["sk"]}, write_id):
                raise

    def _write(self, puts: Sequence[Row], *updates: Row) -> None:
        actions: Any = [*({"Put": put} for put in puts), *({"Update": update} for update in updates)]
        with translated():
            self._client.transact_write_items(TransactItems=actions)

    def _put_what_can_be(self, puts: list[Row]) -> None:
        """Put the rows whose conditions hold, in as many transactions as there are surprises."""
        while puts:
            try:
                self._write(puts)
            except ClientError as error:
                refused = _refused(error)
                puts = [put for position, put in enumerate(puts) if position not in refused]
            else:
                return

    def _write_counted(self, puts: Sequence[Row], counters: Row) -> None:
        """Segments of one job that end at the same moment meet at its counters: the loser's turn comes at once."""
        for _ in range(TRIES_OF_CONFLICTS):
            try:
                self._write(puts, counters)
            except StoreUnavailable as error:
                if not is_conflict(error.__cause__):
                    raise
            else:
                return
        self._write(puts, counters)

    def _both(self, first: _Key, second: _Key) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
        """Two rows of one job, in one call."""
        rows = {row["sk"]["S"]: row for row in self._batch_get([first, second])}
        return rows.get(first["sk"]["S"]), rows.get(second["sk"]["S"])

    def _batch_get(self, keys: list[_Key]) -> Iterator[Mapping[str, Any]]:
        for _ in range(READS_OF_UNPROCESSED_KEYS):
            with translated():
                answer = self._client.batch_get_item(RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}})
            for rows in answer["Responses"].values():
                yield from rows
            left = answer.get("UnprocessedKeys", {})
            if not left:
                return
            keys = [dict(key) for each in left.values() for key in each["Keys"]]
        raise StoreUnavailable("The service is busy; try again shortly.")

    def _query(self, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        while True:
            with translated():
                page = self._client.query(TableName=self._table, **arguments)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


class DynamoCache:
    """Bytes in rows of the same table. A row holds 400 KB at most, so what is larger is cut into several.

    The first part says how many there are, and all carry the name of the write they belong to: readers that
    meet two writes at once find nothing.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, clock: Clock | None = None) -> None:
        self._client = client
        self._table = table
        self._clock = clock or SystemClock()

    def recall(self, tenant: str, name: str) -> bytes | None:
        first = self._part(tenant, name, 0)
        if first is None or int(first["expires_at"]["N"]) * 1000 <= self._clock.now():
            return None  # rows outlive their time by hours
        parts = [first, *(self._part(tenant, name, number) for number in range(1, int(first["parts"]["N"])))]
        data = [part["data"]["B"] for part in parts if part is not None and _written_by(part) == _written_by(first)]
        return b"".join(data) if len(data) == len(parts) else None

    def remember(self, tenant: str, name: str, data: bytes, *, seconds: int) -> None:
        pieces = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)] or [b""]
        if len(pieces) > MOST_PARTS:
            return
        same = {
            "parts": {"N": str(len(pieces))},
            "write_id": {"S": _new_write_id()},
            "expires_at": {"N": str(self._clock.now() // 1000 + seconds)},
        }
        for number, piece in reversed(list(enumerate(pieces))):
            with translated():
                self._client.put_item(
                    TableName=self._table, Item=_cache_key(tenant, name, number) | same | {"data": {"B": piece}}
                )

    def _part(self, tenant: str, name: str, number: int) -> Mapping[str, Any] | None:
        with translated():
            return self._client.get_item(TableName=self._table, Key=_cache_key(tenant, name, number)).get("Item")


class DynamoPolicies:
    """The policy in a row of the same table, as JSON in one attribute; the newest good one is kept in memory.

    Ages go by the wall clock: a restored environment has a new one, and its monotonic clock does not.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, clock: Clock | None = None) -> None:
        self._client = client
        self._table = table
        self._clock = clock or SystemClock()
        self._policy: Policy | None = None
        self._body = ""
        self._read_at: int | None = None

    def policy(self) -> "Policy":
        if self.is_old():
            self._read()
        if self._policy is None:
            from speech.policy import Policy

            self._policy = Policy()
        return self._policy

    def is_old(self) -> bool:
        """Whether its row is to be read again."""
        return self._read_at is None or not 0 <= self._clock.now() - self._read_at < POLICY_MAX_AGE_MS

    def put(self, policy: "Policy") -> None:
        body = json.dumps(policy.to_json(), separators=(",", ":"))
        with translated():
            self._client.put_item(TableName=self._table, Item={**POLICY_KEY, "policy": {"S": body}})
        self._read_at = None

    def _read(self) -> None:
        try:
            with translated():
                row = self._client.get_item(TableName=self._table, Key=POLICY_KEY).get("Item")
        except (StoreUnavailable, ClientError, BotoCoreError):
            count("PolicyUnreadable")
            logger.warning("policy not read; the last one stays in force")
            # A table that is busy is not asked again by every event.
            self._read_at = self._clock.now()
        else:
            self.take(row)

    def take(self, row: Mapping[str, Any] | None) -> None:
        """What was read of its row just now."""
        self._read_at = self._clock.now()
        body = (row or {}).get("policy", {}).get("S", "{}")
        if body == self._body:
            return
        from speech.policy import Policy

        try:
            self._policy = Policy.parse(json.loads(body), strict=False)
            self._body = body
        except (ValueError, RecursionError, InvalidRequest):
            count("PolicyUnreadable")
            logger.error("policy not understood; the last one stays in force")


_REFUSED = "ConditionalCheckFailedException"
_ABSENT: Mapping[str, Any] = {
    "ConditionExpression": "attribute_not_exists(pk)",
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}


_UNWRITTEN: Mapping[str, Any] = {**_ABSENT, "ConditionExpression": "attribute_not_exists(rev)"}


def _follows(rev: int) -> Mapping[str, Any]:
    return {
        "ConditionExpression": "rev = :before",
        "ExpressionAttributeValues": {":before": {"N": str(rev - 1)}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _new_write_id() -> str:
    return secrets.token_hex(8)


def _written_by(row: Mapping[str, Any]) -> str | None:
    cell: Mapping[str, str] = row.get("write_id", {})
    return cell.get("S")


def _stale() -> StaleWrite:
    return StaleWrite("The row is not what it was when it was read.")


def _refused(error: ClientError) -> dict[int, Mapping[str, Any]]:
    """Position → row of the refused conditions of a transaction; any other failure is raised as it is."""
    reasons: Sequence[Any] = error.response.get("CancellationReasons", [])
    refused = {
        position: reason.get("Item", {})
        for position, reason in enumerate(reasons)
        if reason.get("Code") == "ConditionalCheckFailed"
    }
    if not refused:
        raise error
    return refused


def _decoded(kind: type[Entity], row: Mapping[str, Any] | None) -> Entity | None:
    return None if row is None else decode(kind, row)


def _of_take(counter: str, take: int) -> str:
    return f"{counter}_{take}" if take else counter


def _progress(row: Mapping[str, Any], take: int) -> Progress:
    names = ("stored", "failed", "first_at", "last_at")
    own = {name: row[_of_take(name, take)] for name in names if _of_take(name, take) in row}
    return decode(Progress, {name: row[name] for name in ("calls", "committed") if name in row} | own)


def _health_of(vendor: str, row: Mapping[str, Any] | None) -> "Health":
    """A row that cannot be understood must stop nobody: it is as good as none, but for its revision."""
    from speech.health import Health  # only for those who call a vendor

    if row is None:
        return Health(vendor)
    try:
        return decode(Health, row)
    except CorruptRow:
        count("HealthUnreadable")
        return Health(vendor, rev=int(row.get("rev", {}).get("N", 0)))


def _claim_of(row: Mapping[str, Any]) -> Claim:
    """Whose it is; one that cannot be understood is nobody's, and can be taken over."""
    job_id, segment = row.get("job_id", {}).get("S", "?"), row.get("segment", {}).get("N", "0")
    return Claim(job_id, int(segment) if segment.isdigit() else 0, _written_by(row) or "")


def _name_of(row: Mapping[str, Any]) -> str:
    return f"{row['pk']['S']} {row['sk']['S']}"


def _due(row: Mapping[str, Any]) -> Due | None:
    """What an index row stands for; None when its key is none of ours."""
    tenant, _, job_id = row["pk"]["S"].partition("#job#")
    kind, _, index = row["sk"]["S"].partition("#")
    if not job_id or kind not in ("job", "segment", "delivery", "cleanup"):
        return None
    return Due(kind, tenant, job_id, int(index) if kind == "segment" else None)
