"""The function that the tests run, and where it lies."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from local.template import Function

APP = Path(__file__).parent / "app"

PROBE = Function(
    name="probe",
    logical_id="voicedrop-ProbeFunction",
    arn="arn:aws:lambda:us-east-1:123456789012:function:voicedrop-ProbeFunction",
    folder=APP / "functions" / "probe",
    layers=(APP / "layer",),
    handler="app.handler",
    runtime="python3.13",
    timeout=5,
    memory=128,
    environment={"COLOUR": "blue"},
    json_logs=False,
    reserved_concurrency=None,
)


async def until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait for files and processes, which give no sign of their own."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
