"""Prove every promise at full count, a line for each, and write docs/guarantees.md. `python -m tests.prove [name]…`"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docs.generate_guarantees import MEASURED, PROMISES, command, measured, promises, told, write
from tests.support.prove import FIGURES, FULL

ROOT = PROMISES.parent.parent
LONGEST_SECONDS = 7_200
"""What one promise may take."""


@dataclass(frozen=True)
class Run:
    """One promise, put to the proof."""

    held: bool
    figures: Mapping[str, Any]
    said: str


def prove(promise: Mapping[str, Any], folder: Path) -> Run:
    """Run what proves it and gather what it measured."""
    asked = command(promise)
    if asked[0] == "pytest":
        asked = [*asked, "-q", "-p", "no:cacheprovider", f"--timeout={LONGEST_SECONDS}"]
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *asked],
            cwd=ROOT,
            env={**os.environ, FULL: "full", FIGURES: str(folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Run(False, {}, f"It took more than {LONGEST_SECONDS} seconds.")
    found: dict[str, Any] = {"seconds": round(time.monotonic() - started)}
    if passed := re.search(r"(\d+) passed", done.stdout):
        found["tests"] = int(passed[1])
    for path in sorted(folder.glob("*.json")):
        found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    return Run(done.returncode == 0, found, f"{done.stdout}\n{done.stderr}")


def main() -> int:
    """Prove what was asked for, or everything. Returns the exit status: 0 when every promise held."""
    known = promises()
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*known, []], help="all of them, if none is named")
    names = parser.parse_args().name or list(known)
    before, broken = measured(), []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            run = prove(known[name], Path(folder))
        if not run.held:
            broken.append(name)
            print(f"BROKEN  {name}\n{run.said}", flush=True)
            continue
        before[name] = {**run.figures, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        print(f"held    {name}: {told(known[name], before[name])} ({run.figures['seconds']} s)", flush=True)
        kept = {each: before[each] for each in known if each in before}
        MEASURED.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write(known, before)
    print("written: docs/guarantees.md")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
