"""Fixtures for the tests of the loader: a published lake, its dataset, and the row groups that are read."""

from __future__ import annotations

import pytest

from support.batches import ORDER, ROWS, SIDE, START
from support.shards import shard_row
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader


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


@pytest.fixture
def loaded(monkeypatch) -> list[int]:
    """The row groups that are read from storage."""
    groups: list[int] = []
    plain = ShardReader._load
    monkeypatch.setattr(
        ShardReader, "_load", lambda self, group, columns: (groups.append(group), plain(self, group, columns))[1]
    )
    return groups
