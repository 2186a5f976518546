"""WAT bytes read per second on one core: our reader beside the plain way, warcio and cc2dataset's extraction function.

The plain way is `gzip` lines, `json.loads` and the three attributes; warcio frames the records, `json` decodes them.
They do less than ours: they neither clean texts nor resolve URLs, and stop at the first damaged byte. cc2dataset's
function (copied to no place: measured where the package is installed) gives links with their alt text, resolved.
Seconds are processor time, so that other programs weigh less.

    python benchmarks/bench_wat.py
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common import data, table
from warcio.archiveiterator import ArchiveIterator

from curation.io.gzip_stream import Gunzip
from curation.readers.extract import FileReport
from curation.readers.wat import read_records, read_wat
from curation.readers.wat_record import decode_envelope

SOURCES = ("alt", "title", "data-image-title")
REPEATS = 15


def texts_of(document: dict[str, Any]) -> int:
    """Count the image texts of a decoded record."""
    payload = document["Envelope"]["Payload-Metadata"]
    links = payload.get("HTTP-Response-Metadata", {}).get("HTML-Metadata", {}).get("Links", [])
    return sum(source in link for link in links if link["path"] == "IMG@/src" for source in SOURCES)


def plain(path: Path) -> int:
    """Count image texts with the standard library alone."""
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
    """Count the occurrences our reader reads."""
    report = FileReport(path.name)
    with path.open("rb") as stream:
        for _ in read_wat(stream, report):
            pass
    return report.counters.read


def measured(ways: dict[str, Callable[[Path], object]], files: Sequence[Path]) -> dict[str, float]:
    """Return the median of processor seconds of each way over all files, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            started = time.process_time()
            for path in files:
                way(path)
            times[name].append(time.process_time() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def inflated(path: Path) -> None:
    """Inflate a file as our reader does."""
    with path.open("rb") as stream:
        source = Gunzip(stream)
        while source.read(1 << 16):
            pass


def framed(path: Path) -> None:
    """Inflate a file and frame its records."""
    with path.open("rb") as stream:
        for _ in read_records(stream, FileReport(path.name)):
            pass


def decoded(path: Path) -> None:
    """Inflate, frame and decode."""
    notes: Counter[str] = Counter()
    with path.open("rb") as stream:
        for body in read_records(stream, FileReport(path.name)):
            decode_envelope(body, notes)


def main() -> None:
    """Measure and print."""
    files = sorted((data() / "crawl").glob("dev-*.warc.wat.gz"))
    size = sum(len(gzip.decompress(path.read_bytes())) for path in files) / 1e6
    assert sum(map(ours, files)) == sum(map(plain, files)) == sum(map(by_warcio, files)), "all must see the same texts"
    ways: dict[str, Callable[[Path], object]] = {
        "gzip + json.loads + three attributes": plain,
        "warcio + json": by_warcio,
    }
    if importlib.util.find_spec("cc2dataset"):
        ways["cc2dataset, its extraction function"] = by_cc2dataset
    ways["read_wat (cleaned, resolved, checked)"] = ours
    steps = {"gzip": inflated, "WARC": framed, "JSON": decoded}
    seconds = measured({**ways, **steps}, files)
    slow = seconds["gzip + json.loads + three attributes"]
    rows = [[name, f"{size / seconds[name]:.0f}", f"{slow / seconds[name]:.2f}"] for name in ways]
    table(f"Reading {size:.0f} MB of WAT, one core, median of {REPEATS}", ["way", "MB/s", "x plain"], rows)
    edges = [0.0, *(seconds[name] for name in steps), seconds["read_wat (cleaned, resolved, checked)"]]
    names = ["gzip", "WARC framing", "JSON", "our own code"]
    shares = [
        [name, f"{(after - before) / edges[-1]:.0%}"]
        for name, before, after in zip(names, edges, edges[1:], strict=False)
    ]
    table("Where read_wat's time goes", ["part", "share"], shares)


if __name__ == "__main__":
    main()
