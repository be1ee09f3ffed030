"""`make live`, against emulators that were started apart: it warns, asks, and finds what is right and what is not."""

import os
import subprocess
import sys

import pytest

from local.emulators import EMULATORS
from local.emulators.base import Emulator
from local.live import SUITE, ways
from local.process import ROOT
from speech.vendors import VENDORS, keys_of


def live(emulator: Emulator, *, said: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    name = emulator.name
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'speech'}", "VENDOR": name}
    base = f"{emulator.url}/v1" if name == "dify" else emulator.url
    return subprocess.run(
        [sys.executable, "-m", "local.live"],
        env={**given, f"{name.upper()}_BASE_URL": base, **dict.fromkeys(keys_of(name), "a-key"), **env},
        input=said,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize("name", VENDORS)
def test_every_delivery_is_asked_for_once_and_what_it_costs_is_said_before(name: str) -> None:
    with EMULATORS[name](**EMULATORS[name].in_tests) as emulator:
        answer = live(emulator, YES="1", VOICE=emulator.default_voice or "")

        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert len(emulator.book) == len(ways(name))
        assert emulator.journal.undocumented == []
    times = len(ways(name))
    assert f"{times} request{'' if times == 1 else 's'} for speech" in answer.stdout.partition("passed")[0]


@pytest.mark.parametrize("said", ["", "no\n", "y\n"])
def test_without_a_yes_nothing_is_asked_for(said: str) -> None:
    with EMULATORS["convai"]() as emulator:
        answer = live(emulator, said=said)

        assert (answer.returncode, emulator.journal.entries) == (1, [])
    assert "You pay for them" in answer.stdout


def test_a_yes_that_is_typed_is_enough_and_silence_is_no_audio() -> None:
    with EMULATORS["convai"]() as emulator:
        emulator.faults.play("silent", times=None)

        answer = live(emulator, said="yes\n")

        assert answer.returncode == 1
        assert len(emulator.book) == 1
    assert "1 failed, 3 passed" in answer.stdout


@pytest.mark.parametrize(
    ("env", "words"), [({"CONVAI_API_KEY": ""}, "Set CONVAI_API_KEY"), ({"VENDOR": "nobody"}, "must be one of")]
)
def test_what_is_missing_is_named(env: dict[str, str], words: str) -> None:
    with EMULATORS["convai"]() as emulator:
        answer = live(emulator, YES="1", **env)

        assert (answer.returncode, emulator.journal.entries) == (2, [])
    assert words in answer.stderr


def test_no_other_run_of_the_tests_collects_it() -> None:
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/live"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ROOT / SUITE).is_file()
    assert "no tests" in collected.stdout
