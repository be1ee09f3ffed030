"""The commands that the README promises are there, and nothing in them belongs to one machine or one account."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.template.translated import TEMPLATE, sam_template

ROOT = TEMPLATE.parent
COMMANDS = ("demo", "up", "test", "check", "prove", "bench", "build", "deploy", "key", "docs", "lock")


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )


def test_make_alone_explains_every_command() -> None:
    explained = make().stdout

    assert [command for command in COMMANDS if not re.search(rf"make {command}\s+\S", explained)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_can_be_planned_from_nothing(command: str, tmp_path: Path) -> None:
    planned = make("-n", command, "STACK=voicedrop-dev", f"VENV={tmp_path}")

    assert planned.returncode == 0, planned.stderr
    assert "--require-hashes" in planned.stdout or command == "lock"


def test_the_stack_is_stopped_by_the_signal_that_make_gets() -> None:
    planned = make("-n", "up").stdout

    assert re.search(r"^exec .*python -m local\.up$", planned, re.MULTILINE), "a shell in between would keep the signal"


def test_deploying_says_runtime_and_architecture_of_what_was_built(tmp_path: Path) -> None:
    planned = make("-n", "deploy", "ENV=prod", "ARCH=arm64", f"VENV={tmp_path}").stdout

    assert "ARCH=arm64" in planned
    assert re.search(
        r"sam deploy --config-env prod --parameter-overrides Runtime=python3\.13 Architecture=arm64", planned
    )


def test_dev_and_prod_are_told_apart_and_name_no_account() -> None:
    text = (ROOT / "samconfig.toml").read_text(encoding="utf-8")
    config = tomllib.loads(text)

    stacks = {stage: config[stage]["global"]["parameters"]["stack_name"] for stage in ("dev", "prod")}
    overridden = {
        override.partition("=")[0]
        for stage in ("dev", "prod")
        for override in config[stage]["deploy"]["parameters"]["parameter_overrides"]
    }

    assert len(set(stacks.values())) == 2
    assert overridden <= sam_template()["Parameters"].keys()
    assert not re.search(r"\d{12}|arn:aws", text)
