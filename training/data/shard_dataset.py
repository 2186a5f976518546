"""The batches of one loader worker: read the row groups of its positions, then decode, crop and tokenize.

A worker reads row groups in a thread, ahead of their use (see `training.data.held_groups`), and decodes images one by
one into its rows of the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

import torch

from curation.errors import InputError
from curation.io.storage import Storage
from training.data.batch_memory import BatchShape, Field, MemoryPool
from training.data.group_cache import GroupCache
from training.data.held_groups import HeldGroups
from training.data.sample_order import DataState, EpochOrder, SampleOrder, worker_positions
from training.data.shard_index import ShardIndex
from training.data.shard_reader import RowGroup, ShardReader
from training.data.tokenizer import Tokenizer
from training.data.views.image_transform import PUBLISHED, ImageTransform
from training.data.views.keys import KeyTransform
from training.data.views.rows import TextRows, Transform, fields_of, make_view, seeds_of
from training.data.views.text_transform import TextTransform

POSITIONS = "positions"  # the column of a batch beside those of the views


class Batch(NamedTuple):
    """The part of one step that a rank computes, ordered by position.

    Attributes:
        positions: int64 (b,).
        views: tensors of b rows by name: images uint8 (b, side, side, 3), tokens int32 (b, context length).
        row_groups: number of row groups that were read from storage since the batch before.
        replaced: images that cannot be decoded and were replaced, each with its place and the error.
        languages: number of samples of each language.
    """

    positions: torch.Tensor
    views: Mapping[str, torch.Tensor]
    row_groups: int = 0
    replaced: Sequence[str] = ()
    languages: Mapping[str, int] = {}

    @property
    def images(self) -> torch.Tensor:
        """The view `image`."""
        return self.views["image"]

    @property
    def tokens(self) -> torch.Tensor:
        """The view `text`."""
        return self.views["text"]


class Share(NamedTuple):
    """What a worker reports about its share of a batch; the attributes are those of `Batch`."""

    row_groups: int
    replaced: Sequence[str]
    languages: Mapping[str, int]


Load = Callable[[torch.Tensor], Share]


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
        on_bad_row: `fail` if an image cannot be decoded, or `replace` it and its text by those of the next row of the
            row group that can be.
        views: how each view shows a sample, by its name.
    """

    order: SampleOrder
    image_size: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    num_workers: int = 0
    pin_memory: bool = False
    cache_bytes: int = 4 << 30
    on_bad_row: Literal["fail", "replace"] = "fail"
    views: Mapping[str, Transform] = field(default_factory=lambda: {"image": PUBLISHED, "text": TextTransform()})


class ShardDataset:
    """The batches of one rank from a data state on, each loaded in equal shares by the loader workers.

    Args:
        index: the samples.
        storage: access to the files.
        tokenizer: encodes the texts.
        config: how the batches are loaded.
        start: data state before the first batch.
        steps: number of batches.

    Attributes:
        shape: the shape of a batch.
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
        fields = [Field(POSITIONS, (), torch.int64)]
        for name, view in config.views.items():
            fields += fields_of(view, name, side=config.image_size, context=tokenizer.context_length)
        self.shape = BatchShape(config.batch_size // config.world_size, fields)
        self._storage, self._tokenizer = storage, tokenizer

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches, loaded in this process. Raises InputError if a sample cannot be read."""
        pool = MemoryPool.local(self.shape.num_bytes)
        for load in self.loads():
            memory = pool.take().memory
            yield self.batch(memory, [load(memory)])

    def batch(self, memory: torch.Tensor, shares: Sequence[Share]) -> Batch:
        """Return the batch of which all workers have loaded their shares into `memory`."""
        columns = self.shape.columns(memory)
        return Batch(
            columns.pop(POSITIONS),
            columns,
            sum(share.row_groups for share in shares),
            [row for share in shares for row in share.replaced],
            dict(sum((Counter(share.languages) for share in shares), Counter())),
        )

    def loads(self, worker: int = 0, workers: int = 1) -> Iterator[Load]:
        """Yield one function per step, which loads a worker's share of the batch; each is called before the next.

        The functions raise InputError if a sample cannot be read.
        """
        config = self.config
        shares_streams = config.order.streams % (config.world_size * workers) > 0
        cache = GroupCache(config.cache_bytes) if shares_streams else None
        state, left = self.start, self.steps
        with closing(self._reader(cache)) as reader:
            while left > 0:
                state = state.batch_start(config.batch_size, self.index.samples)
                steps = min(left, (self.index.samples - state.position) // config.batch_size)
                order = config.order.epoch(state.epoch, self.index.counts)
                with closing(HeldGroups(order, reader.load)) as groups:
                    for _ in range(steps):
                        yield partial(self._load, reader, groups, order, state, (worker, workers))
                        state = state.advance(config.batch_size)
                left -= steps

    def _reader(self, cache: GroupCache | None) -> ShardReader:
        """Return a reader of the columns that the views need."""
        views = self.config.views.values()
        with_matched = any(isinstance(view, TextTransform) and view.reads_matched for view in views)
        with_ids = any(isinstance(view, KeyTransform) and view.column == "image_id" for view in views)
        with_images = any(isinstance(view, ImageTransform) for view in views)
        return ShardReader(
            self.index,
            self._storage,
            cache,
            with_matched=with_matched,
            with_ids=with_ids,
            with_images=with_images,
        )

    def _load(
        self,
        reader: ShardReader,
        groups: HeldGroups,
        order: EpochOrder,
        state: DataState,
        split: tuple[int, int],
        memory: torch.Tensor,
    ) -> Share:
        config, replaced = self.config, []
        positions, rows = self._share(state, *split)
        columns = {name: column[rows] for name, column in self.shape.columns(memory).items()}
        views = {name: make_view(view, name, columns, self._tokenizer) for name, view in config.views.items()}
        for number, position in enumerate(positions):
            location = order.locate(position)
            seeds = {name: seeds_of(config.order.seed, name, epoch=state.epoch, position=position) for name in views}
            errors: list[InputError] = []
            group = groups.group(location)
            for row in self._rows_to_try(group, location.row):
                try:
                    for name, view in views.items():
                        view.read(number, group, row, seeds[name])
                    break
                except InputError as error:
                    errors.append(InputError(f"{reader.describe(location._replace(row=row))}: {error}"))
            else:
                raise errors[0]
            replaced += [str(error) for error in errors]
        columns[POSITIONS].copy_(torch.tensor(positions, dtype=torch.int64))
        for view in views.values():
            view.finish()
        texts = [view for view in views.values() if isinstance(view, TextRows)]
        return Share(reader.newly_loaded(), replaced, dict(Counter(texts[0].languages)) if texts else {})

    def _share(self, state: DataState, worker: int, workers: int) -> tuple[range, slice]:
        """Return the positions that a worker loads, and their rows in the batch of this rank."""
        config = self.config
        of_rank, of_worker = (
            worker_positions(
                state.position,
                config.batch_size,
                rank=config.rank,
                world_size=config.world_size,
                worker=number,
                workers=count,
            )
            for number, count in ((0, 1), (worker, workers))
        )
        return of_worker, slice((of_worker.start - of_rank.start) // config.world_size, None, workers)

    def _rows_to_try(self, group: RowGroup, row: int) -> Iterator[int]:
        """Yield a row, and the others of its group after it if they may replace it."""
        yield row
        if self.config.on_bad_row == "replace":
            yield from ((row + step) % len(group) for step in range(1, len(group)))
