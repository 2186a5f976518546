"""Parts that the benchmarks share: sizes, real texts, medians of interleaved runs, tables and the check of floors."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

ROOT = Path(__file__).resolve().parents[1]
FLOORS = Path(__file__).with_name("floors.yaml")
# `--tiny` makes a benchmark run in seconds, to see that it works; its figures mean nothing and are not checked.
TINY = "--tiny" in sys.argv or os.environ.get("BENCH_TINY") == "1"
if TINY:
    os.environ["BENCH_TINY"] = "1"  # for the processes that a benchmark starts
    sys.argv = [argument for argument in sys.argv if argument != "--tiny"]
REPEATS = 1 if TINY else 5

Size = TypeVar("Size")
_measured: dict[str, dict[str, float]] = {}


def scaled(full: Size, tiny: Size) -> Size:
    """Return the size of a full run, or that of a tiny one."""
    return tiny if TINY else full


def data() -> Path:
    """Return the folder of real data: `$FIXTURES`, or `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("FIXTURES") or ROOT.parent / "shared" / "data")
    if not (folder / "unpack.sh").exists():
        raise SystemExit(f"real data not found: neither $FIXTURES nor {folder} contains unpack.sh")
    return folder


def unpacked() -> Path:
    """Return the folder with the unpacked archives."""
    done = subprocess.run([str(data() / "unpack.sh")], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def sentences() -> list[str]:
    """Return the Tatoeba sentences in 112 languages."""
    folder = unpacked() / "laser-tatoeba" / "data" / "tatoeba" / "v1"
    return [
        line
        for path in sorted(folder.glob("tatoeba.*-eng.*"))
        if not path.name.endswith(".eng")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def interleaved(*ways: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Return the median seconds of each way; the ways take turns, so that a noisy moment affects all of them."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, taken in zip(ways, times, strict=True):
            started = time.perf_counter()
            way()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    name: str = "",
    ratios: Mapping[str, float] | None = None,
) -> None:
    """Print a table as Markdown.

    Args:
        title: the line above it.
        columns: the headings.
        rows: the cells.
        name: its name in floors.yaml.
        ratios: for each row that has a floor, how many times better ours is than the alternative in the same run.
    """
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    print(f"\n{title}\n")
    for row in [columns, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    if ratios:
        _measured.setdefault(name, {}).update(ratios)


def run(measure: Callable[[], None]) -> None:
    """Run a benchmark, then exit with 1 if a row is below its floor or was not measured."""
    measure()
    benchmark = Path(sys.argv[0]).stem
    floors = yaml.safe_load(FLOORS.read_text(encoding="utf-8")).get(benchmark, {})
    if len(sys.argv) > 1:  # other sizes have other ratios, and some rows are missing
        return
    problems = check(benchmark, floors, _measured, compare=not TINY)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise SystemExit(1)


def check(
    benchmark: str,
    floors: Mapping[str, Mapping[str, Mapping[str, Any]]],
    measured: Mapping[str, Mapping[str, float]],
    *,
    compare: bool = True,
) -> list[str]:
    """Return one line for each row that is below its `min_ratio`, and for each row or floor without the other.

    A floor that `needs` an environment variable may be without its row where the variable is not set.
    """
    problems = []
    for name in sorted({*floors, *measured}):
        of_table, ratios = floors.get(name, {}), measured.get(name, {})
        for row in [*of_table, *(ratios.keys() - of_table.keys())]:
            label = f"{benchmark}: {name}: {row}"
            if row not in ratios and of_table[row].get("needs", "PATH") not in os.environ:
                continue
            if row not in ratios:
                problems.append(f"{label}: has a floor but was not measured: rename it in benchmarks/floors.yaml")
            elif row not in of_table:
                problems.append(f"{label}: has no floor: add it to benchmarks/floors.yaml")
            elif compare and ratios[row] < of_table[row]["min_ratio"]:
                problems.append(f"{label}: ratio {ratios[row]:.2f} is below its floor {of_table[row]['min_ratio']}")
    return problems
