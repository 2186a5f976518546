"""The batches of one loader worker: read the row groups of its positions, then decode, crop and tokenize.

A worker reads row groups in a thread, ahead of their use (see `training.data.held_groups`), and decodes images one by
one into the memory of its share of the batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import IterableDataset, get_worker_info

from curation.errors import InputError, WorldcurateError
from curation.hashing import u64
from curation.io.storage import Storage
from training.data.group_cache import GroupCache
from training.data.held_groups import HeldGroups
from training.data.sample_order import DataState, EpochOrder, SampleOrder, worker_positions
from training.data.shard_index import ShardIndex
from training.data.shard_reader import RowGroup, ShardReader
from training.data.tokenizer import Tokenizer
from training.data.views.image_transform import PUBLISHED, ImageTransform
from training.data.views.seeds import view_seed
from training.data.views.text_transform import TextTransform


class Batch(NamedTuple):
    """The part of one step that a rank computes, ordered by position.

    Attributes:
        positions: int64 (b,).
        images: uint8 (b, side, side, 3).
        tokens: int32 (b, context length).
        row_groups: number of row groups that were read from storage since the batch before.
        replaced: images that cannot be decoded and were replaced, each with its place and the error.
        languages: number of samples of each language.
    """

    positions: torch.Tensor
    images: torch.Tensor
    tokens: torch.Tensor
    row_groups: int = 0
    replaced: Sequence[str] = ()
    languages: Mapping[str, int] = {}


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
        transform: how images are shown.
        text: which text of an image is shown, and how.
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
    transform: ImageTransform = PUBLISHED
    text: TextTransform = field(default_factory=TextTransform)


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
        with_matched = config.text.reads_matched
        state, left, counted = self.start, self.steps, 0
        with closing(ShardReader(self.index, self._storage, cache, with_matched=with_matched)) as reader:
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
        images = _empty_images(len(positions), self.config.image_size)
        pixels, texts, replaced = images.numpy(), [], []
        languages: Counter[str] = Counter()
        for number, position in enumerate(positions):
            location = order.locate(position)
            seed = u64(self.config.order.seed, "crop", str(epoch), str(position))
            errors: list[InputError] = []
            group = groups.group(location)
            for row in self._rows_to_try(group, location.row):
                try:
                    self.config.transform.write(group.image(row), seed, pixels[number])
                    text, language = self._text(group, row, epoch, position)
                    texts.append(text)
                    languages[language] += 1
                    break
                except InputError as error:
                    errors.append(InputError(f"{reader.describe(location._replace(row=row))}: {error}"))
            else:
                raise errors[0]
            replaced += [str(error) for error in errors]
        return Batch(
            torch.tensor(positions, dtype=torch.int64),
            images,
            self._tokenizer(texts),
            replaced=replaced,
            languages=dict(languages),
        )

    def _text(self, group: RowGroup, row: int, epoch: int, position: int) -> tuple[str, str]:
        """Return the text that this visit shows, and its language."""
        seed = view_seed(self.config.order.seed, "text", "text", epoch=epoch, position=position)
        return self.config.text.show(group.text(row), group.language(row), group.matched(row), seed)

    def _rows_to_try(self, group: RowGroup, row: int) -> Iterator[int]:
        """Yield a row, and the others of its group after it if they may replace it."""
        yield row
        if self.config.on_bad_row == "replace":
            yield from ((row + step) % len(group) for step in range(1, len(group)))


def _empty_images(count: int, size: int) -> torch.Tensor:
    """Return memory for images; in a loader process, memory that the main process shares, so that none are copied."""
    shape = (count, size, size, 3)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    shared = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return torch.empty(0, dtype=torch.uint8).set_(shared).view(shape)
