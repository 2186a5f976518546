"""The rows of `duplicates` are found by bucket, whatever files they are in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS
from jobs.tasks.dedup import files, sources
from jobs.tasks.dedup.files import RemovedImages, write_by_bucket
from jobs.tasks.dedup.sources import units_of

buckets_of_rows = st.lists(st.integers(0, 20)).map(sorted)


def written(root, buckets, file_bytes=1 << 20):
    """Write one row per bucket number, whose `distance` is the number; return the files as a snapshot has them."""

    def writers(table, ordinal):
        return PartitionWriter(Storage(), str(root), "run", ordinal, SCHEMAS[table], file_bytes=file_bytes)

    rows = [{"image_id": f"{row:04d}", "distance": bucket} for row, bucket in enumerate(buckets)]
    made = write_by_bucket(writers, pa.Table.from_pylist(rows, SCHEMAS["duplicates"]), np.array(buckets))
    found = [DataFile(f"{root}/{file.path}", file.size, file.rows, {}) for file in made]
    return sorted(found, key=lambda file: file.name)


def read(found):
    return [row for file in found for row in pq.read_table(file.path)["distance"].to_pylist()]


@settings(max_examples=60, deadline=None)
@given(buckets_of_rows, st.integers(1, 9), st.sets(st.integers(0, 22)))
def test_the_files_of_some_buckets_have_their_rows_and_few_others(tmp_path_factory, rows, rows_per_file, asked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "ROWS_PER_FILE", rows_per_file)
        found = written(tmp_path_factory.mktemp("lake"), rows)
    assert read(found) == rows, "the rows keep their order"
    some = RemovedImages(found).files_for(asked)
    between = [bucket for bucket in rows if asked and min(asked) <= bucket <= max(asked)]
    assert [bucket for bucket in read(some) if asked and min(asked) <= bucket <= max(asked)] == between
    if len(asked) == 1:
        assert len(some) == 1, "no bucket is in two files"
        most = max((rows.count(bucket) for bucket in rows), default=0)
        assert some[0].rows < rows_per_file + most


def test_a_file_that_became_too_large_is_found_in_all_its_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("curation.lake.parquet.ROW_GROUP_BYTES", 100)
    found = written(tmp_path, [3] * 40 + [4], file_bytes=1)
    assert len(found) > 3
    assert len(read(RemovedImages(found).files_for([3]))) == 41
    assert read(RemovedImages(found).files_for([1])) == read(found)


def images_of(batch, rows):
    files = (
        DataFile(f"images/{batch}/{number:06d}.0000-x.parquet", 1, n, {"batch": batch}) for number, n in enumerate(rows)
    )
    return Snapshot("images", 1, tuple(files))


@given(st.lists(st.lists(st.integers(0, 30), min_size=1)), st.integers(1, 50))
def test_units_take_the_files_of_all_batches_in_order_and_are_full(batches, rows_per_unit):
    snapshots = [images_of(f"b{number}", rows) for number, rows in enumerate(batches)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "ROWS_PER_UNIT", rows_per_unit)
        units = [[file for file, _ in unit.files] for unit in units_of((images, None) for images in snapshots)]
    assert [file for unit in units for file in unit] == [file for images in snapshots for file in images.files]
    sizes = [sum(file.rows for file in unit) for unit in units]
    assert all(size <= rows_per_unit or len(unit) == 1 for size, unit in zip(sizes, units, strict=True))
    assert all(size + unit[0].rows > rows_per_unit for size, unit in zip(sizes, units[1:], strict=False))
