"""Who does what when several processes run the tests: what takes longest begins first, and a laptop cloud has one."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest

import pytest
from xdist.scheduler import LoadFileScheduling

SHARING: Mapping[str, Iterable[str]] = {
    "stack": ("bad_answers", "bad_input", "cancel_and_erase", "repeats", "three_ways_in"),
    "mortal": ("kills_at_the_edges", "kills_of_workers"),
    "tone_stack": ("callbacks", "formats_and_options", "vendors_from_outside"),
}
"""Files of tests/e2e by the cloud of its conftest that they share: two processes would start it twice."""

_CLOUDS = {f"tests/e2e/test_{name}.py": cloud for cloud, names in SHARING.items() for name in names}


class Turns(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """As `--dist loadfile`, but files that share a cloud stay together."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _CLOUDS.get(file, file)


def in_turns(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests that wait for clouds and those that compute most, by turns, then all others: nobody ends alone."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.split("::", 1)[0], []).append(item)
    waiting = sorted((file for file in files if "/e2e/" in file), key=lambda file: _CLOUDS.get(file, "~"))
    computing = [file for file in files if "/simulation/" in file or "/security/" in file]
    first = [file for pair in zip_longest(waiting, computing) for file in pair if file is not None]
    return [item for file in dict.fromkeys((*first, *files)) for item in files[file]]
