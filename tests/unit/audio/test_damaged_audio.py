"""Thousands of damaged files, from a seed: none is accepted where the bytes can tell. And good files: none is refused.

What the bytes cannot tell is measured by `python -m docs.measure_verified_audio`.
"""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from speech.audio.verify import verify
from speech.errors import UnusableAudio
from tests.support.prove import promised, proven
from tests.unit.audio import damage, sounds


def test_c8_c9_c10_c14_no_damaged_file_is_accepted_where_the_bytes_can_tell() -> None:
    """C8, C9, C10, C12, C14"""
    count = promised(full=2_000, usual=250)

    verdicts = list(damage.verdicts(count, can_be_told=True))

    accepted = [f"{each.damage}, {each.kind}, number {each.number}" for each in verdicts if each.wrong]
    assert accepted == []
    refused = sum(each.reason is not None for each in verdicts)
    assert refused >= 0.9 * count  # the rest was mended, or sounds exactly as it should
    proven("damaged-audio", damaged=count, refused=refused, mended=count - refused, accepted=len(accepted))


def test_what_cannot_be_told_is_not_called_so_without_need() -> None:
    classes = {(each.damage, each.kind) for each in damage.verdicts(400, can_be_told=False) if each.reason is None}
    named = [pair for pair in damage.PAIRS if not damage.detectable(*pair)]

    # Some of each are refused all the same: it is a matter of chance, and of how much is missing.
    assert len(classes) >= 0.8 * len(named)


def test_no_good_file_is_refused_however_unusual() -> None:
    count = promised(full=500, usual=170)
    refused = []

    for number in range(count):
        what, data, characters = damage.odd_but_good(number)
        try:
            verify(data, characters=characters)
        except UnusableAudio as error:
            refused.append(f"{number}: {what}: {error.reason}: {error.detail}")

    assert refused == []
    proven("good-audio", good=count, good_refused=len(refused))


@pytest.mark.parametrize("kind", damage.KINDS)
def test_what_is_mended_sounds_as_it_did(kind: str) -> None:
    """Lossless means lossless: tags, padding and lying sizes go, every sample stays."""
    plain = damage.good(kind, 0)
    dressed = {
        "WAV": [plain.data + sounds.id3v1(), plain.data + b"\0" * 7],
        "MP3": [sounds.ape() + plain.data, sounds.id3() + plain.data + sounds.ape() + sounds.id3v1()],
        "FLA": [sounds.id3() + plain.data, plain.data + sounds.ape() + sounds.id3v1()],
        "Ogg": [plain.data + bytes(3_000)],
    }[kind[:3]]
    if kind == "WAV, streamed":
        dressed = []  # nothing says where its samples end

    for data in dressed:
        mended = verify(data, characters=plain.characters)

        assert np.array_equal(damage.heard(mended.data), damage.heard(plain.verified.data))
        assert mended.repairs


MUTATE = """
import json, resource, sys, time
import numpy as np
from speech.audio.verify import verify
from speech.errors import UnusableAudio
from tests.unit.audio import damage

verdicts, slowest = {}, 0.0
files = [damage.good(kind, 0) for kind in damage.KINDS]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number in range(int(sys.argv[1])):
    data = damage.mutated(number, files)
    began = time.process_time()
    try:
        verify(data, characters=[None, 60][number % 2])
        reason = "accepted"
    except UnusableAudio as error:
        reason = error.reason
    slowest = max(slowest, time.process_time() - began)
    verdicts[reason] = verdicts.get(reason, 0) + 1
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"verdicts": verdicts, "slowest": slowest, "grown_mb": grown / 1024}))
"""


def test_t15_mutated_files_neither_crash_nor_hang_nor_fill_the_memory() -> None:
    """In a process of its own: a crash of the decoder would be the end of it."""
    count = promised(full=10_000, usual=1_500)

    done = subprocess.run(
        [sys.executable, "-c", MUTATE, str(count)],
        env={"PYTHONPATH": ".:layers/speech"},
        capture_output=True,
        text=True,
        timeout=promised(full=3_000, usual=380),
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2_000:]
    seen = json.loads(done.stdout)
    assert sum(Counter(seen["verdicts"]).values()) == count
    assert seen["slowest"] < 2
    assert seen["grown_mb"] < 100
    proven("mutated-audio", mutated=count, slowest_ms=round(seen["slowest"] * 1000), memory_mb=round(seen["grown_mb"]))
