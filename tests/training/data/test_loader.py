from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from curation.hashing import u64
from support.shards import draw, shard_row
from training.data.loader import Batch, LoaderConfig, ShardDataset, load_batches, merge
from training.data.random_crop import random_crop
from training.data.sample_order import DataState, SampleOrder, worker_positions
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader

ROWS, SIDE, ORDER, START = 67, 8, SampleOrder(5, 4, 6), DataState()


@pytest.fixture
def published(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(ROWS)], group_rows=9, file_rows=25)
    return shard_lake


@pytest.fixture
def dataset(published, tokenizer):
    index = build_index(published.lake, "default").train

    def make(order=ORDER, start=START, steps=12, **keys) -> ShardDataset:
        config = LoaderConfig(order=order, image_size=SIDE, batch_size=12, **keys)
        return ShardDataset(index, published.lake.storage, tokenizer, config, start=start, steps=steps)

    return make


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_contains_the_samples_that_the_order_lists(dataset, published, tokenizer):
    index = build_index(published.lake, "default").train
    numbers = {(f, g, r): 25 * f + 9 * g + r for f in range(3) for g in range(3) for r in range(9)}
    for step, batch in enumerate(dataset()):
        epoch, number = divmod(step, ROWS // 12)
        epoch_order = ORDER.epoch(epoch, index.counts)
        assert batch.positions.tolist() == list(range(12 * number, 12 * number + 12))
        for k, position in enumerate(batch.positions.tolist()):
            group, row = epoch_order.locate(position)[3:]
            data, text = draw(numbers[int(index.group_file[group]), int(index.group_number[group]), row])
            assert np.array_equal(batch.images[k], random_crop(data, u64(5, "crop", str(epoch), str(position)), SIDE))
            assert torch.equal(batch.tokens[k], tokenizer([text])[0])


def global_batches(dataset, world_size: int, workers: int, **keys) -> Iterator[Batch]:
    """Merge the shares of all workers of all ranks into global batches."""
    shares = [
        dataset(rank=rank, world_size=world_size, **keys).batches(worker, workers)
        for rank in range(world_size)
        for worker in range(workers)
    ]
    return (merge(list(step)) for step in zip(*shares, strict=True))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([1, 2, 3, 4, 6]), st.integers(1, 4), st.integers(0, 9))
def test_any_number_of_ranks_and_workers_loads_the_same_batches_from_any_start(dataset, world_size, workers, done):
    alone = list(dataset(steps=10))
    start = DataState()
    for _ in range(done):
        start = start.batch_start(12, ROWS).advance(12)
    resumed = list(global_batches(dataset, world_size, workers, start=start, steps=10 - done))
    assert len(resumed) == 10 - done
    assert all(equal(a, b) for a, b in zip(resumed, alone[done:], strict=True))


def test_real_loader_processes_give_the_same_batches(dataset):
    alone = list(load_batches(dataset()))
    with_workers = list(load_batches(dataset(num_workers=2)))
    assert all(equal(a, b) for a, b in zip(with_workers, alone, strict=True))


def test_one_worker_reads_each_row_group_once_per_epoch(dataset, monkeypatch):
    read: list[int] = []
    plain = ShardReader.read
    monkeypatch.setattr(ShardReader, "read", lambda self, group, *a: (read.append(group), plain(self, group, *a))[1])
    list(dataset(steps=5, order=SampleOrder(0, 1, 6)))
    assert sorted(read) == list(range(8))
    read.clear()
    for rank in range(2):
        list(dataset(steps=5, order=SampleOrder(0, 2, 6), rank=rank, world_size=2))
    assert len(read) <= 8 + 2  # the group that both streams share, and the group with the remaining samples


def test_streams_share_a_row_group(shard_lake, tokenizer, monkeypatch):
    shard_lake.publish([shard_row(n) for n in range(40)], group_rows=100)
    index = build_index(shard_lake.lake, "default").train
    read: list[int] = []
    plain = ShardReader.read
    monkeypatch.setattr(ShardReader, "read", lambda self, group, *a: (read.append(group), plain(self, group, *a))[1])
    config = LoaderConfig(SampleOrder(0, 4, 3), image_size=SIDE, batch_size=10)
    list(ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=8))
    assert sorted(read) == [0, 0, 1, 1], "two row groups, two epochs"


def test_a_reader_holds_only_the_row_groups_of_its_windows(dataset, monkeypatch):
    held: list[int] = []
    plain = ShardReader.sample

    def sample(self, location):
        pair = plain(self, location)
        held.append(len(self._held[location.stream]))
        return pair

    monkeypatch.setattr(ShardReader, "sample", sample)
    list(dataset(order=SampleOrder(0, 2, 6)))
    assert max(held) <= 3  # a window of 6 spans two groups of 9, and one more is held until the next is read


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


def test_the_positions_of_all_workers_merge_into_the_batch():
    def share(rank, worker):
        positions = worker_positions(7, 12, rank=rank, world_size=2, worker=worker, workers=3)
        column = torch.tensor(positions, dtype=torch.int64)
        return Batch(column, column[:, None], -column)

    merged = merge([share(rank, worker) for worker in (2, 0, 1) for rank in (1, 0)])
    assert merged.positions.tolist() == list(range(7, 19))
    assert torch.equal(merged.images[:, 0], merged.positions)
    assert torch.equal(merged.tokens, -merged.positions)
