"""Whatever is installed is locked by hash: here, in CI and in the layer (T17)."""

import re
from pathlib import Path

import pytest

from tests.template.translated import TEMPLATE

ROOT = TEMPLATE.parent
WANTED = sorted([*(ROOT / "requirements").glob("*.in"), *(ROOT / "layers").glob("*/requirements.in")])
LOCKS = [path.with_suffix(".txt") for path in WANTED]
INSTALLERS = [ROOT / "Makefile", ROOT / "layers" / "speech" / "Makefile", ROOT / ".ci" / "run"]


def of_the_repository(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("lock", LOCKS, ids=of_the_repository)
def test_t17_a_lock_names_one_version_of_everything_and_its_hashes(lock: Path) -> None:
    entries = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()

    assert entries
    assert [
        entry
        for entry in entries
        if not re.fullmatch(r"[a-z0-9._-]+==[^\s;]+( ; [^\\]+?)?(\s+--hash=sha256:\w{64})+\s*", entry)
    ] == []


@pytest.mark.parametrize("wanted", WANTED, ids=of_the_repository)
def test_t17_what_is_wanted_is_in_its_lock(wanted: Path) -> None:
    locked = set(re.findall(r"^([a-z0-9._-]+)==", wanted.with_suffix(".txt").read_text(encoding="utf-8"), re.MULTILINE))

    named = re.findall(r"^([A-Za-z0-9._-]+)", wanted.read_text(encoding="utf-8"), re.MULTILINE)

    assert {re.sub(r"[._-]+", "-", name).lower() for name in named if not name.startswith("-")} <= locked


@pytest.mark.parametrize("installer", INSTALLERS, ids=of_the_repository)
def test_t17_nothing_is_installed_that_is_not_locked(installer: Path) -> None:
    lines = installer.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    installing = [line for line in lines if "pip install" in line and not line.startswith("#")]

    assert [line for line in installing if "--require-hashes" not in line] == []
