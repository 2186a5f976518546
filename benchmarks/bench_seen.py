"""Images of earlier batches recognised: seconds per million new images beside 1, 10 and 100 million seen ones.

Ids are made (uniform, as hashes are) and stored as ingest stores them: Parquet files of `pairs`, sorted, one a bucket.
The naive way reads the same column and asks a Python set. Bytes per id are those of the column on disk.

    python benchmarks/bench_seen.py [millions of seen images, 1 10 100 by default]
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
from common import table

from curation.dedup.across_batches import is_known
from curation.io.storage import Storage
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS

NEW = 1_000_000
PER_FILE = 2_000_000
NAIVE_UP_TO = 10_000_000
HEX = np.frombuffer(b"0123456789abcdef", "S1")


def made_ids(count: int, dice: np.random.Generator, low: float = 0.0, high: float = 1.0) -> Any:
    """Return sorted ids of 24 hex digits whose first 32 bits lie between two shares of their range."""
    first = np.sort(dice.integers(int(low * 2**32), int(high * 2**32), count, dtype=np.uint64)).astype(">u4")
    rest = dice.bytes(8 * count)
    raw = np.concatenate([first.view(np.uint8).reshape(-1, 4), np.frombuffer(rest, np.uint8).reshape(-1, 8)], axis=1)
    digits = np.stack([raw >> 4, raw & 15], axis=2).reshape(count, 24)
    return pa.array(np.sort(HEX[digits].view("S24").ravel()), pa.binary()).cast(pa.string())


def write(storage: Storage, root: str, count: int, dice: np.random.Generator) -> list[str]:
    """Write so many seen images as pairs; return the files."""
    files = max(1, count // PER_FILE)
    paths = []
    for number in range(files):
        ids = made_ids(count // files, dice, number / files, (number + 1) / files)
        rows = pa.table({"image_id": ids}, pa.schema([SCHEMAS["pairs"].field("image_id")]))
        for field in list(SCHEMAS["pairs"])[1:]:
            rows = rows.append_column(field, pa.nulls(len(ids), field.type))
        with PartitionWriter(storage, root, f"batch=b/{count}", number, SCHEMAS["pairs"]) as writer:
            writer.write(rows)
        paths += [f"{root}/{file.path}" for file in writer.files]
    return paths


def bytes_per_id(paths: list[str]) -> float:
    """Return the bytes of the id column on disk, an id."""
    size = rows = 0
    for path in paths:
        metadata = pq.ParquetFile(path).metadata
        for group in range(metadata.num_row_groups):
            column = metadata.row_group(group).column(0)
            size, rows = size + column.total_compressed_size, rows + column.num_values
    return size / rows


def naive(paths: list[str], ids: pa.ChunkedArray) -> np.ndarray:
    """Ask a set of all seen ids."""
    seen = {
        image_id for path in paths for image_id in pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()
    }
    return np.array([image_id in seen for image_id in ids.to_pylist()])


def main() -> None:
    """Measure and print."""
    sizes = [int(millions) * 1_000_000 for millions in sys.argv[1:] or ("1", "10", "100")]
    storage, rows = Storage(), []
    for count in sizes:
        dice = np.random.default_rng(count)
        with tempfile.TemporaryDirectory() as folder:
            paths = write(storage, str(Path(folder) / "pairs"), count, dice)
            known = pq.read_table(paths[0], columns=["image_id"]).slice(0, NEW // 10)
            unknown = pa.table({"image_id": made_ids(NEW - known.num_rows, dice)})
            ids = pa.concat_tables([known, unknown]).sort_by("image_id")["image_id"]
            started = time.process_time()
            found = is_known(storage, paths, ids)
            ours = time.process_time() - started
            assert found.sum() == known.num_rows, "seen are those, and those alone"
            other = "-"
            if count <= NAIVE_UP_TO:
                started = time.process_time()
                assert (naive(paths, ids) == found).all()
                other = f"{time.process_time() - started:.2f}"
            rows.append([f"{count:,}", f"{ours:.2f}", other, f"{bytes_per_id(paths):.1f}"])
    columns = ["seen images", "s per million new", "naive set", "bytes an id"]
    table("Recognising images of earlier batches, one core", columns, rows)


if __name__ == "__main__":
    main()
