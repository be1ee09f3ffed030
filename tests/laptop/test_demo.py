"""The demo speaks a file and says what came of it, in words for a newcomer."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.demo import Progress, cost, summary
from local.process import ROOT

JOB = {
    "characters": 1138,
    "segments": {"total": 1, "stored": 1},
    "vendor": "voiceai",
    "voice": None,
    "audio": {"duration_seconds": 65.04},
    "cost": {"vendor_calls": 1, "credits": None, "amount": None, "currency": "USD"},
    "rendered": {"segments": 1, "of": 1, "summary": "1 of 1 segments, price unknown"},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def under_way(status: str, stored: int = 0, total: int | None = None, left: int | None = None) -> dict[str, Any]:
    estimate = None if left is None else {"seconds_left": left}
    return {"status": status, "segments": {"total": total, "stored": stored, "failed": 0}, "estimate": estimate}


COURSE = [
    under_way("accepted"),
    *(under_way("synthesizing", stored, 40, 80 - 2 * stored if stored else None) for stored in range(41)),
    under_way("assembling", 40, 40, 2),
    under_way("completed", 40, 40),
]


def shown(out: io.StringIO) -> str:
    progress = Progress(out)
    for job in COURSE:
        progress.show(job)
        progress.show(job)
    progress.end()
    return out.getvalue()


def test_on_a_terminal_progress_is_one_line_that_is_drawn_again() -> None:
    drawn = shown(Terminal()).split("\r\033[K")

    assert drawn[21] == f"[{'#' * 14}{'.' * 16}] synthesizing, 19 of 40 segments spoken, about 42 s left"
    assert drawn[-1] == f"[{'#' * 30}] completed, 40 of 40 segments spoken\n"
    assert "".join(drawn).count("\n") == 1


def test_anywhere_else_progress_is_a_few_lines() -> None:
    assert shown(io.StringIO()).splitlines() == [
        "accepted",
        "synthesizing, 0 of 40 segments spoken",
        "synthesizing, 10 of 40 segments spoken, about 60 s left",
        "synthesizing, 20 of 40 segments spoken, about 40 s left",
        "synthesizing, 30 of 40 segments spoken, about 20 s left",
        "synthesizing, 40 of 40 segments spoken, about 0 s left",
        "assembling, 40 of 40 segments spoken, about 2 s left",
        "completed, 40 of 40 segments spoken",
    ]


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
