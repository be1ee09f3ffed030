"""Functions run in processes of their own, as on Lambda."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local import runtime
from local.process import Household
from local.runtime import RESPONSE_LIMIT, Pool, Runtime
from tests.laptop.probe import APP, PROBE, until

WithPool = Callable[..., Any]


async def told(pool: Pool, **order: Any) -> Any:
    """What the probe answers; the error object when it failed."""
    return json.loads((await pool.invoke(json.dumps(order).encode())).payload)


def test_a_function_sees_its_own_environment_and_nothing_of_ours(with_pool: WithPool, monkeypatch: Any) -> None:
    monkeypatch.setenv("VOICEAI_API_KEY", "ours")

    answer = with_pool(lambda pool: told(pool))

    env = answer["env"]
    assert env["COLOUR"] == "blue"
    assert env["AWS_LAMBDA_FUNCTION_NAME"] == "voicedrop-ProbeFunction"
    assert env["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert env["AWS_ACCESS_KEY_ID"] == "test"
    assert env["PYTHONPATH"].split(os.pathsep) == [str(APP / "layer"), str(APP / "functions" / "probe")]
    assert "VOICEAI_API_KEY" not in env
    assert "HOME" not in env
    assert answer["cwd"] == str(APP / "functions" / "probe")
    assert answer["arn"] == PROBE.arn
    assert 4000 < answer["remaining_ms"] <= 5000


def test_a_function_finds_what_it_will_find_on_lambda_and_nothing_else(with_pool: WithPool) -> None:
    answer = with_pool(lambda pool: told(pool, look_for=["boto3", "httpx", "pytest", "moto", "rich", "awscrt"]))

    assert answer["found"] == ["boto3", "httpx"]


def test_an_idle_process_is_used_again(with_pool: WithPool, tmp_path: Path) -> None:
    async def twice(pool: Pool) -> Any:
        return await told(pool), await told(pool)

    first, second = with_pool(twice)

    assert second["pid"] == first["pid"]
    assert (first["calls"], second["calls"]) == (1, 2)
    log = (tmp_path / "logs" / "probe.log").read_text()
    assert log.count("START RequestId") == log.count("END RequestId") == log.count("REPORT RequestId") == 2
    assert log.count("Init Duration") == 1


def test_of_processes_that_nobody_needs_any_more_the_newest_stays(
    with_pool: WithPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "COLD_STARTS", 4)
    pids = tmp_path / "pids" / "probe"

    async def busy_then_quiet(pool: Pool) -> Any:
        answers = await asyncio.gather(*(told(pool, sleep=0.2) for _ in range(4)))
        await until(lambda: len(list(pids.iterdir())) == 1)
        return {each["pid"] for each in answers}, [each.name for each in pids.iterdir()], await told(pool)

    busy, (left,), after = with_pool(busy_then_quiet, idle_seconds=0.3)

    assert len(busy) == 4
    assert after["pid"] == int(left)
    assert after["pid"] in busy


def test_a_process_is_not_retired_from_its_work(with_pool: WithPool) -> None:
    async def overlapping(pool: Pool) -> Any:
        await asyncio.gather(*(told(pool, sleep=0.1) for _ in range(3)))
        return await asyncio.gather(*(pool.invoke(b'{"sleep": 1}') for _ in range(3)))

    assert not any(each.failed for each in with_pool(overlapping, idle_seconds=0.2))


def test_no_more_processes_run_than_the_concurrency_allows(with_pool: WithPool, tmp_path: Path) -> None:
    async def four(pool: Pool) -> Any:
        answers = await asyncio.gather(*(told(pool, sleep=0.2) for _ in range(4)))
        return answers, len(list((tmp_path / "pids" / "probe").iterdir()))

    answers, pid_files = with_pool(four, reserved_concurrency=2)

    assert len({each["pid"] for each in answers}) == 2
    assert pid_files == 2


def test_who_waits_for_a_start_takes_a_process_that_becomes_idle(
    with_pool: WithPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "COLD_STARTS", 1)

    async def at_once(pool: Pool) -> Any:
        return await asyncio.gather(*(told(pool) for _ in range(6)))

    answers = with_pool(at_once)

    # The second starts when the first has started, which by then has time for all the others; one to spare.
    assert len({each["pid"] for each in answers}) <= 3


def test_a_start_that_hangs_holds_up_no_other_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "COLD_STARTS", 1)
    monkeypatch.setattr(runtime, "COLD_START_PATIENCE_SECONDS", 0.2)

    async def two() -> float:
        with Household() as household:
            both = Runtime(stack_dir=tmp_path, household=household, endpoint="http://127.0.0.1:9")
            assert await both.may_start(lambda: False)
            began = time.monotonic()
            assert await both.may_start(lambda: False)
            return time.monotonic() - began

    assert 0.2 <= asyncio.run(two()) < 5


def test_an_exception_is_a_failed_result_and_the_process_lives(with_pool: WithPool) -> None:
    async def fail_then_work(pool: Pool) -> Any:
        before = await told(pool)
        result = await pool.invoke(b'{"raise": "no"}')
        return before, result, await told(pool)

    before, result, after = with_pool(fail_then_work)

    assert result.failed
    assert json.loads(result.payload)["errorType"] == "ValueError"
    assert after["pid"] == before["pid"]


def test_a_function_that_cannot_load_says_why(with_pool: WithPool) -> None:
    answer = with_pool(lambda pool: told(pool), folder=APP / "functions" / "broken")

    assert answer["errorType"] == "RuntimeError"
    assert answer["errorMessage"] == "no"


def test_a_missing_module_is_an_import_error(with_pool: WithPool) -> None:
    answer = with_pool(lambda pool: told(pool), handler="nowhere.handler")

    assert answer["errorType"] == "Runtime.ImportModuleError"


def test_a_function_that_takes_too_long_is_killed(with_pool: WithPool, tmp_path: Path) -> None:
    async def too_long(pool: Pool) -> Any:
        before = await told(pool)
        started = time.monotonic()
        result = await pool.invoke(b'{"sleep": 30}')
        return before, result, time.monotonic() - started, await told(pool)

    before, result, seconds, after = with_pool(too_long, timeout=0.5)

    assert json.loads(result.payload)["errorType"] == "Sandbox.Timedout"
    assert 0.5 <= seconds < 3
    assert after["pid"] != before["pid"]
    assert "Task timed out after 0.50 seconds" in (tmp_path / "logs" / "probe.log").read_text()


def test_a_killed_process_fails_its_invocation_and_is_replaced(with_pool: WithPool, tmp_path: Path) -> None:
    async def killed(pool: Pool) -> Any:
        before = await told(pool)
        working = asyncio.create_task(pool.invoke(b'{"sleep": 30, "print": "at work"}'))
        await until(lambda: "at work" in (tmp_path / "logs" / "probe.log").read_text())
        (pid_file,) = (tmp_path / "pids" / "probe").iterdir()
        os.kill(int(pid_file.name), signal.SIGKILL)
        return before, await asyncio.wait_for(working, 5), await told(pool)

    before, result, after = with_pool(killed)

    assert json.loads(result.payload)["errorType"] == "Runtime.ExitError"
    assert after["pid"] != before["pid"]


def test_a_process_that_died_idle_is_replaced_without_harm(with_pool: WithPool, tmp_path: Path) -> None:
    async def killed(pool: Pool) -> Any:
        before = await told(pool)
        os.kill(before["pid"], signal.SIGKILL)
        await until(lambda: not list((tmp_path / "pids" / "probe").iterdir()))
        return before, await told(pool)

    before, after = with_pool(killed)

    assert after["pid"] != before["pid"]
    assert after["calls"] == 1


def test_an_exit_is_a_failed_result(with_pool: WithPool) -> None:
    answer = with_pool(lambda pool: told(pool, exit=3))

    assert answer["errorType"] == "Runtime.ExitError"
    assert "status 3" in answer["errorMessage"]


def test_an_answer_beyond_six_megabytes_is_an_error(with_pool: WithPool) -> None:
    answer = with_pool(lambda pool: told(pool, bytes=RESPONSE_LIMIT))

    assert answer["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_large_answer_within_the_limit_arrives_whole(with_pool: WithPool) -> None:
    answer = with_pool(lambda pool: told(pool, bytes=5_000_000))

    assert len(answer["padding"]) == 5_000_000


def test_a_warm_invocation_takes_a_few_milliseconds(with_pool: WithPool) -> None:
    async def warm(pool: Pool) -> float:
        await told(pool)
        started = time.perf_counter()
        for _ in range(20):
            await pool.invoke(b"{}")
        return (time.perf_counter() - started) / 20

    # A delayed acknowledgement, which Nagle's algorithm provokes, would cost 40 ms each time.
    assert with_pool(warm) < 0.03


def test_a_process_has_a_tmp_of_its_own_that_goes_with_it(with_pool: WithPool, tmp_path: Path) -> None:
    async def gone(pool: Pool) -> Path:
        folder = Path((await told(pool))["env"]["TMPDIR"])
        await until(folder.is_dir)
        await pool.invoke(b'{"exit": 0}')
        await until(lambda: not folder.exists())
        return folder

    folder = with_pool(gone)

    assert folder.is_relative_to(tmp_path)


def test_invocations_can_be_observed(tmp_path: Path) -> None:
    log = tmp_path / "invocations.jsonl"

    async def main() -> None:
        (tmp_path / "logs").mkdir()
        with Household() as household:
            observed = Runtime(
                stack_dir=tmp_path, household=household, endpoint="http://127.0.0.1:9", invocations_log=log
            )
            async with observed:
                pool = observed.pool(PROBE)
                await pool.invoke(b"{}")
                await pool.invoke(b'{"raise": "secret words"}')
                household.close()

    asyncio.run(main())

    cold, failed = [json.loads(line) for line in log.read_text().splitlines()]
    assert (cold["function"], cold["failed"], failed["failed"]) == ("probe", False, True)
    assert cold["init_milliseconds"] > 0
    assert failed["init_milliseconds"] is None
    assert cold["pid"] == failed["pid"]
    assert "secret" not in log.read_text()
