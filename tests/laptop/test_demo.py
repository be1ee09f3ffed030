"""The demo speaks a file and says what came of it, in words for a newcomer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.demo import cost, summary
from local.process import ROOT

JOB = {
    "characters": 1138,
    "segments": {"total": 1, "stored": 1},
    "vendor": "voiceai",
    "voice": None,
    "audio": {"duration_seconds": 65.04},
    "cost": {"vendor_calls": 1, "credits": None, "amount": None, "currency": "USD"},
}


def run_demo(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_sample_becomes_audio_and_subtitles(tmp_path: Path) -> None:
    answer = run_demo(tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "hear-yourself.txt.manifest.json",
        "hear-yourself.txt.mp3",
        "hear-yourself.txt.srt",
        "hear-yourself.txt.vtt",
    ]
    assert re.search(r"Length +\d min \d+\.\d s", answer.stdout)
    assert "voiceai (emulated on this machine)" in answer.stdout
    assert not re.search(r"tts_|Signature|X-Amz", answer.stdout + answer.stderr)
    assert sorted(each.name for each in (tmp_path / ".local" / "demo").iterdir()) == ["lock", "logs"]


def test_a_file_that_cannot_be_spoken_is_explained(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()

    answer = run_demo(tmp_path, TEXT="empty.txt")

    assert answer.returncode == 1
    assert "empty" in answer.stderr
    assert "What to do" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    answer = run_demo(tmp_path, TEXT="nowhere.txt")

    assert (answer.returncode, answer.stderr.strip()) == (1, "nowhere.txt cannot be read: No such file or directory.")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"vendor_calls": 1, "credits": None, "amount": None}, "1 vendor call, price in money unknown"),
        (
            {"vendor_calls": 2, "credits": 3.0, "amount": None},
            "2 vendor calls, 3 of the vendor's credits, price in money unknown",
        ),
        ({"vendor_calls": 0, "credits": None, "amount": 0.5, "currency": "USD"}, "0 vendor calls, 0.5000 USD"),
    ],
)
def test_an_unknown_price_is_said_to_be_unknown(known: dict[str, object], words: str) -> None:
    assert cost(known) == words


def test_a_summary_tells_an_emulated_voice_from_a_real_one() -> None:
    emulated = summary(JOB, [Path("out/a.mp3")], emulated=True)
    real = summary({**JOB, "voice": "Anna"}, [Path("out/a.mp3")], emulated=False)

    assert "voiceai (emulated on this machine), its default voice" in emulated
    assert "Would cost 1 vendor call" in emulated
    assert "voiceai, voice Anna" in real
    assert "Would" not in real
    assert "1 min 5.0 s" in real
