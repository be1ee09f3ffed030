"""An environment that is thawed, used by one tenant after another, or cannot say a word."""

import ast
import gc
import io
import logging
import random
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import speech
from speech import observability
from speech.apikeys import new_key
from speech.ids import new_job_id
from speech.jobs import JobStatus
from speech.observability import count, logger, metrics, observed
from tests.fakes import NOW
from tests.support.edge import Context
from tests.support.world import World

PACKAGE = Path(speech.__file__).parent

DRAWN = {
    "datetime.now",
    "datetime.utcnow",
    "os.getpid",
    "os.urandom",
    "random.random",
    "random.Random",
    "secrets.randbits",
    "secrets.token_bytes",
    "secrets.token_hex",
    "secrets.token_urlsafe",
    "time.monotonic",
    "time.perf_counter",
    "time.time",
    "time.time_ns",
    "uuid.uuid4",
}
"""Calls whose answer must not be shared by environments that were thawed from one picture."""


def at_import(tree: ast.Module) -> Iterator[ast.Call]:
    """The calls that run when a module is loaded: all but those inside functions, default arguments included."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*node.decorator_list, *node.args.defaults, *(each for each in node.args.kw_defaults if each)]
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting += ast.iter_child_nodes(node)


def drawn_at_import(source: str) -> list[str]:
    return [name for call in at_import(ast.parse(source)) if (name := ast.unparse(call.func)) in DRAWN]


def test_e10_neither_time_nor_chance_is_taken_when_a_module_is_loaded() -> None:
    drawn = {
        path.relative_to(PACKAGE).as_posix(): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if (names := drawn_at_import(path.read_text(encoding="utf-8")))
    }

    assert drawn == {}
    assert drawn_at_import("import uuid\nX = uuid.uuid4().hex\ndef f(now=time.time()): return uuid.uuid4()") == [
        "time.time",
        "uuid.uuid4",
    ]


def test_e10_two_environments_from_one_picture_make_different_ids_keys_and_leases() -> None:
    def made() -> tuple[str, str, str | None]:
        world = World()
        world.a_synthesizing_job("The sun is up.")
        leases: list[str | None] = []
        original = world.store.save

        def watched(job: Any) -> None:
            leases.append(job.lease_token)
            original(job)

        world.store.save = watched  # type: ignore[method-assign]  # to see the lease of the assembly
        world.run()
        return new_job_id(NOW), new_key(pepper=b"p" * 32, env="test", now=NOW)[0], next(filter(None, leases))

    picture = random.getstate()
    first = made()
    random.setstate(picture)
    second = made()

    assert all(one != other for one, other in zip(first, second, strict=True))


def strings_that_are_left(canary: str) -> list[str]:
    """Who still holds a string with the canary in it."""
    gc.collect()
    frame = type(sys._getframe())
    held = (
        (type(each).__name__, what)
        for each in gc.get_objects()
        if not isinstance(each, frame)
        for what in gc.get_referents(each)
    )
    return [
        holder
        for holder, what in held
        if (isinstance(what, str) and canary in what and what != canary)
        or (isinstance(what, bytes) and canary.encode() in what)
    ]


def spoken_for_a_tenant(canary: str) -> None:
    world = World()
    world.a_synthesizing_job(f"A text with {canary} inside. ", "And another one.", metadata={"note": f"of {canary}"})
    world.run()
    assert world.job().status is JobStatus.COMPLETED


def test_e10_b16_nothing_of_a_job_is_left_in_the_process_that_did_it() -> None:
    canary = uuid.uuid4().hex

    spoken_for_a_tenant(canary)

    assert strings_that_are_left(canary) == []


class Broken(io.TextIOBase):
    """Where nothing can be written."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def speechless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither logs nor metrics can be written."""
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(Broken())
    monkeypatch.setattr("sys.stdout", Broken())
    monkeypatch.setattr("sys.stderr", Broken())
    yield
    handler.setStream(before or sys.__stderr__)
    metrics.clear_metrics()


def test_e14_a_function_that_cannot_say_a_word_does_its_work(speechless: None) -> None:
    @observed
    def handler(event: dict[str, Any], context: Any) -> str:
        spoken_for_a_tenant("nobody")
        logger.error("that cannot be written", extra={"job_id": "x"})
        for _ in range(250):  # more than fit into one line of metrics
            count("Things")
        return "done"

    assert handler({}, Context()) == "done"  # type: ignore[arg-type]  # what it asks of a context
    assert handler({}, Context()) == "done"  # type: ignore[arg-type]  # also when it is warm


def test_e14_metrics_that_make_no_sense_are_lost_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.provider, "namespace", None)
    ended = []

    @observed
    def handler(event: dict[str, Any], context: Any) -> None:
        count("Things", "many")  # type: ignore[arg-type]  # a bug of ours
        count("Things")
        ended.append(True)

    handler({}, Context())  # type: ignore[arg-type]  # what it asks of a context

    assert ended == [True]
    assert not metrics.provider.metric_set


def test_e14_an_error_of_the_work_itself_is_not_hidden_by_metrics_that_fail(speechless: None) -> None:
    @observed
    def handler(event: dict[str, Any], context: Any) -> None:
        count("Things")
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        handler({}, Context())  # type: ignore[arg-type]  # what it asks of a context


def test_e14_counters_are_written_when_a_function_returns(capsys: pytest.CaptureFixture[str]) -> None:
    @observed
    def handler(event: dict[str, Any], context: Any) -> None:
        count("Things", 3)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handler({}, Context())  # type: ignore[arg-type]  # what it asks of a context

    assert '"Things":[3.0]' in capsys.readouterr().out
    assert observability.metrics.provider.metric_set == {}
