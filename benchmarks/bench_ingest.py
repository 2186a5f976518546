"""The whole ingest job on a crawl of 3 GB: texts per second on one core and on two, and the memory of its processes.

The crawl is the dev WATs many times over, each copy with host names of its own, packed as Common Crawl packs: a gzip
member a record. What the start of Spark and of its workers takes is that of a job on one record. Processes are watched
from outside. A Python worker's memory is what one core needs: it grows with the crawl up to `ingest.bucket_bytes` of
packed WAT, so with 13,000 MB both crawls have buckets of that order, two and sixteen.

    python benchmarks/bench_ingest.py [MB, 3000 by default]
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

from common import ROOT, data, table
from isal import igzip

from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.readers.extract import FileReport
from curation.readers.wat import read_records

COPIES_A_FILE = 2  # 34 MB of WAT; a real file has ten times as much and more
SMALL = 10  # times smaller is the crawl that memory is compared with


def copies(folder: Path, megabytes: int) -> Iterator[Path]:
    """Write files of the crawl until it holds so many MB of uncompressed WAT; yield them."""
    bodies = []
    for path in sorted((data() / "crawl").glob("dev-*.warc.wat.gz")):
        with path.open("rb") as stream:
            bodies += list(read_records(stream, FileReport(path.name)))
    size = number = 0
    while size < megabytes * 1_000_000:
        path = folder / f"{number:04d}.warc.wat.gz"
        with path.open("wb") as sink:
            for _ in range(COPIES_A_FILE):
                for body in bodies:
                    own = body.replace(b"://", b"://c%d." % number).replace(b'"//', b'"//c%d.' % number)
                    sink.write(record(own))
                    size += len(own)
                number += 1
        yield path


def record(body: bytes) -> bytes:
    """Return a WARC record as a gzip member."""
    head = b"WARC/1.0\r\nWARC-Type: metadata\r\nContent-Length: %d\r\n\r\n" % len(body)
    return igzip.compress(head + body + b"\r\n\r\n", compresslevel=2)


def ingest(inputs: str, lake: Path, cores: int) -> tuple[float, dict[str, int], float]:
    """Run the job; return its seconds, the peak memory in MB by kind of process, and the workers' processor seconds."""
    command = [sys.executable, "-m", "jobs.ingest", "--lake", str(lake), "--batch", "b", "--ingest.inputs", inputs]
    command += ["--spark.master", f"local[{cores}]"]
    started = time.monotonic()
    job = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    peaks = {"driver": 0, "JVM": 0, "worker": 0}
    busy: dict[int, float] = {}
    while job.poll() is None:
        for pid, kind, peak, seconds in processes(job.pid):
            peaks[kind] = max(peaks[kind], peak)
            if kind == "worker":
                busy[pid] = seconds
        time.sleep(0.1)
    if job.returncode:
        raise SystemExit(f"the job ended with {job.returncode}")
    return time.monotonic() - started, peaks, sum(busy.values())


def processes(driver: int) -> Iterator[tuple[int, str, int, float]]:
    """Yield pid, kind, peak memory in MB and processor seconds of every process of a job's session."""
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
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    rows, whole = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for crawl in ("one", "few", "all"):
            (folder / crawl).mkdir()
        (folder / "one" / "one.warc.wat.gz").write_bytes(record(b"{}"))
        files = list(copies(folder / "all", megabytes))
        for path in files[::SMALL]:
            (folder / "few" / path.name).symlink_to(path)
        start = statistics.median(ingest(str(folder / "one" / "*.gz"), folder / f"lake-{i}", 1)[0] for i in range(3))
        for inputs, cores in (("few", 1), ("all", 1), ("all", 2)):
            lake = folder / f"lake-{inputs}-{cores}"
            seconds, peaks, busy = ingest(str(folder / inputs / "*.gz"), lake, cores)
            (run,) = Lake(str(lake), Storage()).rows("runs").to_pylist()
            texts, work = json.loads(run["totals"])["read"], seconds - start
            figures = [f"{seconds:.1f}", f"{work:.1f}", f"{texts / work:,.0f}", f"{texts / busy:,.0f}"]
            rows.append([f"{inputs}, local[{cores}]", f"{texts:,}", *figures, *map(str, peaks.values())])
            print(*rows[-1], file=sys.stderr)
            whole.append((seconds, work))
    columns = ["crawl", "texts", "seconds", "less the start", "texts/s", "texts/s of a worker's time"]
    memory = [f"{kind} MB" for kind in peaks]
    table(f"Ingest of {megabytes} MB of WAT ('all') and a tenth of it ('few')", [*columns, *memory], rows)
    _, one, two = whole
    print(f"\nThe start takes {start:.1f} s. The second core makes it {one[0] / two[0]:.2f} times as fast,", end=" ")
    print(f"{one[1] / two[1]:.2f} times without the start.")


if __name__ == "__main__":
    main()
