"""Read the pairs of a recipe without the trainer: a plain dataset for PyTorch, and an iterator for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Literal

import numpy as np
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

from curation.io.storage import Storage
from curation.lake.lake import Lake
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader
from training.data.transforms import decode

Pair = tuple[Image.Image, str]


class PairDataset(IterableDataset[Pair]):
    """The pairs of a recipe, once, in the order of the shards, as upright RGB pictures with their texts.

    In a DataLoader, each worker process reads its share of the row groups. Pairs that takedowns removed are left out.

    Args:
        lake: a folder or `s3://bucket/prefix`.
        recipe: the recipe whose shards to read; it must hold the curated draw (balance.selection: drawn).
        batches: batches to read, or all.
        dataset: compacted dataset to read in the place of batches.
        version: version of the table; None: the newest.
        storage: options of the storage, such as the region; None: those of the environment.
    """

    def __init__(
        self,
        lake: str,
        recipe: str = "default",
        *,
        batches: Literal["all"] | Sequence[str] = "all",
        dataset: str | None = None,
        version: int | None = None,
        storage: Storage | None = None,
    ) -> None:
        self._storage = storage or Storage()
        opened = Lake(lake, self._storage)
        opened.check_exists()
        self._index = build_index(opened, recipe, batches=batches, dataset=dataset, version=version).train

    def __len__(self) -> int:
        return self._index.samples

    def __iter__(self) -> Iterator[Pair]:
        """Yield picture and text of every pair. Raises InputError if an image or a file cannot be read."""
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        with closing(ShardReader(self._index, self._storage)) as reader:
            for group in np.flatnonzero(self._index.counts)[first::step].tolist():
                rows = reader.load(group)
                for row in range(len(rows)):
                    yield decode(rows.image(row)), rows.text(row)


def iter_pairs(lake: str, recipe: str = "default") -> Iterator[Pair]:
    """Yield picture and text of every pair of a recipe, for example to look at some of them in a notebook."""
    yield from PairDataset(lake, recipe)
