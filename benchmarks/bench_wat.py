"""WAT bytes read per second on one core: our reader beside the plain way (gzip, json, the three attributes).

The plain way does less: it neither cleans texts nor resolves URLs, and it stops at the first damaged byte.

    python benchmarks/bench_wat.py
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from common import data, interleaved, table

from curation.grouping import SOURCE_RANK
from curation.reading import Reading
from curation.wat import read_wat


def plain(path: Path) -> int:
    """Count image texts with the standard library alone."""
    found = 0
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("{"):
                payload = json.loads(line)["Envelope"]["Payload-Metadata"]
                links = payload.get("HTTP-Response-Metadata", {}).get("HTML-Metadata", {}).get("Links", [])
                found += sum(source in link for link in links if link["path"] == "IMG@/src" for source in SOURCE_RANK)
    return found


def ours(path: Path) -> int:
    """Count the occurrences our reader reads."""
    reading = Reading(path.name)
    with path.open("rb") as stream:
        for _ in read_wat(stream, reading):
            pass
    return reading.books.read


def main() -> None:
    """Measure and print."""
    files = sorted((data() / "crawl").glob("dev-*.warc.wat.gz"))
    size = sum(len(gzip.decompress(path.read_bytes())) for path in files) / 1e6
    assert sum(map(ours, files)) == sum(map(plain, files)), "both ways must see the same texts"
    slow, fast = interleaved(lambda: [plain(path) for path in files], lambda: [ours(path) for path in files])
    rows = [
        ["gzip + json.loads + three attributes", f"{size / slow:.0f}", "1.00"],
        ["read_wat (cleaned, resolved, checked)", f"{size / fast:.0f}", f"{slow / fast:.2f}"],
    ]
    table(f"Reading {size:.0f} MB of WAT, one core, median of 5", ["way", "MB/s", "x plain"], rows)


if __name__ == "__main__":
    main()
