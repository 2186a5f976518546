from __future__ import annotations

import random

import pyarrow as pa
import pytest

from support.batches import SIDE, START, equal, global_batches
from support.shards import shard_row
from training.data.held_groups import HeldGroups
from training.data.sample_order import SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader
from training.data.tables import open_files
from training.data.views.image_transform import ImageTransform
from training.data.views.text_transform import TextTransform


def test_one_worker_reads_each_row_group_once_per_epoch(dataset, loaded):
    list(dataset(steps=5, order=SampleOrder(0, 1, 6)))
    assert sorted(loaded) == list(range(8))
    loaded.clear()
    for rank in range(2):
        list(dataset(steps=5, order=SampleOrder(0, 2, 6), rank=rank, world_size=2))
    assert len(loaded) <= 8 + 2  # the group that both streams share, and the group with the remaining samples


def test_streams_share_a_row_group(shard_lake, tokenizer, loaded):
    shard_lake.publish([shard_row(n) for n in range(40)], group_rows=100)
    index = build_index(shard_lake.lake, "default").train
    config = LoaderConfig(SampleOrder(0, 4, 3), image_size=SIDE, batch_size=10)
    list(ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=8))
    assert sorted(loaded) == [0, 0, 1, 1], "two row groups, two epochs"


@pytest.mark.parametrize(("streams", "world_size", "workers"), [(2, 1, 3), (4, 3, 1), (3, 2, 2), (5, 6, 2)])
def test_workers_that_share_streams_read_each_row_group_once_per_host(
    dataset, loaded, monkeypatch, tmp_path, streams, world_size, workers
):
    """Every worker of every rank read it from storage, unsaid."""
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))
    order = SampleOrder(0, streams, 6)
    alone = list(dataset(steps=10, order=order))
    loaded.clear()
    together = list(global_batches(dataset, world_size, workers, steps=10, order=order))
    assert all(equal(a, b) for a, b in zip(together, alone, strict=True))
    assert sorted(loaded) == list(range(8))
    assert sum(batch.row_groups for batch in together) == 8


def test_a_worker_holds_only_the_row_groups_of_its_windows_and_those_read_ahead(dataset, monkeypatch):
    held: list[int] = []
    plain = HeldGroups.group

    def group(self, location):
        result = plain(self, location)
        held.append(len(self._groups))
        return result

    monkeypatch.setattr(HeldGroups, "group", group)
    list(dataset(order=SampleOrder(0, 1, 6)))
    assert max(held) <= 3  # two windows of 6 span at most three groups of 9
    assert held.count(1) > 0


def test_the_first_batch_waits_only_for_its_own_window(dataset, loaded):
    batches = iter(dataset(order=SampleOrder(0, 1, 30)))
    next(batches)
    assert len(loaded) <= 5  # a window of 30 spans at most five groups of 9
    batches.close()


def test_the_next_window_is_read_ahead(dataset, monkeypatch):
    waited = []
    plain = HeldGroups._future

    def future(self, index):
        waited.append(index not in self._groups)
        return plain(self, index)

    order = SampleOrder(0, 1, 12)
    epoch = order.epoch(0, dataset().index.counts)
    held = HeldGroups(epoch, lambda group: group)
    held.group(epoch.locate(0))
    monkeypatch.setattr(HeldGroups, "_future", future)
    for position in range(1, 12):
        held.group(epoch.locate(position))
    assert any(waited)
    waited.clear()
    for position in range(12, 21):
        held.group(epoch.locate(position))
    assert not any(waited), "the groups of the second window were read during the first"
    held.close()


def test_files_stay_open_between_row_groups(dataset, monkeypatch):
    opened: list[str] = []
    plain = open_files.open_parquet
    monkeypatch.setattr(
        open_files,
        "open_parquet",
        lambda storage, path, **keys: (opened.append(path), plain(storage, path, **keys))[1],
    )
    list(dataset(steps=10))
    assert len(opened) == 3


@pytest.mark.parametrize("view", [TextTransform(), ImageTransform()])
def test_images_are_read_only_if_a_view_shows_them(shard_lake, tokenizer, monkeypatch, view):
    shard_lake.publish([shard_row(n) for n in range(20)])
    columns: set[str] = set()
    plain = ShardReader._load
    monkeypatch.setattr(
        ShardReader, "_load", lambda self, group, names: (columns.update(names), plain(self, group, names))[1]
    )
    index = build_index(shard_lake.lake, "default").train
    config = LoaderConfig(SampleOrder(0, 1, 6), image_size=SIDE, batch_size=10, views={"view": view})
    [batch] = ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=1)
    assert ("image" in columns) == isinstance(view, ImageTransform)
    assert len(batch.views["view"]) == 10


def test_open_files_hold_no_bytes_of_row_groups(shard_lake):
    """Each of up to 16 open files held the encoded columns of the last row group that was read from it."""
    shard_lake.publish([shard_row(n) | {"image": random.Random(n).randbytes(100_000)} for n in range(20)])
    reader = ShardReader(build_index(shard_lake.lake, "default").train, shard_lake.lake.storage)
    before = pa.total_allocated_bytes()
    reader.load(0)
    assert reader._files._open
    assert pa.total_allocated_bytes() - before < 500_000
    reader.close()
