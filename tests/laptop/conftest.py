"""A pool to run a function in, and a moto server to poll."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.process import ROOT, Household, plain_environment
from local.runtime import IDLE_SECONDS, Pool, Runtime
from tests.laptop.probe import PROBE


@pytest.fixture
def with_pool(tmp_path: Path) -> Callable[..., Any]:
    """Run a coroutine with a pool for a variation of the probe, in a folder of its own."""

    def run(
        body: Callable[[Pool], Awaitable[Any]],
        *,
        wanted: int = 0,
        idle_seconds: float = IDLE_SECONDS,
        **changes: Any,
    ) -> Any:
        async def main() -> Any:
            (tmp_path / "logs").mkdir()
            with Household() as household:
                async with Runtime(
                    stack_dir=tmp_path, household=household, endpoint="http://127.0.0.1:9", idle_seconds=idle_seconds
                ) as runtime:
                    outcome = await body(runtime.pool(replace(PROBE, **changes), wanted=wanted))
                    household.close()
                    return outcome

        return asyncio.run(main())

    return run


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of a moto server like that of the stack."""
    process = subprocess.Popen(
        [sys.executable, "-m", "local.moto_server"], cwd=ROOT, stdout=subprocess.PIPE, env=plain_environment()
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    process.kill()
    process.wait()
