"""Load batches: every rank and worker reads the row groups of its positions, then decodes, crops and tokenizes.

A row group is read once per worker and window (see `training.data.sample_order`). Its images are decoded one by one,
when their positions come up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curation.errors import InputError, WorldcurateError
from curation.hashing import u64
from curation.io.storage import Storage
from training.data.random_crop import random_crop
from training.data.sample_order import DataState, EpochOrder, SampleOrder, worker_positions
from training.data.shard_index import ShardIndex
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer
from training.data.worker_signals import survive_stop_signals


class Batch(NamedTuple):
    """The part of one step that a rank computes, ordered by position.

    `positions` int64 (b,), `images` uint8 (b, side, side, 3), `tokens` int32 (b, context length).
    """

    positions: torch.Tensor
    images: torch.Tensor
    tokens: torch.Tensor


@dataclass(frozen=True)
class LoaderConfig:
    """How one rank loads its batches.

    Attributes:
        order: order of the samples, and the seed of their crops.
        image_size: side of the images in pixels.
        batch_size: pairs per step over all ranks, a multiple of `world_size`.
        rank: this rank among `world_size`.
        world_size: number of ranks.
        num_workers: loader processes; 0 loads in the calling process.
        pin_memory: whether batches are copied to pinned memory, for transfers to a GPU.
    """

    order: SampleOrder
    image_size: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    num_workers: int = 0
    pin_memory: bool = False


class ShardDataset(IterableDataset[Any]):
    """The batches of one rank from a data state on; each loader worker yields its share of every batch.

    Args:
        index: the samples.
        storage: access to the files.
        tokenizer: encodes the texts.
        config: how the batches are loaded.
        start: data state before the first batch.
        steps: number of batches.
    """

    def __init__(
        self,
        index: ShardIndex,
        storage: Storage,
        tokenizer: Tokenizer,
        config: LoaderConfig,
        *,
        start: DataState,
        steps: int,
    ) -> None:
        self.config = config
        self._index, self._storage, self._tokenizer = index, storage, tokenizer
        self._start, self._steps = start, steps

    def __iter__(self) -> Iterator[Batch | WorldcurateError]:
        """Yield one batch per step.

        Expected errors are yielded, because the DataLoader would wrap a raised one in a traceback of many lines.
        """
        info = get_worker_info()
        try:
            yield from self.batches(info.id, info.num_workers) if info else self.batches()
        except WorldcurateError as error:
            yield error

    def batches(self, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """Yield one loader worker's share of every step. Raises InputError if a sample cannot be read."""
        config, reader = self.config, ShardReader(self._index, self._storage)
        state, epoch, order = self._start, -1, None
        for _ in range(self._steps):
            state = state.batch_start(config.batch_size, self._index.samples)
            if order is None or state.epoch != epoch:
                epoch, order = state.epoch, config.order.epoch(state.epoch, self._index.counts)
                reader.release()
            positions = worker_positions(
                state.position,
                config.batch_size,
                rank=config.rank,
                world_size=config.world_size,
                worker=worker,
                workers=workers,
            )
            yield self._load(reader, order, epoch, positions)
            state = state.advance(config.batch_size)

    def _load(self, reader: ShardReader, order: EpochOrder, epoch: int, positions: range) -> Batch:
        size, seed = self.config.image_size, self.config.order.seed
        images = np.empty((len(positions), size, size, 3), np.uint8)
        texts = []
        for number, position in enumerate(positions):
            location = order.locate(position)
            data, text = reader.sample(location)
            try:
                images[number] = random_crop(data, u64(seed, "crop", str(epoch), str(position)), size)
            except InputError as error:
                raise InputError(f"{reader.describe(location)}: {error}") from error
            texts.append(text)
        return Batch(
            torch.tensor(positions, dtype=torch.int64),
            torch.from_numpy(images),
            self._tokenizer(texts),
        )


def load_batches(dataset: ShardDataset) -> Iterator[Batch]:
    """Yield a rank's batches, merged from the shares of its workers. Raises the errors of the workers.

    Workers are spawned, not forked: a forked child would inherit the locks of Arrow's and the tokenizer's threads, but
    not the threads that release them.
    """
    num_workers = dataset.config.num_workers
    loader: DataLoader[Batch | WorldcurateError] = DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=dataset.config.pin_memory,
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=survive_stop_signals,
    )
    shares: list[Batch] = []
    for share in loader:
        if isinstance(share, WorldcurateError):
            raise share
        shares.append(share)
        if len(shares) == max(1, num_workers):
            yield merge(shares)
            shares.clear()


def merge(shares: list[Batch]) -> Batch:
    """Return the rows of several batches, ordered by position."""
    if len(shares) == 1:
        return shares[0]
    whole = Batch(*(torch.cat(column) for column in zip(*shares, strict=True)))
    by_position = whole.positions.argsort()
    return Batch(*(column[by_position] for column in whole))
