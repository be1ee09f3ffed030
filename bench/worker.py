"""One function in a process of its own: an event per line in, what it cost per line out.

Lambda's own process loads the runtime client before the first line of a function, and so does this one before it
begins to measure. `--watch` tells more, and costs what telling costs: never use it where the clock counts.
"""

import importlib
import json
import os
import sys
import time
from typing import Any, cast

import awslambdaric.bootstrap  # noqa: F401 - what is loaded before a function is


class Context:
    """What Lambda tells a function about its invocation."""

    function_name = memory_limit_in_mb = "bench"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id = "8a4f1c5e-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def noted(calls: list[list[Any]], kind: Any, name: str, what: Any) -> None:
    """Put a method in the place of one that does the same and notes who was asked for what, and the CPU it took."""
    inner = getattr(kind, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return inner(self, *args, **kwargs)
        finally:
            calls.append([*what(self, *args), (time.process_time() - started) * 1000])

    setattr(kind, name, call)


def watch(calls: list[list[Any]], clients: dict[str, Any]) -> None:
    """Note every AWS call: service, operation, and milliseconds of CPU inside it.

    `clients` gets the configuration of every AWS client that is made.
    """
    import boto3.session
    import botocore.client

    def made(self: Any, service: str, config: Any) -> Any:
        clients[service] = config._user_provided_options
        return make(self, service, config=config)

    session: Any = boto3.session.Session
    make = session.client
    session.client = made
    noted(
        calls,
        botocore.client.BaseClient,
        "_make_api_call",
        lambda client, operation, _: (client.meta.service_model.service_name, operation),
    )


def watch_vendors(calls: list[list[Any]]) -> None:
    """The same for what goes to vendors, from the moment when the function itself first thinks of one."""
    from speech.bootstrap import Services

    services: Any = Services
    vendor = services.vendor

    def watched(*args: Any, **kwargs: Any) -> Any:
        found = vendor(*args, **kwargs)
        from speech.vendors.http import Outbound

        services.vendor = vendor
        noted(calls, Outbound, "exchange", lambda _, target, method: ("vendor", f"{method} {target.path}"))
        return found

    services.vendor = watched


def main() -> None:
    """Answer events until there are no more."""
    # What a function would not find on Lambda it does not find here.
    sys.modules.update(dict.fromkeys(os.environ.get("BENCH_ABSENT", "").split(","), cast("Any", None)))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # logs and metrics
    calls: list[list[Any]] = []
    clients: dict[str, Any] = {}
    watching = "--watch" in sys.argv
    if watching:
        watch(calls, clients)
    handler: Any = None
    for line in sys.stdin:
        event = json.loads(line)
        calls.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        if handler is None:
            handler = importlib.import_module("app").handler
            if watching:
                watch_vendors(calls)
        answer = handler(event, Context())
        report = {"wall": (time.perf_counter() - wall) * 1000, "cpu": (time.process_time() - cpu) * 1000}
        told = {
            "answer": answer,
            "calls": calls,
            "clients": clients,
            "modules": sorted(name for name, module in sys.modules.items() if module),
        }
        print(json.dumps({**report, **(told if watching else {})}), file=answers, flush=True)


if __name__ == "__main__":
    main()
