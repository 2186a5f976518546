"""Loading batches: each rank and worker reads the row groups its positions lie in, decodes, crops and tokenises.

A row group is read once per worker and window (see `training.data.sample_order`) with the columns training
needs, and its images are decoded one by one as their turn comes. Where the index has a draw's key, the texts are those
that the draw chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curation.errors import InputError, WorldcurateError
from curation.hashing import u64
from curation.io.storage import Storage
from training.data.sample_order import EpochOrder, Progress, SampleOrder, own_positions
from training.data.shard_index import ShardIndex
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer
from training.data.transforms import decode, random_box, resize


class Batch(NamedTuple):
    """A rank's part of a step, ordered by position.

    `positions` int64 (b,), `images` uint8 (b, side, side, 3), `tokens` int32 (b, context length).
    """

    positions: torch.Tensor
    images: torch.Tensor
    tokens: torch.Tensor


class ShardDataset(IterableDataset[Any]):
    """The batches of one rank from some progress on; a loader worker yields its share of each.

    Args:
        index: the samples.
        storage: how the files are reached.
        tokenizer: encodes the texts.
        order: the order of the samples and the seed of their crops.
        image_size: side of the images in pixels.
        batch_size: pairs of one step over all ranks, a multiple of `world`.
        begin: progress at which the first batch begins.
        steps: how many batches there are.
        rank: this rank among `world`.
        world: number of ranks.
    """

    def __init__(
        self,
        index: ShardIndex,
        storage: Storage,
        tokenizer: Tokenizer,
        order: SampleOrder,
        *,
        image_size: int,
        batch_size: int,
        begin: Progress,
        steps: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._index, self._storage, self._tokenizer, self._order = index, storage, tokenizer, order
        self._image_size, self._batch_size = image_size, batch_size
        self._begin, self._steps = begin, steps
        self._rank, self._world = rank, world

    def __iter__(self) -> Iterator[Batch | WorldcurateError]:
        """Yield a batch a step. An expected error is yielded, since one that is raised would lose its one line."""
        info = get_worker_info()
        try:
            yield from self.batches(info.id, info.num_workers) if info else self.batches()
        except WorldcurateError as error:
            yield error

    def batches(self, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """Yield, for every step, the share of one loader worker. Raises InputError when a sample cannot be read."""
        reader = ShardReader(self._index, self._storage)
        progress, epoch, places = self._begin, -1, None
        for _ in range(self._steps):
            progress = progress.fitting(self._batch_size, self._index.samples)
            if places is None or progress.epoch != epoch:
                epoch, places = progress.epoch, self._order.epoch(progress.epoch, self._index.counts)
                reader.rewind()
            positions = own_positions(
                progress.position, self._batch_size, rank=self._rank, world=self._world, worker=worker, workers=workers
            )
            yield self._load(reader, places, epoch, positions)
            progress = progress.after(self._batch_size)

    def _load(self, reader: ShardReader, places: EpochOrder, epoch: int, positions: range) -> Batch:
        images = np.empty((len(positions), self._image_size, self._image_size, 3), np.uint8)
        texts = []
        for number, position in enumerate(positions):
            place = places.place(position)
            data, text = reader.sample(place)
            try:
                image = decode(data)
            except InputError as error:
                raise InputError(f"{reader.describe(place)}: {error}") from error
            box = random_box(*image.size, u64(self._order.seed, "crop", str(epoch), str(position)))
            images[number] = resize(image, box, self._image_size)
            texts.append(text)
        return Batch(
            torch.tensor(positions, dtype=torch.int64),
            torch.from_numpy(images),
            self._tokenizer(texts),
        )


def load_batches(dataset: ShardDataset, *, num_workers: int, pin: bool = False) -> Iterator[Batch]:
    """Yield a rank's batches, put together from its workers' shares. Raises what a worker ran into.

    Workers are spawned, not forked: a fork would inherit the threads of Arrow and of the tokenizer half alive.
    """
    loader: DataLoader[Batch | WorldcurateError] = DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin,
        multiprocessing_context="spawn" if num_workers else None,
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
    """Return the rows of several batches in the order of their positions."""
    if len(shares) == 1:
        return shares[0]
    whole = Batch(*(torch.cat(column) for column in zip(*shares, strict=True)))
    by_position = whole.positions.argsort()
    return Batch(*(column[by_position] for column in whole))
