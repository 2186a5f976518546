"""Measure how long a night without work takes in a new lake and after ten years of nights, on disk and on S3.

A small night is run, repeated 3,650 times (see `aged_lake`), and the next night is run. Then the same night is run
again and has nothing to do; the medians of five such runs are compared, each in a process of its own, before and after
`jobs.gc` has merged the small files of `runs` and `ledger`. The S3 server is SeaweedFS on the loopback interface. The
seconds are of the clock; those of the processor are shown beside them.

    python benchmarks/bench_age.py [--tiny] [NIGHTS]
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from aged_lake import age
from common import REPEATS, ROOT, run, scaled, table
from PIL import Image

from chaos.s3_server import S3Server
from curation.lake.lake import Lake
from curation.matching.matcher_file import compile_entries
from curation.matching.store import Manifest, MatcherStore, matcher_name
from jobs.runtime.config import Config
from jobs.runtime.context import Context

NIGHTS = scaled(3650, 40)
FIRST = date(2034, 5, 30)
ENTRIES = {"en": ["a", "cat", "dog", "red dog"], "other": ["logo"]}
LIMITS = {"disk": 5.0, "S3": 15.0}  # seconds of a night without work


def write_inputs(folder: Path, batch: str) -> None:
    """Write the input of a night: ten pictures with a text each."""
    (folder / batch).mkdir(parents=True)
    lines = []
    for number in range(10):
        path = folder / batch / f"{number}.png"
        Image.fromarray(np.full((32, 32, 3), 20 * number, np.uint8)).save(path)
        lines.append(json.dumps({"ref": str(path), "text": f"a red dog and a cat, number {number} of {batch}"}))
    (folder / batch / "night.jsonl").write_text("\n".join(lines), encoding="utf-8")


def publish_metadata(context: Context) -> None:
    """Create the lake and publish two small lists, as build_metadata does."""
    store = MatcherStore(context.storage, context.lake.root)
    files = {
        matcher_name(rules, lang): store.write("v1", rules, lang, compile_entries(sorted(words), rules))
        for lang, words in ENTRIES.items()
        for rules in ("worldwide", "reference")
    }
    store.write_manifest(Manifest("v1", {lang: len(words) for lang, words in ENTRIES.items()}, files))
    store.set_latest("v1")


class Bench:
    """A lake and the commands that are measured in it."""

    def __init__(self, folder: Path, lake: str) -> None:
        self.lake, self._config = lake, folder / "config.yaml"
        self._inputs = folder / "inputs"
        ingest = {"inputs": [f"{self._inputs}/{{batch}}/night.jsonl"], "format": "jsonl", "ref_column": "ref"}
        config = {"lake": lake, "ingest": ingest, "balance": {"t_en": 20}, "spark": {"master": "local[2]"}}
        self._config.write_text(json.dumps(config), encoding="utf-8")
        publish_metadata(Context(Config(lake=lake, create=True), "bench"))

    def night(self, batch: str) -> tuple[float, float, str]:
        """Run a night; return its seconds, its processor seconds and its log."""
        if not (self._inputs / batch).exists():
            write_inputs(self._inputs, batch)
        return self._measured("jobs.nightly", "--batch", batch)

    def gc(self) -> tuple[float, float, str]:
        """Run gc as a night a week later would."""
        return self._measured("jobs.gc")

    def _measured(self, module: str, *arguments: str) -> tuple[float, float, str]:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", module, "--config", str(self._config), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
        elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{module} ended with {done.returncode}:\n{done.stderr}")
        return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stderr

    def idle(self, batch: str) -> tuple[float, float]:
        """Return the median seconds, and processor seconds, of a night that has nothing to do and starts no Spark."""
        runs = [self.night(batch) for _ in range(REPEATS)]
        for _, _, text in runs:
            assert "nothing to do for ingest, match, totals, balance, images, shards" in text, text
        return statistics.median(each[0] for each in runs), statistics.median(each[1] for each in runs)


def measure_lake(storage: str, bench: Bench, nights: int) -> Iterator[list[str]]:
    """Yield the rows of a lake: new, old, and old after gc."""
    bench.night(str(FIRST))
    yield _row(storage, "1 night", *bench.idle(str(FIRST)))
    lake = Lake(bench.lake, Context(Config(lake=bench.lake), "bench").storage)
    started = time.perf_counter()
    age(lake, nights)
    print(f"{storage}: {nights} nights made in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    second = str(FIRST + timedelta(days=1))
    print(f"{storage}: the next night took {bench.night(second)[0]:.1f} s", file=sys.stderr)
    files = {name: lake.file_table(name).num_rows for name in ("runs", "ledger")}
    yield _row(storage, f"{nights + 2} nights, never gc", *bench.idle(second), files=files)
    print(f"{storage}: gc took {bench.gc()[0]:.1f} s", file=sys.stderr)
    files = {name: lake.file_table(name).num_rows for name in ("runs", "ledger")}
    seconds, cpu = bench.idle(second)
    yield _row(storage, f"{nights + 2} nights, after gc", seconds, cpu, files=files)
    if seconds > LIMITS[storage]:
        print(f"{storage}: a night without work took {seconds:.1f} s, more than {LIMITS[storage]} s", file=sys.stderr)


def _row(storage: str, lake: str, seconds: float, cpu: float, files: dict[str, int] | None = None) -> list[str]:
    counted = ", ".join(f"{count:,} of {name}" for name, count in (files or {}).items())
    return [storage, lake, counted, f"{seconds:.1f}", f"{cpu:.1f}"]


@contextmanager
def lake_of(storage: str, folder: Path) -> Iterator[str]:
    """Yield the location of a new lake on a kind of storage."""
    folder.mkdir()
    if storage == "disk":
        yield str(folder / "lake")
        return
    with S3Server(folder / "server") as server:
        os.environ |= server.environment
        yield "s3://lake/years"


def measure() -> None:
    """Measure and print the table."""
    nights = int(sys.argv[1]) if len(sys.argv) > 1 else NIGHTS
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for storage in LIMITS:
            with lake_of(storage, Path(folder, storage)) as lake:
                rows += measure_lake(storage, Bench(Path(folder, storage), lake), nights)
    columns = ["lake on", "age", "files of small tables", "seconds", "processor seconds"]
    table("A night that has nothing to do", columns, rows)


if __name__ == "__main__":
    run(measure)
