"""Loading batches: each rank and worker reads the row groups its positions lie in, decodes, crops and tokenises.

A row group is read once per worker and window (see `training.data.sample_order`) with the columns training
needs, and its images are decoded one by one as their turn comes. Where the index has a draw's key, the texts are those
that the draw chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curation.balance.sampling import DrawKey, draw_texts
from curation.errors import InputError, WorldcurateError
from curation.hashing import u64
from curation.io.storage import Storage, first_line
from training.data.sample_order import EpochOrder, Place, Progress, SampleOrder, own_positions
from training.data.shard_index import ShardIndex
from training.data.tokenizer import Tokenizer
from training.data.transforms import decode, random_box, resize

Integers = npt.NDArray[np.int64]

DRAW_COLUMNS = ("image_id", "texts.list.element.text", "texts.list.element.keep_probability")


class Batch(NamedTuple):
    """A rank's part of a step, ordered by position.

    `positions` int64 (b,), `images` uint8 (b, side, side, 3), `tokens` int32 (b, context length).
    """

    positions: torch.Tensor
    images: torch.Tensor
    tokens: torch.Tensor


class RowGroup:
    """The samples of one row group, in the index's order: the images of `rows` of the group, and their texts."""

    def __init__(self, images: pa.ChunkedArray, rows: Integers, texts: pa.Array) -> None:
        self._images, self._rows, self._texts = images, rows, texts

    def __getitem__(self, row: int) -> tuple[bytes, str]:
        return self._images[int(self._rows[row])].as_py(), self._texts[row].as_py()

    def __len__(self) -> int:
        return len(self._rows)


class ShardReader:
    """Reads samples from the shards of an index.

    Args:
        index: which rows there are.
        storage: how the files are reached.
    """

    def __init__(self, index: ShardIndex, storage: Storage) -> None:
        self._index = index
        self._storage = storage
        self._shared: WeakValueDictionary[int, RowGroup] = WeakValueDictionary()
        self._held: dict[int, dict[int, RowGroup]] = {}

    def read(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of all rows of a row group. Raises InputError when it cannot be read."""
        path = self._index.files[self._index.group_file[group]]
        with self._storage.open_input(path) as source:
            try:
                file = pq.ParquetFile(source)
                return file.read_row_group(int(self._index.group_number[group]), columns=list(columns))
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{path} is not a readable shard: {first_line(error)}") from error

    def load(self, group: int) -> RowGroup:
        """Return a row group, which several streams may share while one of them holds it."""
        loaded = self._shared.get(group)
        if loaded is None:
            rows, key = self._index.rows(group), self._index.key
            table = self.read(group, ("image", "text") if key is None else ("image", *DRAW_COLUMNS))
            texts = table["text"].take(pa.array(rows)) if key is None else self._drawn(group, table, key)[1]
            loaded = RowGroup(table["image"], rows, texts)
            self._shared[group] = loaded
        return loaded

    def draw(self, group: int, key: DrawKey) -> tuple[npt.NDArray[np.bool_], pa.Array]:
        """Draw a row group's samples: which are kept, and each one's chosen text. Raises InputError as `read` does."""
        return self._drawn(group, self.read(group, DRAW_COLUMNS), key)

    def _drawn(self, group: int, table: pa.Table, key: DrawKey) -> tuple[npt.NDArray[np.bool_], pa.Array]:
        samples = table.select(["image_id", "texts"]).take(pa.array(self._index.rows(group)))
        try:
            return draw_texts(key, *(samples[name].combine_chunks() for name in ("image_id", "texts")))
        except (KeyError, ValueError) as error:
            path = self._index.files[self._index.group_file[group]]
            raise InputError(
                f"{path} has rows without texts or probabilities to draw from: balance and fetch again"
            ) from error

    def sample(self, place: Place) -> tuple[bytes, str]:
        """Return the image bytes and text at a place; a stream lets go of what lies before its window."""
        held = self._held.setdefault(place.stream, {})
        if place.turn not in held:
            held[place.turn] = self.load(place.group)
            for turn in [turn for turn in held if turn < place.oldest]:
                del held[turn]
        return held[place.turn][place.row]

    def rewind(self) -> None:
        """Let go of everything: a new epoch has another sequence of row groups."""
        self._held.clear()

    def texts(self, key: DrawKey | None = None) -> Iterator[str]:
        """Yield the texts of all samples in file order; with a key, of those it draws."""
        for group in np.flatnonzero(self._index.counts).tolist():
            if key is None:
                texts = self.read(group, ("text",))["text"].take(pa.array(self._index.rows(group)))
            else:
                mask, chosen = self.draw(group, key)
                texts = chosen.filter(pa.array(mask))
            yield from texts.to_pylist()

    def describe(self, place: Place) -> str:
        """Name a place as an error message does."""
        return self._index.describe(place.group, int(self._index.rows(place.group)[place.row]))


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
