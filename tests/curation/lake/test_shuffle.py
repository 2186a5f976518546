"""Rows staged by bucket are read back completely, in the order of the files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake.shuffle import bucket_bits, read_buckets, read_notes, split_sorted, write_buckets
from support.damage import flips

SCHEMA = pa.schema([("bucket", pa.int64()), ("text", pa.string())])


@given(st.lists(st.lists(st.integers(0, 7)), max_size=4))
def test_every_row_arrives_once_in_its_bucket(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("staged")
    paths = []
    for number, buckets in enumerate(files):
        ordered = sorted(buckets)
        table = pa.table({"bucket": ordered, "text": [f"{number}-{i}" for i in range(len(ordered))]}, schema=SCHEMA)
        paths.append(str(folder / f"{number}.arrow"))
        rows = write_buckets(Storage(), paths[-1], SCHEMA, split_sorted(table, np.array(ordered, int), 8))
        assert rows == [buckets.count(bucket) for bucket in range(8)]
    for bucket in range(8):
        rows_read = [
            row for part in read_buckets(Storage(), paths, range(bucket, bucket + 1)) for row in part.to_pylist()
        ]
        assert [row["bucket"] for row in rows_read] == [bucket] * sum(file.count(bucket) for file in files)
        assert len({row["text"] for row in rows_read}) == len(rows_read)


def test_a_kept_file_that_has_changed_is_not_used_again(tmp_path):
    path, buckets = tmp_path / "kept.arrow", sorted([*range(8)] * 20)
    texts = [None if i % 7 == 3 else f"text {i * i}" for i in range(len(buckets))]
    table, notes = pa.table({"bucket": buckets, "text": texts}, schema=SCHEMA), {"read": "160"}

    def rows() -> list[dict[str, object]]:
        return [row for part in read_buckets(Storage(), [str(path)], range(8)) for row in part.to_pylist()]

    write_buckets(Storage(), str(path), SCHEMA, split_sorted(table, np.array(buckets), 8), notes)
    assert read_notes(Storage(), str(path), SCHEMA) == notes
    before, damaged = rows(), 0
    for _ in flips(path, 250):
        if (found := read_notes(Storage(), str(path), SCHEMA)) is None:
            damaged += 1
        else:
            assert (found, rows()) == (notes, before)
    assert damaged == 250


@pytest.mark.parametrize(("total", "bits"), [(0, 0), (1, 0), (100, 0), (101, 1), (200, 1), (201, 2), (1000, 4)])
def test_the_number_of_buckets_depends_only_on_the_input_size(total, bits):
    assert bucket_bits(total, 100) == bits
