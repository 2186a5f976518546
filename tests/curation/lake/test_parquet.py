"""Data files are bounded, sort by name, and have the same bytes for the same rows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.io.storage import Storage
from curation.lake import parquet
from curation.lake.parquet import PartitionWriter

SCHEMA = pa.schema([("n", pa.int64()), ("blob", pa.large_binary())])


def rows(count: int, size: int = 1000, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table({"n": range(count), "blob": [random.bytes(size) for _ in range(count)]}, schema=SCHEMA)


def write(root: Path, table: pa.Table, chunk: int, **options) -> list[Path]:
    with PartitionWriter(Storage(), str(root), "batch=b/run", 7, SCHEMA, **options) as writer:
        for start in range(0, table.num_rows, chunk):
            writer.write(table.slice(start, chunk))
    for file in writer.files:
        data = (root / file.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
    return [root / file.path for file in writer.files]


def read(paths: list[Path]) -> pa.Table:
    return pa.concat_tables(pq.read_table(path, partitioning=None) for path in sorted(paths))


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 20_000)


def test_files_in_name_order_hold_the_rows_in_order(tmp_path, small_groups):
    table = rows(300)
    paths = write(tmp_path, table, 50, file_bytes=60_000)
    assert len(paths) > 3
    assert read(paths).equals(table)


def test_row_groups_and_files_stay_within_their_bounds(tmp_path, small_groups):
    paths = write(tmp_path, rows(300), 300, file_bytes=60_000)
    for path in paths:
        meta = pq.ParquetFile(path).metadata
        assert all(meta.row_group(i).num_rows <= 20 for i in range(meta.num_row_groups))
        assert path.stat().st_size < 60_000 + 2 * 20_000


def test_same_rows_give_the_same_bytes(tmp_path, small_groups):
    table = rows(200)
    first, second = (write(tmp_path / name, table, 40, file_bytes=50_000) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert {p.name for p in first}.isdisjoint({p.name for p in second})


def test_a_row_larger_than_the_limit_gets_its_own_row_group(tmp_path, small_groups):
    table = rows(3, size=50_000)
    assert read(write(tmp_path, table, 3)).equals(table)


def test_without_rows_there_is_one_empty_file(tmp_path):
    paths = write(tmp_path, rows(0), 1)
    assert [pq.read_table(path, partitioning=None).num_rows for path in paths] == [0]
