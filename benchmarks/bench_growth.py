"""Measure how the time of ingest, match and balance grows with the crawl: at 1, 2, 4 and 8 times, on one and two cores.

The crawl is that of bench_ingest. Ingest is measured with the default size of buckets and with small ones, of which a
large crawl has many. The start of Spark, timed with a job on one record, is taken off. Growth is the time per file
relative to that of the smallest crawl: 1.00 is linear. CPU seconds are those of all processes of a job; on a machine
that does other work too, they are what to look at.

    python benchmarks/bench_growth.py [--tiny] [MB]    (MB of the smallest crawl; default: 100)
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench_age import publish_metadata
from bench_ingest import STARTS, TAIL, copies, dev_records, processes, record
from common import ROOT, run, scaled, table

from jobs.runtime.config import Config
from jobs.runtime.context import Context

MEGABYTES = scaled(100, 8)
TIMES = scaled((1, 2, 4, 8), (1, 2))
CORES = (1, 2)
BUCKETS = {"default buckets": "", "small buckets": str(scaled(1 << 20, 1 << 16))}
STEPS = ("ingest", "match", "balance")
LIMIT = 1.15  # of the growth

Times = tuple[float, float]
"""Seconds of the clock and of the processor."""


def measure(step: str, inputs: str, lake: Path, cores: int, bucket_bytes: str) -> Times:
    """Run one job and return its times."""
    command = [sys.executable, "-m", f"jobs.{step}", "--lake", str(lake), "--batch", "b", "--balance.t_en", "20"]
    command += ["--spark.master", f"local[{cores}]", "--ingest.inputs", inputs]
    command += ["--ingest.bucket_bytes", bucket_bytes] if bucket_bytes else []
    started, busy = time.monotonic(), dict[int, float]()
    with tempfile.TemporaryFile("w+") as log:
        job = subprocess.Popen(
            command, cwd=ROOT, stderr=log, start_new_session=True, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
        while job.poll() is None:
            busy |= {pid: seconds for pid, _, _, seconds in processes(job.pid)}
            time.sleep(0.1)
        if job.returncode:
            log.seek(0)
            raise SystemExit(f"{log.read()[-TAIL:]}\n{step} ended with exit code {job.returncode}: see its log above")
    return time.monotonic() - started, sum(busy.values())


def new_lake(path: Path) -> Path:
    """Make a lake with small lists."""
    publish_metadata(Context(Config(lake=str(path), create=True), "bench"))
    return path


def grow(folder: Path, start: dict[str, Times], cores: int, buckets: str) -> Iterator[tuple[str, list[Times]]]:
    """Yield, for each step, its times without the start for every size of the crawl."""
    steps: dict[str, list[Times]] = {step: [] for step in STEPS}
    for size in TIMES:
        lake = new_lake(folder / f"lake-{cores}-{buckets.split()[0]}-{size}")
        for step in STEPS if buckets.startswith("default") else STEPS[:1]:
            taken = measure(step, str(folder / str(size) / "*.gz"), lake, cores, BUCKETS[buckets])
            fixed = start[step]
            steps[step].append((max(taken[0] - fixed[0], 0.01), max(taken[1] - fixed[1], 0.01)))
            print(cores, buckets, size, step, f"{taken[0]:.1f} s, {taken[1]:.1f} CPU s", file=sys.stderr)
    yield from ((step, times) for step, times in steps.items() if times)


def row_of(name: str, times: Sequence[Times]) -> list[str]:
    """Return the row of a step: its times at every size, and the growth at the largest."""
    scale = TIMES[-1] / TIMES[0]
    clock, cpu = ((times[-1][kind] / times[0][kind] / scale) for kind in (0, 1))
    return [name, *(f"{wall:.1f} ({busy:.1f})" for wall, busy in times), f"{clock:.2f}", f"{cpu:.2f}"]


def main() -> None:
    """Measure and print."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for crawl in ("one", "all", *map(str, TIMES)):
            (folder / crawl).mkdir()
        (folder / "one" / "one.warc.wat.gz").write_bytes(record(dev_records()[0]))
        files = list(copies(folder / "all", megabytes * TIMES[-1]))
        for size in TIMES:
            for path in files[: len(files) * size // TIMES[-1]]:
                (folder / str(size) / path.name).symlink_to(path)
        started: dict[str, list[Times]] = {step: [] for step in STEPS}
        for number in range(STARTS):
            lake = new_lake(folder / f"lake-start-{number}")
            for step in STEPS:
                started[step].append(measure(step, str(folder / "one" / "*.gz"), lake, 1, ""))
        start = {
            step: (statistics.median(t[0] for t in times), statistics.median(t[1] for t in times))
            for step, times in started.items()
        }
        for cores in CORES:
            for buckets in BUCKETS:
                for step, times in grow(folder, start, cores, buckets):
                    what = f", {buckets}" if step == "ingest" else ""
                    rows.append(row_of(f"{step}{what}, local[{cores}]", times))
    columns = ["step", *(f"{size}×: s (CPU s)" for size in TIMES), "growth", "growth of CPU"]
    table(f"Seconds without the start for {megabytes} MB of WAT, and multiples", columns, rows)
    print(f"\nGrowth is linear within the limit of {LIMIT} where it is at most that.")


if __name__ == "__main__":
    run(main)
