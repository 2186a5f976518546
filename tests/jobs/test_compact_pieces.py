"""Compaction merges sorted rows part by part and reads few pieces of each staged file."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.hashing import order_hash
from curation.lake import shuffle
from jobs import compact
from jobs.tasks.balance.draw import in_order
from jobs.tasks.compact import rows as compact_rows
from jobs.tasks.compact.rows import ORDERED, merge
from support.compaction import SEED, make_lake, read
from support.compaction import in_order as sorted_rows
from support.shards import ShardLake, shard_row

positions = st.lists(st.integers(0, 30), max_size=20)


def rows_at(positions, table):
    """A sorted table whose order hashes are the positions, and whose page says which table it is."""
    rows = [
        {"image_id": f"{at % 3}", "order": at, "page_url": f"{table}|{number}"} for number, at in enumerate(positions)
    ]
    return in_order(pa.Table.from_pylist(rows, ORDERED))


@settings(max_examples=60, deadline=None)
@given(st.lists(positions, max_size=4), st.sets(st.integers(0, 31), min_size=1))
def test_parts_are_the_rows_between_their_keys_sorted_stably(tables, starts):
    tables, starts = [rows_at(each, n) for n, each in enumerate(tables)], sorted(starts)
    parts = list(merge(tables, [table["order"].to_numpy() for table in tables], starts))
    assert len(parts) == len(starts)
    rows = sorted(
        (row for table in tables for row in table.to_pylist()), key=lambda row: (row["order"], row["image_id"])
    )
    for part, start, stop in zip(parts, starts, [*starts[1:], 99], strict=True):
        assert part.to_pylist() == [row for row in rows if start <= row["order"] < stop]


def pieces_read(monkeypatch, context):
    """Run compact; return how often each staged file is read, and the number of written buckets."""
    reads, real = Counter(), shuffle.read_buckets

    def noted(storage, paths, buckets, *rest):
        reads.update(paths)
        return real(storage, paths, buckets, *rest)

    monkeypatch.setattr(compact_rows.shuffle, "read_buckets", noted)
    compact.run(context)
    return reads, len({file.name.split(".")[0] for file in context.lake.snapshot("compacted").files})


def test_the_pieces_of_large_batches_are_about_one_per_batch_and_bucket(in_process, tmp_path, monkeypatch):
    batches = {"b1": list(range(1000)), "b2": list(range(1000, 2000))}
    context = make_lake(tmp_path / "lake", batches, shard_bytes=20_000)
    monkeypatch.setattr(compact, "UNIT_BYTES", 9000)
    reads, buckets = pieces_read(monkeypatch, context)
    assert len(reads) > 20
    assert buckets > 10
    assert reads.total() <= len(batches) * buckets + len(reads), "not files times buckets"
    assert read(context) == sorted_rows(context, SEED)


@pytest.mark.parametrize("part_bytes", [1, 300, 10**9])
def test_parts_of_any_size_give_the_same_rows(in_process, tmp_path, monkeypatch, part_bytes):
    monkeypatch.setattr(compact_rows, "PART_BYTES", part_bytes)
    context = make_lake(tmp_path / "lake", {"b1": list(range(90)), "b2": list(range(50, 120))}, shard_bytes=9000)
    compact.run(context)
    assert read(context) == sorted_rows(context, SEED)


def test_shards_that_are_not_in_the_order_of_the_seed_are_sorted(in_process, tmp_path):
    context = make_lake(tmp_path / "lake", {"b1": list(range(60))}, shard_bytes=9000)
    lake = ShardLake(tmp_path / "lake")
    lake.publish(
        [shard_row(number) for number in range(60)], batch="b1", group_rows=7, file_rows=20, run="20260102T000000-x"
    )
    compact.run(context)
    rows = read(context)
    assert [row["image_id"] for row in rows] == sorted(
        (shard_row(number)["image_id"] for number in range(60)), key=lambda each: order_hash(SEED, each)
    )
    assert np.diff([order_hash(SEED, row["image_id"]) >> 8 for row in rows]).min() > 0
