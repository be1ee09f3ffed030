"""Numbers into Markdown, and what must be known of the machine to read them."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PACKAGES = ("boto3", "botocore", "aws-lambda-powertools", "httpx", "pydantic", "numpy", "soundfile", "soxr", "moto")


def interleaved(runs: int, variants: Mapping[str, Callable[[int], T]]) -> dict[str, list[T]]:
    """Every variant once in every run, so that what else the machine does meets all of them alike."""
    seen: dict[str, list[T]] = {name: [] for name in variants}
    for number in range(runs):
        for name, variant in variants.items():
            seen[name].append(variant(number))
    return seen


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def cpu_ms(work: Callable[[], object], runs: int = 9) -> float:
    """Milliseconds of CPU that something takes in this process."""
    times = []
    for _ in range(runs):
        started = time.process_time()
        work()
        times.append((time.process_time() - started) * 1000)
    return median(times)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table: the first column is text, the others are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def machine() -> list[tuple[str, str]]:
    """What ran where."""
    cpu = platform.processor() or platform.machine()
    cpuinfo, meminfo = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    memory = f", {int(meminfo.read_text().split()[1]) / 2**20:.0f} GiB" if meminfo.exists() else ""
    return [
        ("Machine", f"{cpu}, {os.cpu_count()} cores{memory}; {platform.system()} {platform.release()}"),
        ("Load when it began", f"{os.getloadavg()[0]:.1f}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("Versions", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
    ]
