from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.errors import InputError
from curation.hashing import u64
from support.shards import draw, shard_row
from training.data import loader, shard_reader
from training.data import random_crop as random_crop_module
from training.data.held_groups import HeldGroups
from training.data.loader import load_batches, merge
from training.data.random_crop import random_crop
from training.data.sample_order import DataState, SampleOrder, worker_positions
from training.data.shard_dataset import Batch, LoaderConfig, ShardDataset
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
    return all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))


def test_a_batch_contains_the_samples_that_the_order_lists(dataset, published, tokenizer):
    index = build_index(published.lake, "default").train
    numbers = {(f, g, r): 25 * f + 9 * g + r for f in range(3) for g in range(3) for r in range(9)}
    for step, batch in enumerate(dataset()):
        epoch, number = divmod(step, ROWS // 12)
        epoch_order = ORDER.epoch(epoch, index.counts)
        assert batch.positions.tolist() == list(range(12 * number, 12 * number + 12))
        for k, position in enumerate(batch.positions.tolist()):
            group, row = epoch_order.locate(position)[-2:]
            data, text = draw(numbers[int(index.group_file[group]), int(index.group_number[group]), row])
            expected = np.empty((SIDE, SIDE, 3), np.uint8)
            random_crop(data, u64(5, "crop", str(epoch), str(position)), expected)
            assert np.array_equal(batch.images[k], expected)
            assert torch.equal(batch.tokens[k], tokenizer([text])[0])


def test_jpegs_in_shards_are_decoded_without_pillow(shard_lake, tokenizer, monkeypatch):
    rows = [shard_row(n) for n in range(20)]
    for row in rows:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(row["image"])).save(buffer, "JPEG")
        row["image"] = buffer.getvalue()
    shard_lake.publish(rows)
    monkeypatch.setattr(random_crop_module, "decode", lambda _: pytest.fail("Pillow was used"))
    index = build_index(shard_lake.lake, "default").train
    config = LoaderConfig(SampleOrder(), image_size=SIDE, batch_size=20)
    assert len(list(ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=START, steps=1))) == 1


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


@pytest.fixture
def loaded(monkeypatch) -> list[int]:
    """The row groups that are read from storage."""
    groups: list[int] = []
    plain = ShardReader._load
    monkeypatch.setattr(
        ShardReader, "_load", lambda self, group, columns: (groups.append(group), plain(self, group, columns))[1]
    )
    return groups


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


def test_the_log_states_how_often_row_groups_were_read(dataset, caplog):
    with caplog.at_level(logging.INFO):
        list(load_batches(dataset(steps=10, order=SampleOrder(0, 1, 6))))
    assert [line for line in caplog.messages if "row groups" in line] == [
        f"epoch {epoch}: read 8 row groups, 1.12 times this rank's share of them; replaced 0 samples"
        for epoch in (0, 1)
    ]  # 60 of 67 samples fill batches


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
    batches = dataset(order=SampleOrder(0, 1, 30)).batches()
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
    plain = shard_reader.open_parquet
    monkeypatch.setattr(
        shard_reader, "open_parquet", lambda storage, path: (opened.append(path), plain(storage, path))[1]
    )
    list(dataset(steps=10))
    assert len(opened) == 3


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

    shares = [
        next(make(rank, "replace").batches(worker, workers)) for rank in range(world_size) for worker in range(workers)
    ]
    batch = merge(shares)
    by_row = {order_row(index, position): number for number, position in enumerate(batch.positions.tolist())}
    for bad, good in ((13, 15), (14, 15), (23, 16)):
        assert torch.equal(batch.tokens[by_row[bad]], tokenizer([rows[good]["text"]])[0])
        expected = np.empty((SIDE, SIDE, 3), np.uint8)
        random_crop(rows[good]["image"], u64(0, "crop", "0", str(int(batch.positions[by_row[bad]]))), expected)
        assert np.array_equal(batch.images[by_row[bad]], expected)
    assert len(batch.replaced) == 4, "row 14 was tried for row 13 too"
    assert all("row group" in line and "cannot be decoded" in line for line in batch.replaced)
    with pytest.raises(InputError, match="cannot be decoded"):
        [list(make(rank, "fail").batches()) for rank in range(world_size)]


def order_row(index, position: int) -> int:
    location = SampleOrder().epoch(0, index.counts).locate(position)
    return 8 * int(index.group_number[location.group]) + location.row


def test_the_positions_of_all_workers_merge_into_the_batch():
    def share(rank, worker):
        positions = worker_positions(7, 12, rank=rank, world_size=2, worker=worker, workers=3)
        column = torch.tensor(positions, dtype=torch.int64)
        return Batch(column, column[:, None], -column)

    merged = merge([share(rank, worker) for worker in (2, 0, 1) for rank in (1, 0)])
    assert merged.positions.tolist() == list(range(7, 19))
    assert torch.equal(merged.images[:, 0], merged.positions)
    assert torch.equal(merged.tokens, -merged.positions)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_a_gpu_are_merged_straight_into_pinned_memory(dataset, monkeypatch, workers):
    """Pinning the shares and merging them afterwards left batches in pageable memory."""
    pinned: list[int] = []

    def empty(*shape, pin_memory=False, **keys):
        tensor = torch.zeros(*shape, **keys)
        pinned.extend([tensor.data_ptr()] if pin_memory else [])
        return tensor

    alone = list(load_batches(dataset()))
    monkeypatch.setattr(loader.torch, "empty", empty)
    batches = list(load_batches(dataset(pin_memory=True, num_workers=workers)))
    assert all(equal(a, b) for a, b in zip(batches, alone, strict=True))
    assert all(column.data_ptr() in pinned for batch in batches for column in batch[:3])


def test_loader_processes_do_not_import_the_main_module(dataset, monkeypatch):
    """For the trainer it would load the model's libraries in each of them."""
    main = ModuleType("__main__")
    main.__file__ = "/does/not/exist.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert len(list(load_batches(dataset(num_workers=1, steps=2)))) == 2
    assert sys.modules["__main__"] is main
