"""The batches of one loader worker: read the row groups of its positions, then decode, crop and tokenize.

A worker reads row groups in a thread, ahead of their use (see `training.data.held_groups`), and decodes images one by
one into the memory of its share of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import IterableDataset, get_worker_info

from curation.errors import InputError, WorldcurateError
from curation.hashing import u64
from curation.io.storage import Storage
from training.data.group_cache import GroupCache
from training.data.held_groups import HeldGroups
from training.data.random_crop import random_crop
from training.data.sample_order import DataState, EpochOrder, SampleOrder, worker_positions
from training.data.shard_index import ShardIndex
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer


class Batch(NamedTuple):
    """The part of one step that a rank computes, ordered by position.

    `positions` int64 (b,), `images` uint8 (b, side, side, 3), `tokens` int32 (b, context length), and the number of row
    groups that were read from storage since the batch before.
    """

    positions: torch.Tensor
    images: torch.Tensor
    tokens: torch.Tensor
    row_groups: int = 0


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
        pin_memory: whether batches are made in pinned memory, for transfers to a GPU.
        cache_bytes: limit of the cache for row groups that several workers of a host need.
    """

    order: SampleOrder
    image_size: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    num_workers: int = 0
    pin_memory: bool = False
    cache_bytes: int = 4 << 30


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
        self.config, self.index, self.start, self.steps = config, index, start, steps
        self._storage, self._tokenizer = storage, tokenizer

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
        config = self.config
        shares_streams = config.order.streams % (config.world_size * workers) > 0
        cache = GroupCache(config.cache_bytes) if shares_streams else None
        state, left, counted = self.start, self.steps, 0
        with closing(ShardReader(self.index, self._storage, cache)) as reader:
            while left > 0:
                state = state.batch_start(config.batch_size, self.index.samples)
                steps = min(left, (self.index.samples - state.position) // config.batch_size)
                order = config.order.epoch(state.epoch, self.index.counts)
                with closing(HeldGroups(order, reader.load)) as groups:
                    for _ in range(steps):
                        positions = worker_positions(
                            state.position,
                            config.batch_size,
                            rank=config.rank,
                            world_size=config.world_size,
                            worker=worker,
                            workers=workers,
                        )
                        batch = self._load(reader, order, groups, state.epoch, positions)
                        before, counted = counted, reader.num_loaded
                        yield batch._replace(row_groups=counted - before)
                        state = state.advance(config.batch_size)
                left -= steps

    def _load(self, reader: ShardReader, order: EpochOrder, groups: HeldGroups, epoch: int, positions: range) -> Batch:
        size, seed = self.config.image_size, self.config.order.seed
        images = _empty_images(len(positions), size)
        pixels, texts = images.numpy(), []
        for number, position in enumerate(positions):
            location = order.locate(position)
            group = groups.group(location)
            try:
                random_crop(group.image(location.row), u64(seed, "crop", str(epoch), str(position)), pixels[number])
            except InputError as error:
                raise InputError(f"{reader.describe(location)}: {error}") from error
            texts.append(group.text(location.row))
        return Batch(
            torch.tensor(positions, dtype=torch.int64),
            images,
            self._tokenizer(texts),
        )


def _empty_images(count: int, size: int) -> torch.Tensor:
    """Return memory for images; in a loader process, memory that the main process shares, so that none are copied."""
    shape = (count, size, size, 3)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    shared = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return torch.empty(0, dtype=torch.uint8).set_(shared).view(shape)
