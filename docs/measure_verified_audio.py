"""Measures what becomes of damaged audio, class by class, and writes the tables of docs/verified-audio.md."""

import os
import sys
from collections import defaultdict
from pathlib import Path

from speech.audio.pace import FASTER, SLOWER
from tests.support.prove import proven
from tests.unit.audio import damage

PAGE = Path(__file__).with_name("verified-audio.md")
BEGIN, END = (
    "<!-- measured: written by `python -m docs.measure_verified_audio` -->",
    "<!-- end of what was measured -->",
)
TOLD, UNTOLD = 2_000, 2_000


def tables(told: list[damage.Verdict], untold: list[damage.Verdict]) -> str:
    """Both tables, as Markdown."""
    return "\n\n".join((_told(told), _untold(untold)))


def _told(verdicts: list[damage.Verdict]) -> str:
    classes = defaultdict(list)
    for verdict in verdicts:
        classes[verdict.damage].append(verdict)
    lines = [
        "| damage | files | refused | mended, or sounds as before | accepted though damaged |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, each in [*classes.items(), ("all", verdicts)]:
        refused, wrong = sum(v.reason is not None for v in each), sum(v.wrong for v in each)
        lines.append(f"| {name} | {len(each)} | {refused} | {len(each) - refused - wrong} | {wrong} |")
    return "\n".join(lines)


def _untold(verdicts: list[damage.Verdict]) -> str:
    classes = defaultdict(list)
    for verdict in verdicts:
        classes[verdict.damage, _family(verdict.kind)].append(verdict)
    lines = [
        "| damage | of | files | accepted though damaged | … in a voice whose pace is known |",
        "|---|---|---:|---:|---:|",
    ]
    for (name, family), each in classes.items():
        wrong = [v for v in each if v.wrong]
        known = [v for v in wrong if 1 / SLOWER <= v.faster <= FASTER]
        lines.append(f"| {name} | {family} | {len(each)} | {_share(wrong, each)} | {_share(known, each)} |")
    return "\n".join(lines)


def _family(kind: str) -> str:
    if kind in damage.UNTAGGED:
        return "MP3 without a tag"
    if kind == "WAV, streamed":
        return "streamed WAV"
    return "WAV" if kind in damage.WAVS else kind.replace("FLAC, streamed", "streamed FLAC")


def _share(some: list[damage.Verdict], of: list[damage.Verdict]) -> str:
    return f"{round(100 * len(some) / len(of))} %"


def main() -> None:
    """Write the tables into the page."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # the MP3 decoder complains of every frame that it cannot read
    told = list(damage.verdicts(TOLD, can_be_told=True))
    untold = list(damage.verdicts(UNTOLD, can_be_told=False))
    found = tables(told, untold)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{after}", encoding="utf-8")
    proven("verified-audio", untold=len(untold), missed=sum(verdict.wrong for verdict in untold))
    sys.stdout.write(f"{PAGE.name}: {TOLD} and {UNTOLD} damaged files judged\n")


if __name__ == "__main__":
    main()
