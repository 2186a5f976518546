"""Data files are bounded, sorted by name, and the same bytes for the same rows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.io.storage import Storage
from curation.lake import parquet
from curation.lake.parquet import PartitionWriter, find_rows, read_batches, read_rows

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


def test_row_groups_and_files_keep_their_bounds(tmp_path, small_groups):
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


def test_a_row_larger_than_a_group_is_a_group_of_its_own(tmp_path, small_groups):
    table = rows(3, size=50_000)
    assert read(write(tmp_path, table, 3)).equals(table)


def test_without_rows_there_is_one_empty_file(tmp_path):
    paths = write(tmp_path, rows(0), 1)
    assert [pq.read_table(path, partitioning=None).num_rows for path in paths] == [0]


def test_reading_a_range_touches_only_its_rows(tmp_path, small_groups):
    table = rows(100)
    (path,) = write(tmp_path, table, 10)
    for start, stop in [(0, 0), (0, 1), (15, 45), (99, 100), (0, 100)]:
        assert read_rows(Storage(), str(path), start, stop).equals(table.slice(start, stop - start))
    assert sum(batch.num_rows for batch in read_batches(Storage(), str(path), ["n"], rows=7)) == 100


def test_rows_are_found_by_value_in_the_row_groups_that_may_hold_them(tmp_path, monkeypatch):
    path = tmp_path / "sorted.parquet"
    table = pa.table({"lang": ["de"] * 50 + ["en"] * 50, "id": [*range(50), *range(50)], "x": range(100)})
    pq.write_table(table, path, row_group_size=10)
    read = []
    whole = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_groups", lambda self, groups, **k: read.append(groups) or whole(self, groups, **k)
    )
    found = find_rows(Storage(), str(path), {"lang": ["en"], "id": [3, 41, 99]})
    assert found.to_pylist() == [{"lang": "en", "id": 3, "x": 53}, {"lang": "en", "id": 41, "x": 91}]
    assert read == [[5, 9]]
    assert find_rows(Storage(), str(path), {"lang": ["fr"]}, ["x"]).num_rows == 0
    assert find_rows(Storage(), str(path), {"id": [7]}, ["x"]).to_pylist() == [{"x": 7}, {"x": 57}]
