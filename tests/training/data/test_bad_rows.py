from __future__ import annotations

import numpy as np
import pytest
import torch

from curation.errors import InputError
from curation.hashing import u64
from support.batches import SIDE, START, merge, rank_batches
from support.shards import shard_row
from training.data.loader import load_batches
from training.data.random_crop import random_crop
from training.data.sample_order import SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index


def test_an_image_that_cannot_be_decoded_is_named(shard_lake, tokenizer):
    rows = [shard_row(n) for n in range(20)]
    rows[13]["image"] = b"not a picture"
    shard_lake.publish(rows, group_rows=10)
    index = build_index(shard_lake.lake, "default").train
    for workers in (0, 1):
        config = LoaderConfig(SampleOrder(), image_size=SIDE, batch_size=20, num_workers=workers)
        dataset = ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=1)
        with pytest.raises(InputError, match=r"^\S+-r1\.parquet, row group 1, row 3: the image cannot be decoded"):
            list(load_batches(dataset))


@pytest.mark.parametrize(("world_size", "workers"), [(1, 1), (2, 1), (1, 3)])
def test_a_bad_row_is_replaced_by_the_next_good_one_for_any_number_of_workers(
    shard_lake, tokenizer, tmp_path, monkeypatch, world_size, workers
):
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))
    rows = [shard_row(n) for n in range(24)]
    for n in (13, 14, 23):
        rows[n]["image"] = b"not a picture"
    shard_lake.publish(rows, group_rows=8)
    index = build_index(shard_lake.lake, "default").train

    def make(rank: int, on_bad_row: str) -> ShardDataset:
        keys = {"rank": rank, "world_size": world_size, "on_bad_row": on_bad_row}
        config = LoaderConfig(SampleOrder(), image_size=SIDE, batch_size=24, **keys)
        return ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=1)

    batch = merge([next(rank_batches(make(rank, "replace"), workers)) for rank in range(world_size)])
    by_row = {order_row(index, position): number for number, position in enumerate(batch.positions.tolist())}
    for bad, good in ((13, 15), (14, 15), (23, 16)):
        assert torch.equal(batch.tokens[by_row[bad]], tokenizer([rows[good]["text"]])[0])
        expected = np.empty((SIDE, SIDE, 3), np.uint8)
        random_crop(rows[good]["image"], u64(0, "crop", "0", str(int(batch.positions[by_row[bad]]))), expected)
        assert np.array_equal(batch.images[by_row[bad]], expected)
    assert len(batch.replaced) == 4, "row 14 was tried for row 13 too"
    assert all("row group" in line and "cannot be decoded" in line for line in batch.replaced)
    with pytest.raises(InputError, match="cannot be decoded"):
        [list(make(rank, "fail")) for rank in range(world_size)]


def order_row(index, position: int) -> int:
    location = SampleOrder().epoch(0, index.counts).locate(position)
    return 8 * int(index.group_number[location.group]) + location.row
