"""Dependencies point one way: the contract is in pyproject.toml, and it has teeth."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.translated import TEMPLATE

ROOT = TEMPLATE.parent
HANDLERS = sorted((ROOT / "functions").glob("*/app.py"))


def lint_imports(package: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=package.parent,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package to break."""
    copy = tmp_path / "speech"
    shutil.copytree(ROOT / "layers" / "speech" / "speech", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("usecases/sweep.py", "import boto3"),
        ("usecases/sweep.py", "from speech.aws.clock import SystemClock"),
        ("jobs.py", "from speech.vendors.convai import Convai"),
        ("text/cutting.py", "from speech import ports"),
        ("audio/join.py", "from speech.text import cutting"),
        ("vendors/convai.py", "import httpx"),
        ("settings.py", "import local"),
        ("segments.py", "from speech import usecases"),
    ],
)
def test_an_arrow_that_turns_round_breaks_the_contract(package: Path, module: str, line: str) -> None:
    target = package / module
    target.write_text(f"{target.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")

    result = lint_imports(package)

    assert result.returncode != 0
    assert "BROKEN" in result.stdout


@pytest.mark.parametrize("app", HANDLERS, ids=lambda path: path.parent.name)
def test_a_handler_knows_no_sdk_no_http_client_no_adapter_and_no_other_function(app: Path) -> None:
    imported = set[str]()
    for node in ast.walk(ast.parse(app.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")

    outside = ("boto3", "botocore", "httpx", "functions", "local", "tests", ".")
    adapters = ("speech.aws", "speech.vendors", "speech.usecases", "speech.ports")
    assert [
        name
        for name in sorted(imported)
        if name.startswith(outside) or (name.startswith(adapters) and name != "speech.aws.batch")
    ] == []
