"""(c) `make demo`: how long a newcomer waits the second time, and what it costs the machine."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import median, table
from local.process import ROOT

TARGET_SECONDS = 15.0


def measure(runs: int) -> str:
    """The section of the report."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _demo(Path(folder))
        seen = [_demo(Path(folder)) for _ in range(runs)]
    wall, cpu = median(each[0] for each in seen), median(each[1] for each in seen)
    row = (f"{wall:.1f}", f"{min(each[0] for each in seen):.1f} to {max(each[0] for each in seen):.1f}", f"{cpu:.1f}")
    return f"""## `make demo`

What `make demo` runs once everything is installed, in an empty folder: start the laptop cloud, drop the sample text,
fetch the audio, stop everything. CPU is that of all its processes.

{table(["", "seconds", "from, to", "CPU seconds"], [("second run", *row)])}

Target: {TARGET_SECONDS:g} seconds.
"""


def _demo(folder: Path) -> tuple[float, float]:
    """Seconds on the clock and of CPU."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "layers" / "speech"))),
    }
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "local.demo"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
