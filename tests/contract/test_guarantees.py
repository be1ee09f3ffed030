"""What is promised: each with a proof that is there, and with the figures of its last run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.generate_guarantees import Unproven, promises, table
from tests.support.prove import FIGURES, FULL, promised, proven

HERE = "tests/contract/test_guarantees.py"


def a_promise(*tests: str) -> dict[str, Any]:
    return {"says": "All is well.", "tests": list(tests), "figures": "{jobs} jobs, {ratio} calls"}


def test_a_promise_stands_beside_its_figures_and_its_command() -> None:
    known = {"x": a_promise(f"{HERE}::{test_a_promise_stands_beside_its_figures_and_its_command.__name__}", "-k", "b")}

    told = table(known, {"x": {"jobs": 10_000, "ratio": 1.0, "date": "2026-11-20"}})

    assert told.splitlines()[2] == "| All is well. | 10,000 jobs, 1.000 calls | `make prove ONLY=x` | 2026-11-20 |"


@pytest.mark.parametrize("part", ["tests/nowhere.py", f"{HERE}::test_that_is_not_there[x]"])
def test_a_promise_without_its_proof_is_named(part: str) -> None:
    with pytest.raises(Unproven, match=re.escape(f"x is proven by {part}, which is not there")):
        table({"x": a_promise(part)}, {})


def test_a_promise_without_figures_says_so() -> None:
    assert "not measured yet" in table({"x": a_promise(HERE)}, {})


def test_every_promise_says_what_it_is_how_it_is_proven_and_what_was_measured() -> None:
    for promise in promises().values():
        assert promise["says"].endswith(".")
        assert promise["figures"]
        assert ("tests" in promise) != ("module" in promise)


def test_everything_is_looked_at_only_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FULL, raising=False)
    monkeypatch.delenv(FIGURES, raising=False)
    few = promised(full=100, usual=1)
    proven("nothing", jobs=few)
    monkeypatch.setenv(FULL, "full")
    monkeypatch.setenv(FIGURES, str(tmp_path))
    many = promised(full=100, usual=1)
    proven("kills", jobs=many)

    assert (few, many) == (1, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["kills.json"]
    assert json.loads((tmp_path / "kills.json").read_text()) == {"full": True, "jobs": 100}


def test_a_proof_that_fails_is_told_and_fails_the_command(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_no():\n    assert False, 'the reason'\n")
    program = (
        "import sys, pathlib; from tests.prove import prove;"
        "run = prove({'tests': [sys.argv[1]], 'figures': '{tests}'}, pathlib.Path(sys.argv[2]));"
        "assert not run.held and 'the reason' in run.said"
    )

    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "test_x.py"), str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(("layers/speech", "."))},
        cwd=Path(__file__).parents[2],
    )
