"""What the benchmarks share: real texts, medians of repeated runs, and the table they print."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5


def data() -> Path:
    """Return the folder of real data: `$FIXTURES`, or `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("FIXTURES") or ROOT.parent / "shared" / "data")
    if not (folder / "unpack.sh").exists():
        raise SystemExit(f"real data not found: neither $FIXTURES nor {folder} holds unpack.sh")
    return folder


def unpacked() -> Path:
    """Return the folder with the unpacked archives."""
    done = subprocess.run([str(data() / "unpack.sh")], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def sentences() -> list[str]:
    """Return the Tatoeba sentences, 112 languages."""
    folder = unpacked() / "laser-tatoeba" / "data" / "tatoeba" / "v1"
    return [
        line
        for path in sorted(folder.glob("tatoeba.*-eng.*"))
        if not path.name.endswith(".eng")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def interleaved(*ways: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Return the median seconds of each way, run in turns so that a noisy moment hits all of them."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, taken in zip(ways, times, strict=True):
            started = time.perf_counter()
            way()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as Markdown."""
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    print(f"\n{title}\n")
    for row in [columns, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
