"""A function that does what it is told: by an event, by the body of a message, or by the path of a request."""

import json
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from remembered import CALLS  # type: ignore[import-not-found]  # it lies in the layer


def obey(order: dict[str, Any], context: Any) -> dict[str, Any]:
    CALLS.append(context.aws_request_id)
    if "print" in order:
        print(order["print"])
    if "sleep" in order:
        time.sleep(order["sleep"])  # so ordered by a test that needs a function at work
    if "raise" in order:
        raise ValueError(order["raise"])
    if "exit" in order:
        os._exit(order["exit"])
    return {
        "found": [name for name in order.get("look_for", ()) if find_spec(name)],
        "pid": os.getpid(),
        "calls": len(CALLS),
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "arn": context.invoked_function_arn,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "padding": "x" * order.get("bytes", 0),
    }


def answer(event: dict[str, Any]) -> Any:
    path = event["rawPath"]
    if path.startswith("/status/"):
        return {
            "statusCode": int(event["pathParameters"]["code"]),
            "headers": {"X-Said": "so"},
            "cookies": ["a=1", "b=2"],
        }
    if path == "/binary":
        return {"statusCode": 200, "headers": {"content-type": "audio/mpeg"}, "body": "//tQ", "isBase64Encoded": True}
    if path == "/nonsense":
        return {"statusCode": "what"}
    return event


def handler(event: dict[str, Any], context: Any) -> Any:
    if "requestContext" in event:
        return answer(event)
    if event.get("source") == "aws.events":
        print("fired")
        return None
    if "Records" not in event:
        return obey(event, context)
    print("received", len(event["Records"]))
    failures = []
    for record in event["Records"]:
        order = json.loads(record["body"])
        if order.get("report"):
            failures.append({"itemIdentifier": record["messageId"]})
        elif "s3" in str(order.get("Records", "")):
            print("dropped", json.dumps(order["Records"][0]["s3"]["object"]))
        elif "Event" not in order:
            obey(order, context)
    return {"batchItemFailures": failures}
