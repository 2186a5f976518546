"""A slow shard, worker or rank changes no batch, and a lost shard ends the batches exactly where it is needed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.errors import DamagedLakeError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from support.batches import SIDE, equal, global_batches, rank_batches
from support.ranks import call_on_ranks
from support.shards import ShardLake, shard_row
from support.slow_loading import slow_views
from training.data.epochs.mixture import Mixture
from training.data.loader import load_batches
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer

ORDER, SIZE = SampleOrder(5, 4, 6), 12
SOME = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A lake of two recipes with small row groups."""
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))
    for recipe, start, rows in (("a", 0, 67), ("b", 100, 31)):
        shard_rows = [shard_row(start + n) for n in range(rows)]
        ShardLake(tmp_path / "lake").publish(shard_rows, recipe=recipe, group_rows=9, file_rows=25, run=f"r-{recipe}")
    return tmp_path / "lake"


@pytest.fixture
def mixed(root, tokenizer):
    """Return a function that makes datasets of one epoch in which the recipes are mixed and some pairs repeated."""
    index = Mixture({"a": 1, "b": 2}, max_repeats=3).epoch(build_index(Lake(str(root), Storage()), "a", "b").train, 0)

    def make(**keys) -> ShardDataset:
        config = LoaderConfig(ORDER, image_size=SIDE, batch_size=SIZE, **keys)
        steps = index.samples // SIZE
        return ShardDataset(index, Storage(), tokenizer, config, start=DataState(), steps=steps)

    return make


def steps_before(dataset: ShardDataset, groups: set[int]) -> int:
    """Return the number of steps before the first one with a sample in these row groups."""
    order = ORDER.epoch(0, dataset.index.counts)
    positions = range(dataset.steps * SIZE)
    return next((p // SIZE for p in positions if order.locate(p).group in groups), dataset.steps)


@SOME
@given(st.lists(st.sampled_from([0, 0, 1, 5]), min_size=5, max_size=5), st.integers(1, 3), st.integers(1, 3))
def test_slow_shards_change_no_batch(mixed, monkeypatch, delays, world_size, workers):
    alone, plain = list(mixed()), ShardReader._load
    with monkeypatch.context() as patch:
        patch.setattr(
            ShardReader,
            "_load",
            lambda self, group, columns: (time.sleep(delays[group % 5] / 1000), plain(self, group, columns))[1],
        )
        together = list(global_batches(mixed, world_size, workers))
    assert all(equal(one, other) for one, other in zip(together, alone, strict=True))


@SOME
@given(lost=st.integers(0, 20), world_size=st.integers(1, 3), workers=st.integers(1, 3))
def test_a_lost_shard_ends_the_batches_at_its_first_sample(mixed, monkeypatch, lost, world_size, workers):
    alone, plain = list(mixed()), ShardReader.load
    lost %= len(mixed().index.counts)

    def load(self, group):
        if group == lost:
            raise DamagedLakeError("x.parquet: missing")
        return plain(self, group)

    seen, ended = [], False
    with monkeypatch.context() as patch:
        patch.setattr(ShardReader, "load", load)
        try:
            seen.extend(global_batches(mixed, world_size, workers))
        except DamagedLakeError:
            ended = True
    assert len(seen) == steps_before(mixed(), {lost})
    assert ended == (len(seen) < len(alone)), "only rows that no batch has may be lost"
    assert all(equal(one, other) for one, other in zip(seen, alone, strict=False))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_missing_file_ends_real_workers_at_its_first_sample(mixed, root, workers):
    alone, index = list(mixed()), mixed().index
    number = int(index.group_file[ORDER.epoch(0, index.counts).locate(5 * SIZE).group])
    Path(index.files[number]).unlink()
    seen = []
    with pytest.raises(DamagedLakeError, match=rf"^{index.files[number]}: missing: run `python -m jobs\.verify"):
        seen.extend(load_batches(mixed(num_workers=workers)))
    assert len(seen) == steps_before(mixed(), set((index.group_file == number).nonzero()[0].tolist()))
    assert all(equal(one, other) for one, other in zip(seen, alone, strict=False))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_batch_waits_for_no_row_group_outside_its_windows(mixed, monkeypatch, workers):
    dataset, plain, others_allowed = mixed(), ShardReader._load, threading.Event()
    alone, order = list(dataset), ORDER.epoch(0, dataset.index.counts)
    indices = {index for stream in range(ORDER.streams) for index in order.window_groups(stream, 0)}
    first = {order.group_at(index) for index in indices}
    assert len(first) < len(dataset.index.counts)

    def load(self, group, columns):
        if group not in first:
            others_allowed.wait()
        return plain(self, group, columns)

    monkeypatch.setattr(ShardReader, "_load", load)
    batches = rank_batches(dataset, workers)
    assert equal(next(batches), alone[0])
    others_allowed.set()
    assert all(equal(one, other) for one, other in zip(batches, alone[1:], strict=True))


@pytest.mark.parametrize("slow", [0, 1])
def test_a_slow_worker_changes_no_batch(mixed, slow):
    alone = list(mixed())
    together = list(load_batches(mixed(num_workers=2, views=slow_views(worker=slow))))
    assert all(equal(one, other) for one, other in zip(together, alone, strict=True))


def positions_of_rank(rank: int, size: int, root: Path, text: str) -> list[tuple[list[int], list[list[int]]]]:
    index = build_index(Lake(str(root), Storage()), "a", "b").train
    views = slow_views(seconds=0.01 * rank)
    config = LoaderConfig(ORDER, image_size=SIDE, batch_size=SIZE, rank=rank, world_size=size, views=views)
    tokenizer = Tokenizer.from_json(text, 8, {})
    dataset = ShardDataset(index, Storage(), tokenizer, config, start=DataState(), steps=8)
    return [(batch.positions.tolist(), batch.tokens.tolist()) for batch in load_batches(dataset)]


def test_a_slow_rank_changes_no_batch(root, tokenizer):
    alone = positions_of_rank(0, 1, root, tokenizer.to_json())
    ranks = call_on_ranks(positions_of_rank, 2, root, tokenizer.to_json())
    for step, (positions, tokens) in enumerate(alone):
        rows = sorted(row for rank in ranks for row in zip(*rank[step], strict=True))
        assert rows == sorted(zip(positions, tokens, strict=True))


def test_without_workers_the_next_batches_are_loaded_during_a_step(mixed, monkeypatch):
    plain, is_ahead = ShardDataset.batch, threading.Event()

    def batch(self, memory, shares):
        made = plain(self, memory, shares)
        if int(made.positions[0]) == 2 * SIZE:
            is_ahead.set()
        return made

    monkeypatch.setattr(ShardDataset, "batch", batch)
    batches = load_batches(mixed())
    next(batches)
    assert is_ahead.wait(60), "the third batch is loaded before the second one is asked for"
    batches.close()
