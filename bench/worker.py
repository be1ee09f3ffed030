"""One function in a process of its own: an event per line in, what it cost per line out.

Lambda's own process loads the runtime client before the first line of a function, and so does this one before it
begins to measure. `--watch` tells more, and costs what telling costs: never use it where the clock counts.
"""

import importlib
import json
import os
import sys
import time
from typing import Any

import awslambdaric.bootstrap  # noqa: F401 - what is loaded before a function is


class Context:
    """What Lambda tells a function about its invocation."""

    function_name = memory_limit_in_mb = "bench"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id = "8a4f1c5e-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def watch(calls: list[list[Any]]) -> None:
    """Note every AWS call and every exchange with a vendor: who, what, and milliseconds of CPU inside it."""
    import botocore.client

    def noted(kind: Any, name: str, what: Any) -> None:
        inner = getattr(kind, name)

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            try:
                return inner(self, *args, **kwargs)
            finally:
                calls.append([*what(self, *args), (time.process_time() - started) * 1000])

        setattr(kind, name, call)

    noted(
        botocore.client.BaseClient,
        "_make_api_call",
        lambda client, operation, _: (client.meta.service_model.service_name, operation),
    )
    try:
        from speech.vendors.http import Outbound
    except ImportError:
        return
    noted(Outbound, "exchange", lambda _, target, method: ("vendor", f"{method} {target.path}"))


def main() -> None:
    """Answer events until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # logs and metrics
    calls: list[list[Any]] = []
    watching = "--watch" in sys.argv
    if watching:
        watch(calls)
    handler: Any = None
    for line in sys.stdin:
        event = json.loads(line)
        calls.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        handler = handler or importlib.import_module("app").handler
        answer = handler(event, Context())
        report = {"wall": (time.perf_counter() - wall) * 1000, "cpu": (time.process_time() - cpu) * 1000}
        told = {"answer": answer, "calls": calls, "modules": sorted(sys.modules)} if watching else {}
        print(json.dumps({**report, **told}), file=answers, flush=True)


if __name__ == "__main__":
    main()
