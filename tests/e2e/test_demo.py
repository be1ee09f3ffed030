"""`make demo`, by the command behind it: a newcomer's first sound, and what it says when there is none."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import soundfile

from local.process import ROOT
from tests.support.stack import unique


def demo(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'speech'}", **env},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_text_of_ones_own_is_spoken_into_the_out_folder(tmp_path: Path) -> None:
    text = unique("My own text, spoken by a vendor that I chose, in a format that I like")
    (tmp_path / "mine.txt").write_text(text)

    answer = demo(tmp_path, TEXT="mine.txt", VENDOR="convai", VOICE="WUMale 3", FORMAT="flac")

    assert answer.returncode == 0, answer.stderr
    assert {each.name for each in (tmp_path / "out").iterdir()} == {
        f"mine.txt.{suffix}" for suffix in ("flac", "vtt", "srt", "manifest.json")
    }
    audio = (tmp_path / "out" / "mine.txt.flac").read_bytes()
    seconds = soundfile.info(io.BytesIO(audio)).duration
    manifest = json.loads((tmp_path / "out" / "mine.txt.manifest.json").read_text())
    assert manifest["job"]["audio"]["duration_seconds"] == round(seconds, 3)
    for told in ("convai", "WUMale 3", f"{len(text)} characters", f"{seconds % 60:.1f} s", "1 vendor call", "out/"):
        assert told in answer.stdout
    for secret in ("X-Amz-", "tts_laptop", "Signature", text[:30]):
        assert secret not in answer.stdout + answer.stderr
    assert not (tmp_path / ".local" / "demo" / "stack.json").exists()


def test_a_file_that_is_no_text_ends_the_demo_with_its_page(tmp_path: Path) -> None:
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)

    answer = demo(tmp_path, TEXT="picture.txt", STACK_DIR="elsewhere")

    assert answer.returncode == 1
    assert "picture.txt was not turned into audio" in answer.stderr
    assert "**What to do.**" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "elsewhere" / "stack.json").exists()


def test_a_file_that_is_not_there_ends_the_demo_before_anything_starts(tmp_path: Path) -> None:
    answer = demo(tmp_path, TEXT="nowhere.txt")

    assert answer.returncode == 1
    assert "nowhere.txt cannot be read" in answer.stderr
