"""The moto server on a free port, mended where it would mislead. `python -m local.moto_server`

- moto sends an S3 event in the middle of the request: before the object's metadata is there, without its version,
  and twice for a multipart upload. Here events leave when the request is done, one for each version.
- A DynamoDB transaction in moto copies the whole table for each of its items, and puts the copy back when it
  fails, with whatever others wrote meanwhile undone. Here it remembers the rows it touches, and puts those back;
  DynamoDB requests run one at a time, as moto's tables are not made for threads.
"""

import copy
import itertools
import json
import logging
import os
import threading
import time
from contextlib import nullcontext
from typing import Any
from urllib.parse import quote_plus

from moto.dynamodb import models as dynamodb
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3 import notifications
from werkzeug.serving import make_server

_make_event = notifications._get_s3_event
_send = notifications._send_sqs_message
_transact = dynamodb.DynamoDBBackend.transact_write_items
_pending = threading.local()
_sequence = itertools.count(time.time_ns())
_one_at_a_time = threading.Lock()


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


def _transact_rows(self: dynamodb.DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    before = [row for each in transact_items for op in each.values() for row in _row(self.tables, op)]
    try:
        _transact(self, transact_items)
    except Exception:
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


class Application(DomainDispatcherApplication):
    """moto, holding back S3 events until the request that caused them is done."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        _pending.events = {}
        alone = environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_")
        with _one_at_a_time if alone else nullcontext():
            answer = super().__call__(environ, start_response)
        for event in _pending.events.values():
            _send(*event)
        return answer


def mend() -> None:
    """Put our versions in moto's places."""
    notifications._get_s3_event = _s3_event
    notifications._send_sqs_message = _send_later
    dynamodb.copy = _Copy()  # type: ignore[attr-defined]  # the module as moto imported it
    dynamodb.DynamoDBBackend.transact_write_items = _transact_rows  # type: ignore[method-assign]  # as said above


def main() -> None:
    """Serve until killed. Prints one line of JSON with the port as soon as the port listens."""
    mend()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # request lines hold signatures
    server = make_server(
        "127.0.0.1", 0, Application(create_backend_app), threaded=True, request_handler=MotoRequestHandler
    )
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    os.dup2(2, 1)  # nobody reads the pipe from here on
    server.serve_forever()


if __name__ == "__main__":
    main()
