"""Fire schedules: asynchronous invocations at a rate, with Lambda's retries and failure destination."""

import asyncio
import contextlib
import json
import uuid
from datetime import UTC, datetime

import aiohttp

from local.queues import Sqs
from local.runtime import Pool, Result
from local.template import ACCOUNT, REGION, Function, Schedule


async def run(schedule: Schedule, pool: Pool, sqs: Sqs) -> None:
    """Fire until cancelled. The next firing waits for this one, so that a slow one does not pile up."""
    clock = asyncio.get_running_loop().time
    due = clock() + schedule.seconds
    while True:
        await asyncio.sleep(max(0.0, due - clock()))
        due = max(due + schedule.seconds, clock())
        await invoke_async(pool, sqs, schedule.input or json.dumps(event(schedule)))


def event(schedule: Schedule) -> dict[str, object]:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html"""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [schedule.arn],
        "detail": {},
    }


async def invoke_async(pool: Pool, sqs: Sqs, payload: str) -> None:
    """Invoke as an event. Lambda waits a minute and more between the retries; here they follow at once."""
    function = pool.function
    result = Result(b"", failed=True)
    for _ in range(1 + function.async_retries):
        result = await pool.invoke(payload.encode())
        if not result.failed:
            return
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # Lambda does not promise it either
        if function.dead_letters is not None:
            await sqs.send(function.dead_letters, payload)
        if function.on_failure is not None:
            await sqs.send(function.on_failure, json.dumps(_failure(function, payload, result)))


def _failure(function: Function, payload: str, result: Result) -> dict[str, object]:
    """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": f"{function.arn}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1 + function.async_retries,
        },
        "requestPayload": json.loads(payload),
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": json.loads(result.payload),
    }
