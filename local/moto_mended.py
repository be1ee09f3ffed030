"""Mend moto where it would mislead: lost writes, lost messages, S3 events that AWS would not send.

- S3 events left in the middle of the request: before the object's metadata was there, without its version, and
  twice for a multipart upload. Here they leave when the request is done, one for each version.
- A DynamoDB transaction copied the whole table for each of its items and, when it failed, put the copy back over
  whatever others had written meanwhile. Here it remembers the rows it touches, and puts those back; DynamoDB
  requests run one at a time, as moto's tables are not made for threads. For every value that it gave out it looked
  for each type that a value may have, under each name that a Python object might use for it.
- Each attribute that was put into an item had all the others measured again, and each request had a list made of all
  the methods that could answer it.
- The end of a multipart upload did not know If-Match, nor an upload that is not there.
- Deleting a message from a queue lost one that arrived at that moment, and two receivers could get the same
  message. Here both hold the queue's lock. A standard queue whose messages have groups is fair, as it is at AWS.
  Each message's age was worked out with calendars, several times a call.
"""

import copy
import functools
import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any
from urllib.parse import quote_plus

from moto.core import responses
from moto.core.serialize import BaseJSONSerializer
from moto.core.utils import method_names_from_class
from moto.dynamodb import exceptions
from moto.dynamodb import models as dynamodb
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.dynamodb.models.utilities import bytesize
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3 import notifications
from moto.s3.exceptions import MissingKey, NoSuchUpload, PreconditionFailed
from moto.s3.responses import S3Response
from moto.sqs import models as sqs

_make_event = notifications._get_s3_event
_send = notifications._send_sqs_message
_post = S3Response._key_response_post
_transact = dynamodb.DynamoDBBackend.transact_write_items
_delete_message = sqs.Queue.delete_message
_messages: Any = vars(sqs.Queue)["messages"]
_receive_message = sqs.SQSBackend.receive_message
_serialize_structure = BaseJSONSerializer._serialize_type_structure

ITEM_LIMIT = 405_000
"""Bytes of an item, as moto has measured them at AWS."""

_pending = threading.local()
_sequence = itertools.count(time.time_ns())
_one_at_a_time = threading.Lock()


def mend() -> None:
    """Put our versions in moto's places, for this process."""
    notifications._get_s3_event = _s3_event
    notifications._send_sqs_message = _send_later
    for owner, name, ours in ANYWHERE:
        setattr(owner, name, ours)
    setattr(sqs.Queue, "delete_message", _delete_alone)  # noqa: B010 - no method to mypy
    setattr(sqs.SQSBackend, "receive_message", _receive_alone)  # noqa: B010 - no method to mypy
    setattr(sqs.Queue, "messages", property(_fairly))  # noqa: B010 - no property to mypy
    vars(sqs)["unix_time_millis"] = lambda: time.time() * 1000


class Application(DomainDispatcherApplication):
    """All of moto as one WSGI application."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        # moto lists its own folders to answer this, for every request.
        vars(self)["get_backend_for_host"] = functools.cache(super().get_backend_for_host)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        _pending.events = {}
        alone = environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_")
        with _one_at_a_time if alone else nullcontext():
            answer = super().__call__(environ, start_response)
        for event in _pending.events.values():
            _send(*event)
        return answer


# --- S3 ---


def complete_on_condition(
    self: S3Response, request: Any, body: bytes, bucket_name: str, query: dict[str, Any], key_name: str
) -> Any:
    """A POST to an object, which may be the end of a multipart upload."""
    upload, wanted = query.get("uploadId", [""])[0], self.headers.get("If-Match")
    if upload:
        there = self.backend.get_object(bucket_name, key_name)
        done = there is not None and there.multipart is not None and there.multipart.id == upload
        if not done and upload not in self.backend.get_bucket(bucket_name).multiparts:
            raise NoSuchUpload(upload_id=upload)
        if wanted and not done:
            if there is None:
                raise MissingKey(key=key_name)
            if there.etag.strip('"') != wanted.strip('"'):
                raise PreconditionFailed("If-Match")
    return _post(self, request, body, bucket_name, query, key_name)


def _s3_event(event_name: str, bucket: Any, key: Any, notification_id: str) -> dict[str, Any]:
    event: dict[str, Any] = _make_event(event_name, bucket, key, notification_id)
    described = event["Records"][0]["s3"]["object"]
    described["key"] = quote_plus(key.name, safe="/*")
    described["sequencer"] = f"{next(_sequence):018X}"
    if bucket.is_versioned:
        described["versionId"] = key.version_id
    return event


def _send_later(account_id: str, event_body: Any, queue_name: str, region_name: str) -> None:
    described = event_body.get("Records", [{}])[0].get("s3", {}).get("object", {})
    what = (queue_name, described.get("key"), described.get("versionId") or id(event_body))
    _pending.events[what] = (account_id, event_body, queue_name, region_name)


# --- DynamoDB ---


def _transact_rows(self: dynamodb.DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    before = [row for each in transact_items for op in each.values() for row in _row(self.tables, op)]
    try:
        _transact(self, transact_items)
    except Exception:  # whatever it was: nothing of the transaction stays, and the error goes on
        for table, hash_key, range_key, item in before:
            rows: Any = table.items if range_key is None else table.items[hash_key]
            key = hash_key if range_key is None else range_key
            rows.pop(key, None)
            if item is not None:
                rows[key] = item
        raise


def _row(tables: dict[str, Table], op: dict[str, Any]) -> list[tuple[Table, DynamoType, DynamoType | None, Any]]:
    """The row an operation is about, as it is now; none when moto will refuse the operation anyhow."""
    table = tables.get(op.get("TableName", ""))
    key = op.get("Key") or op.get("Item") or {}
    if table is None or table.hash_key_attr not in key:
        return []
    hash_key = DynamoType(key[table.hash_key_attr])
    range_key = DynamoType(key[table.range_key_attr]) if table.range_key_attr in key else None
    if table.has_range_key and range_key is None:
        return []
    return [(table, hash_key, range_key, copy.deepcopy(table.get_item(hash_key, range_key)))]


class _Copy:
    """What moto's transactions call `copy`: a table is not copied, so that putting it back does nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(copy, name)

    def deepcopy(self, thing: Any) -> Any:
        return thing if isinstance(thing, Table) else copy.deepcopy(thing)


def _structure(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
    if shape.name != "AttributeValue" or not isinstance(value, dict):
        _serialize_structure(self, serialized, value, shape, key)
        return
    ours: dict[str, Any] = {}
    serialized[self.get_serialized_name(shape, key)] = ours
    for kind, content in value.items():  # one: the value's type
        self._serialize(ours, content, shape.members[kind], kind)


def _set_attribute(self: LimitedSizeDict, name: str, value: Any) -> None:
    known = vars(self)
    if known.get("count") != len(self):
        known.update(count=len(self), size=sum(_size(*each) for each in self.items()))
    size = known["size"] + _size(name, value)
    if size > ITEM_LIMIT:
        raise exceptions.ItemSizeTooLarge
    if name in self:
        known["count"] = None  # what it was before has to be told from what it is now
    else:
        known.update(count=len(self) + 1, size=size)
    dict.__setitem__(self, name, value)


def _size(name: str, value: Any) -> int:
    size: int = bytesize(name) + (value.size() if isinstance(value, DynamoType) else bytesize(str(value)))
    return size


# --- SQS ---


def _delete_alone(self: sqs.Queue, receipt_handle: str) -> None:
    with self._messages_lock:
        _delete_message(self, receipt_handle)


def _receive_alone(self: sqs.SQSBackend, queue_name: str, *args: Any, **kwargs: Any) -> list[sqs.Message]:
    with self.get_queue(queue_name)._messages_lock:  # a condition: who waits for messages lets go of it
        return _receive_message(self, queue_name, *args, **kwargs)


def _fairly(self: sqs.Queue) -> list[sqs.Message]:
    """What can be received: first the messages of the group of which the fewest are being worked on.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues-detailed.html
    AWS calls a group noisy that has more than a tenth of what is in flight, or of the time it took; here one has more
    or less than another.
    """
    found: list[sqs.Message] = _messages.fget(self)
    if self.fifo_queue or len({message.group_id for message in found}) < 2:
        return found
    busy = Counter(message.group_id for message in self.pending_messages if not message.visible)
    return sorted(found, key=lambda message: busy[message.group_id])


# --- Also where moto is no server ---

ANYWHERE: Sequence[tuple[object, str, object]] = (
    (S3Response, "_key_response_post", complete_on_condition),
    (dynamodb, "copy", _Copy()),
    (dynamodb.DynamoDBBackend, "transact_write_items", _transact_rows),
    (BaseJSONSerializer, "_serialize_type_structure", _structure),
    (LimitedSizeDict, "__setitem__", _set_attribute),
    (responses, "method_names_from_class", functools.cache(method_names_from_class)),
)
"""What the tests mend too, for the moto in their own process: the owner, the attribute's name, and ours."""
