"""Measure how many bytes of WAT one core reads per second, compared with a naive reader, warcio and cc2dataset.

The naive reader iterates over `gzip` lines and takes three attributes from `json.loads`. With warcio, warcio frames the
records and `json` decodes them. Both do less than our reader: they do not clean texts or resolve URLs, and they stop at
the first damaged byte. The extraction function of cc2dataset returns resolved links with their alt text; it is measured
if the package is installed. Times are CPU seconds, on which other programs have less influence.

    python benchmarks/bench_wat.py [--tiny]
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import logging
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common import data, run, scaled, table
from warcio.archiveiterator import ArchiveIterator

from curation.io.gzip_stream import GzipStream
from curation.readers.file_report import FileReport
from curation.readers.wat import read_records, read_wat
from curation.readers.wat_record import decode_envelope

SOURCES = ("alt", "title", "data-image-title")
REPEATS = scaled(15, 1)
NAIVE, OURS = "gzip + json.loads + three attributes", "read_wat (cleaned, resolved, checked)"


class CountRemarks(logging.Handler):
    """Counts what a library logs, in place of one line on stderr for each."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - only counted
        """Count a remark."""
        self.count += 1


def texts_of(document: dict[str, Any]) -> int:
    """Count the image texts of a decoded record."""
    payload = document["Envelope"]["Payload-Metadata"]
    links = payload.get("HTTP-Response-Metadata", {}).get("HTML-Metadata", {}).get("Links", [])
    return sum(source in link for link in links if link["path"] == "IMG@/src" for source in SOURCES)


def naive(path: Path) -> int:
    """Count image texts with the standard library only."""
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        return sum(texts_of(json.loads(line)) for line in lines if line.startswith("{"))


def by_warcio(path: Path) -> int:
    """Count image texts with warcio and json."""
    with path.open("rb") as stream:
        records = (record for record in ArchiveIterator(stream) if record.rec_type == "metadata")
        return sum(texts_of(json.loads(record.content_stream().read())) for record in records)


def by_cc2dataset(path: Path) -> int:
    """Count the images with alt text that cc2dataset extracts."""
    from cc2dataset.main import extract_documents_from_wat

    with path.open("rb") as stream:
        return len(extract_documents_from_wat(stream, "image"))


def ours(path: Path) -> int:
    """Count the occurrences that our reader yields."""
    report = FileReport(path.name)
    with path.open("rb") as stream:
        for _ in read_wat(stream, report):
            pass
    return report.counters.read


def measured(ways: dict[str, Callable[[Path], object]], files: Sequence[Path]) -> dict[str, float]:
    """Return the median CPU seconds of each way over all files; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            started = time.process_time()
            for path in files:
                way(path)
            times[name].append(time.process_time() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def decompress(path: Path) -> None:
    """Decompress a file as our reader does."""
    with path.open("rb") as stream:
        source = GzipStream(stream)
        while source.read(1 << 16):
            pass


def frame(path: Path) -> None:
    """Decompress a file and frame its records."""
    with path.open("rb") as stream:
        for _ in read_records(stream, FileReport(path.name)):
            pass


def decode_records(path: Path) -> None:
    """Decompress a file, frame its records and decode them."""
    notes: Counter[str] = Counter()
    with path.open("rb") as stream:
        for body in read_records(stream, FileReport(path.name)):
            decode_envelope(body, notes)


def main() -> None:
    """Measure and print."""
    files = sorted((data() / "crawl").glob("dev-*.warc.wat.gz"))
    size = sum(len(gzip.decompress(path.read_bytes())) for path in files) / 1e6
    remarks, warcio = CountRemarks(), logging.getLogger("warcio")
    warcio.addHandler(remarks)
    warcio.propagate = False
    assert sum(map(ours, files)) == sum(map(naive, files)) == sum(map(by_warcio, files)), "all find the same texts"
    print(f"warcio remarks on {remarks.count} records, such as those whose target URI has spaces")
    ways: dict[str, Callable[[Path], object]] = {
        NAIVE: naive,
        "warcio + json": by_warcio,
    }
    if importlib.util.find_spec("cc2dataset"):
        ways["cc2dataset, extraction function"] = by_cc2dataset
    ways[OURS] = ours
    steps = {"gzip": decompress, "WARC": frame, "JSON": decode_records}
    seconds = measured({**ways, **steps}, files)
    ratios = {name: seconds[NAIVE] / seconds[name] for name in ways}
    rows = [[name, f"{size / seconds[name]:.0f}", f"{ratio:.2f}"] for name, ratio in ratios.items()]
    title = f"Reading {size:.0f} MB of WAT, one core, median of {REPEATS}"
    table(title, ["way", "MB/s", "x naive"], rows, name="WAT", ratios={"read_wat": ratios[OURS]})
    edges = [0.0, *(seconds[name] for name in steps), seconds[OURS]]
    names = ["gzip", "WARC framing", "JSON", "our code"]
    shares = [
        [name, f"{(after - before) / edges[-1]:.0%}"]
        for name, before, after in zip(names, edges, edges[1:], strict=False)
    ]
    table("Time of read_wat by part", ["part", "share"], shares)


if __name__ == "__main__":
    run(main)
