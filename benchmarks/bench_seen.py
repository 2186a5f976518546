"""Measure how fast images of earlier batches are recognized: a million new images, and 1, 10 or 100 million seen ones.

The ids are random and uniform, like hashes, and stored as ingest stores them: sorted in Parquet files of `pairs`, one
file per bucket. The naive way reads the same column into a Python set. The bytes per id are those on disk.

    python benchmarks/bench_seen.py [--tiny] [MILLIONS OF SEEN IMAGES …]    (default: 1 10 100)
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import run, scaled, table

from curation.dedup.across_batches import is_known
from curation.io.storage import Storage
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS

NEW = scaled(1_000_000, 10_000)
TIMES = scaled((1, 10, 100), (1, 10))  # seen images, as multiples of the new ones
PER_FILE = 2 * NEW
NAIVE_UP_TO = 10 * NEW
HEX = np.frombuffer(b"0123456789abcdef", "S1")


def random_ids(count: int, rng: np.random.Generator, low: float = 0.0, high: float = 1.0) -> Any:
    """Return sorted ids of 24 hex digits whose first 32 bits are between two shares of their range."""
    first = np.sort(rng.integers(int(low * 2**32), int(high * 2**32), count, dtype=np.uint64)).astype(">u4")
    rest = rng.bytes(8 * count)
    raw = np.concatenate([first.view(np.uint8).reshape(-1, 4), np.frombuffer(rest, np.uint8).reshape(-1, 8)], axis=1)
    digits = np.stack([raw >> 4, raw & 15], axis=2).reshape(count, 24)
    return pa.array(np.sort(HEX[digits].view("S24").ravel()), pa.binary()).cast(pa.string())


def write(storage: Storage, root: str, count: int, rng: np.random.Generator) -> list[str]:
    """Write seen images as pairs and return the files."""
    files = max(1, count // PER_FILE)
    paths = []
    for number in range(files):
        ids = random_ids(count // files, rng, number / files, (number + 1) / files)
        rows = pa.table({"image_id": ids}, pa.schema([SCHEMAS["pairs"].field("image_id")]))
        for field in list(SCHEMAS["pairs"])[1:]:
            rows = rows.append_column(field, pa.nulls(len(ids), field.type))
        with PartitionWriter(storage, root, f"batch=b/{count}", number, SCHEMAS["pairs"]) as writer:
            writer.write(rows)
        paths += [f"{root}/{file.path}" for file in writer.files]
    return paths


def bytes_per_id(paths: list[str]) -> float:
    """Return the size of the id column on disk per id."""
    size = rows = 0
    for path in paths:
        metadata = pq.ParquetFile(path).metadata
        for group in range(metadata.num_row_groups):
            column = metadata.row_group(group).column(0)
            size, rows = size + column.total_compressed_size, rows + column.num_values
    return size / rows


def naive(paths: list[str], ids: pa.ChunkedArray) -> np.ndarray:
    """Look the ids up in a set of all seen ids."""
    seen = {
        image_id for path in paths for image_id in pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()
    }
    return np.array([image_id in seen for image_id in ids.to_pylist()])


def main() -> None:
    """Measure and print."""
    storage, rows, ratios = Storage(), [], {}
    for times in map(int, sys.argv[1:] or TIMES):
        count = times * NEW
        rng = np.random.default_rng(count)
        with tempfile.TemporaryDirectory() as folder:
            paths = write(storage, str(Path(folder) / "pairs"), count, rng)
            known = pq.read_table(paths[0], columns=["image_id"]).slice(0, NEW // 10)
            unknown = pa.table({"image_id": random_ids(NEW - known.num_rows, rng)})
            ids = pa.concat_tables([known, unknown]).sort_by("image_id")["image_id"]
            started = time.process_time()
            mask = is_known(storage, paths, ids)
            ours = time.process_time() - started
            assert mask.sum() == known.num_rows, "exactly the known images are recognized"
            other = "-"
            if count <= NAIVE_UP_TO:
                started = time.process_time()
                assert (naive(paths, ids) == mask).all()
                seconds = time.process_time() - started
                other, ratios[f"{times} × the new images"] = f"{seconds:.2f}", seconds / ours
            rows.append([f"{count:,}", f"{ours:.2f}", other, f"{bytes_per_id(paths):.1f}"])
    columns = ["seen images", f"s per {NEW:,} new", "naive set", "bytes per id"]
    table("Recognizing images of earlier batches, one core", columns, rows, name="seen images", ratios=ratios)


if __name__ == "__main__":
    run(main)
