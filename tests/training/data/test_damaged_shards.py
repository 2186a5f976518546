"""The trainer never trains on bytes that have changed since they were published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.balance.sampling import DrawKey
from curation.errors import DamagedLakeError
from curation.lake import parquet
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import add_tombstones
from support.damage import flips
from support.shards import matched_row
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader


@pytest.fixture
def shard(shard_lake, monkeypatch) -> Path:
    """Publish one file of shards as fetch_images does, and return its path."""
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 10_000)
    lake, partition = shard_lake.lake, {"recipe": "default", "batch": "b1"}
    with PartitionWriter(
        lake.storage, lake.layout.table("shards"), "recipe=default/batch=b1/r1", 0, SCHEMAS["shards"]
    ) as writer:
        writer.write(pa.Table.from_pylist([matched_row(n) for n in range(60)], schema=SCHEMAS["shards"]))
    lake.publish("shards", partition, writer.files, expected=(), metadata={"run_id": "r1"})
    shard_lake.add_run("r1", "all")
    add_tombstones(lake, hosts=["b.example"], reason="test")
    return Path(lake.snapshot("shards").files[0].path)


def read_everything(lake) -> list:
    """Return the samples of both splits, and what an epoch draws from them."""
    seen: list = []
    for index in build_index(lake, "default", validation_share=0.3, online=True):
        reader = ShardReader(index, lake.storage)
        for group in np.flatnonzero(index.counts).tolist():
            loaded = reader.load(group)
            seen += [loaded[row] for row in range(len(loaded))]
            seen.append(reader.draw(group, DrawKey(1))[0].tolist())
    return seen


def check_flips(shard_lake, shard, count) -> None:
    before = read_everything(shard_lake.lake)
    assert len(before) > 60
    damaged = 0
    for _ in flips(shard, count):
        try:
            assert read_everything(shard_lake.lake) == before
        except DamagedLakeError:
            damaged += 1
    assert damaged > count // 2


def test_no_flipped_bit_of_a_shard_reaches_training(shard_lake, shard):
    check_flips(shard_lake, shard, 20)


@pytest.mark.slow
def test_no_flipped_bit_of_three_hundred_reaches_training(shard_lake, shard):
    check_flips(shard_lake, shard, 300)
