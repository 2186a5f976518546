"""Measure the whole ingest job on a crawl of 3 GB: texts per second on one and two cores, and memory per process.

The crawl repeats the dev WATs, with other host names in each copy, compressed as in Common Crawl: one gzip member per
record. The start of Spark and its workers is timed with a job on one record. The processes are watched from outside.
The memory of a Python worker is what one core needs. It grows with the crawl up to `ingest.bucket_bytes` of compressed
WAT, so at 13,000 MB both crawls have buckets of about that size, two and sixteen.

    python benchmarks/bench_ingest.py [--tiny] [MB]    (default: 3000)
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import ROOT, data, run, scaled, table
from isal import igzip

from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.readers.file_report import FileReport
from curation.readers.wat import read_records

MEGABYTES = scaled(3000, 6)
RECORDS = scaled(None, 200)  # of the dev WATs; all of them in a full run
COPIES_PER_FILE = 2  # 34 MB of WAT; a real file has ten times as much and more
STARTS = scaled(3, 1)
SMALL = 10  # memory is compared with that of a crawl with every tenth file
TAIL = 4000  # characters of the log that are shown when a job fails


def copies(folder: Path, megabytes: int) -> Iterator[Path]:
    """Write files of the crawl up to a size, in MB of uncompressed WAT; yield them."""
    bodies = dev_records()[:RECORDS]
    size = number = 0
    while size < megabytes * 1_000_000:
        path = folder / f"{number:04d}.warc.wat.gz"
        with path.open("wb") as sink:
            for _ in range(COPIES_PER_FILE):
                for body in bodies:
                    copy = body.replace(b"://", b"://c%d." % number).replace(b'"//', b'"//c%d.' % number)
                    sink.write(record(copy))
                    size += len(copy)
                number += 1
        yield path


def dev_records() -> list[bytes]:
    """Return the bodies of all records of the dev WATs."""
    bodies = []
    for path in sorted((data() / "crawl").glob("dev-*.warc.wat.gz")):
        with path.open("rb") as stream:
            bodies += list(read_records(stream, FileReport(path.name)))
    return bodies


def record(body: bytes) -> bytes:
    """Return a WARC record as a gzip member."""
    head = b"WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: %d\r\n\r\n" % len(body)
    return igzip.compress(head + body + b"\r\n\r\n", compresslevel=2)


def ingest(inputs: str, lake: Path, cores: int) -> tuple[float, dict[str, int], float]:
    """Run the job; return its seconds, the peak memory in MB by kind of process, and the CPU seconds of the workers."""
    command = [sys.executable, "-m", "jobs.ingest", "--lake", str(lake), "--create", "--batch", "b"]
    command += ["--ingest.inputs", inputs, "--spark.master", f"local[{cores}]"]
    started = time.monotonic()
    peaks = {"driver": 0, "JVM": 0, "worker": 0}
    busy: dict[int, float] = {}
    with tempfile.TemporaryFile("w+") as log:
        job = subprocess.Popen(command, cwd=ROOT, stderr=log, start_new_session=True)
        while job.poll() is None:
            for pid, kind, peak, seconds in processes(job.pid):
                peaks[kind] = max(peaks[kind], peak)
                if kind == "worker":
                    busy[pid] = seconds
            time.sleep(0.1)
        if job.returncode:
            log.seek(0)
            raise SystemExit(f"{log.read()[-TAIL:]}\nthe job ended with exit code {job.returncode}: see its log above")
    return time.monotonic() - started, peaks, sum(busy.values())


def processes(driver: int) -> Iterator[tuple[int, str, int, float]]:
    """Yield pid, kind, peak memory in MB and CPU seconds of every process in the session of a job."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(folder.name)
            if os.getsid(pid) != os.getsid(driver):
                continue
            status = (folder / "status").read_text()
            times = (folder / "stat").read_text().rpartition(") ")[2].split()
        except (OSError, ValueError):
            continue
        if peak := re.search(r"VmHWM:\s+(\d+)", status):
            kind = "driver" if pid == driver else "JVM" if "Name:\tjava" in status else "worker"
            yield pid, kind, int(peak[1]) // 1024, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    rows, times = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for crawl in ("one", "few", "all"):
            (folder / crawl).mkdir()
        (folder / "one" / "one.warc.wat.gz").write_bytes(record(dev_records()[0]))
        files = list(copies(folder / "all", megabytes))
        for path in files[::SMALL]:
            (folder / "few" / path.name).symlink_to(path)
        start = statistics.median(
            ingest(str(folder / "one" / "*.gz"), folder / f"lake-{i}", 1)[0] for i in range(STARTS)
        )
        for inputs, cores in (("few", 1), ("all", 1), ("all", 2)):
            lake = folder / f"lake-{inputs}-{cores}"
            seconds, peaks, busy = ingest(str(folder / inputs / "*.gz"), lake, cores)
            (row,) = Lake(str(lake), Storage()).rows("runs").to_pylist()
            texts, work = json.loads(row["totals"])["read"], seconds - start
            figures = [f"{seconds:.1f}", f"{work:.1f}", f"{texts / work:,.0f}", f"{texts / busy:,.0f}"]
            rows.append([f"{inputs}, local[{cores}]", f"{texts:,}", *figures, *map(str, peaks.values())])
            print(*rows[-1], file=sys.stderr)
            times.append((seconds, work))
    _, one, two = times
    speedup = one[1] / two[1]
    columns = ["crawl", "texts", "seconds", "without the start", "texts/s", "texts per CPU second of a worker"]
    columns += [f"{kind} MB" for kind in peaks]
    title = f"Ingest of {megabytes} MB of WAT ('all') and a tenth of it ('few')"
    ratios = {"local[2], speedup over local[1] without the start": speedup}
    table(title, columns, rows, name="ingest job", ratios=ratios)
    print(f"\nThe start takes {start:.1f} s. The speedup by the second core is {one[0] / two[0]:.2f}", end=" ")
    print(f"({speedup:.2f} without the start).")


if __name__ == "__main__":
    run(main)
