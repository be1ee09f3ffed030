"""The moto server on a free port, with the S3 events that AWS would send. `python -m local.moto_server`

moto sends an S3 event in the middle of the request: before the object's metadata is there, without its
version, and twice for a multipart upload. Here events leave when the request is done, one for each version.
"""

import itertools
import json
import logging
import os
import threading
import time
from typing import Any
from urllib.parse import quote_plus

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3 import notifications
from werkzeug.serving import make_server

_make_event = notifications._get_s3_event
_send = notifications._send_sqs_message
_pending = threading.local()
_sequence = itertools.count(time.time_ns())


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


class Application(DomainDispatcherApplication):
    """moto, holding back S3 events until the request that caused them is done."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        _pending.events = {}
        answer = super().__call__(environ, start_response)
        for event in _pending.events.values():
            _send(*event)
        return answer


def main() -> None:
    """Serve until killed. Prints one line of JSON with the port as soon as the port listens."""
    notifications._get_s3_event = _s3_event
    notifications._send_sqs_message = _send_later
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # request lines hold signatures
    server = make_server(
        "127.0.0.1", 0, Application(create_backend_app), threaded=True, request_handler=MotoRequestHandler
    )
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    os.dup2(2, 1)  # nobody reads the pipe from here on
    server.serve_forever()


if __name__ == "__main__":
    main()
