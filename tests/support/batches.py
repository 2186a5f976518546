"""Batches of a small lake: the parameters of its loaders, and functions that load, merge and compare batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import Batch, ShardDataset

ROWS, SIDE, ORDER, START = 67, 8, SampleOrder(5, 4, 6), DataState()


def equal(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.positions, other.positions)
        and one.views.keys() == other.views.keys()
        and all(torch.equal(rows, other.views[name]) for name, rows in one.views.items())
    )


def rank_batches(dataset: ShardDataset, workers: int) -> Iterator[Batch]:
    """Yield the batches of one rank, whose shares are loaded one after another as by so many workers."""
    for step in zip(*(dataset.loads(worker, workers) for worker in range(workers)), strict=True):
        memory = torch.full((dataset.shape.num_bytes,), 255, dtype=torch.uint8)  # no row of it may stay as it is
        yield dataset.batch(memory, [load(memory) for load in reversed(step)])


def merge(batches: Sequence[Batch]) -> Batch:
    """Return the rows of all ranks of one step, ordered by position."""
    order = torch.cat([batch.positions for batch in batches]).argsort()
    return Batch(
        torch.cat([batch.positions for batch in batches])[order],
        {name: torch.cat([batch.views[name] for batch in batches])[order] for name in batches[0].views},
        sum(batch.row_groups for batch in batches),
        [row for batch in batches for row in batch.replaced],
        dict(sum((Counter(batch.languages) for batch in batches), Counter())),
    )


def global_batches(dataset, world_size: int, workers: int, **keys) -> Iterator[Batch]:
    """Merge the shares of all workers of all ranks into global batches."""
    ranks = [rank_batches(dataset(rank=rank, world_size=world_size, **keys), workers) for rank in range(world_size)]
    return map(merge, zip(*ranks, strict=True))
