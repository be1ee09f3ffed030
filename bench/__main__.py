"""Measure, and write docs/benchmarks.md. `python -m bench [--quick] [part]…`, see PARTS; parts are only printed."""

import argparse
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from bench import cold, demo, jobs, join, long, warm
from bench.figures import machine, table
from local.process import ROOT

RUNS, QUICK = 7, 3

PARTS: Mapping[str, Callable[[int], str]] = {
    "cold": cold.measure,
    "warm": lambda runs: warm.measure(3 * runs),
    "join": join.measure,
    "demo": demo.measure,
    "jobs": jobs.measure,
    "long": lambda runs: long.measure(long.CHARACTERS if runs == RUNS else long.CHARACTERS // 20),
}

OPENING = """\
# Benchmarks

Written by `make bench`; do not edit. Everything ran on one machine: AWS is a moto server, vendors are the emulators of
this repository, both over loopback. Milliseconds are this machine's; **ratios** are what carries over, and each is of
medians from one interleaved run. Nothing here was measured on AWS.
"""


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all of them, if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer runs, to try it out; nothing is written")
    arguments = parser.parse_args()
    runs = QUICK if arguments.quick else RUNS
    facts = [("Command", "`make bench`"), ("Date", f"{datetime.now(UTC):%Y-%m-%d}"), *machine(), ("Runs", runs)]
    sections = [OPENING, table(["", ""], facts)]
    for name in arguments.part or PARTS:
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        sections.append(PARTS[name](runs).strip())
        if arguments.part or arguments.quick:
            print(sections[-1], flush=True)
    if not arguments.part and not arguments.quick:
        (ROOT / "docs" / "benchmarks.md").write_text("\n\n".join(map(str.strip, sections)) + "\n", encoding="utf-8")
        print("written: docs/benchmarks.md", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
