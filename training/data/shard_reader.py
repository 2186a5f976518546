"""Read samples from shards, one row group at a time and only the columns that training needs.

Streams that need the same row group share it while one of them holds it. If the index has a draw key, the texts are the
ones that this draw chooses; otherwise they are the published ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.balance.sampling import DrawKey, draw_texts
from curation.errors import InputError
from curation.io.storage import Storage
from curation.lake.checked_file import open_parquet
from training.data.sample_order import SampleLocation
from training.data.shard_index import ShardIndex

Integers = npt.NDArray[np.int64]

DRAW_COLUMNS = ("image_id", "texts.list.element.text", "texts.list.element.keep_probability")


class RowGroup:
    """The samples of one row group in index order: the images in `rows` of the group, and their texts."""

    def __init__(self, images: pa.ChunkedArray, rows: Integers, texts: pa.Array) -> None:
        self._images, self._rows, self._texts = images, rows, texts

    def __getitem__(self, row: int) -> tuple[bytes, str]:
        return self._images[int(self._rows[row])].as_py(), self._texts[row].as_py()

    def __len__(self) -> int:
        return len(self._rows)


class ShardReader:
    """Reads samples from the shards of an index.

    Args:
        index: the samples.
        storage: access to the files.
    """

    def __init__(self, index: ShardIndex, storage: Storage) -> None:
        self._index = index
        self._storage = storage
        self._shared: WeakValueDictionary[int, RowGroup] = WeakValueDictionary()
        self._held: dict[int, dict[int, RowGroup]] = {}  # stream -> group index -> row group

    def read(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of all rows of a row group. Raises DamagedLakeError if its file is missing or damaged."""
        with open_parquet(self._storage, self._index.files[self._index.group_file[group]]) as file:
            return file.read_row_group(int(self._index.group_number[group]), columns=list(columns))

    def load(self, group: int) -> RowGroup:
        """Return a row group; streams share it as long as one of them holds it."""
        loaded = self._shared.get(group)
        if loaded is None:
            rows, key = self._index.rows(group), self._index.key
            table = self.read(group, ("image", "text") if key is None else ("image", *DRAW_COLUMNS))
            texts = table["text"].take(pa.array(rows)) if key is None else self._draw_from(group, table, key)[1]
            loaded = RowGroup(table["image"], rows, texts)
            self._shared[group] = loaded
        return loaded

    def draw(self, group: int, key: DrawKey) -> tuple[npt.NDArray[np.bool_], pa.Array]:
        """Return which samples of a row group `key` draws, and the text it chooses for each sample.

        Raises InputError if the group cannot be read or has no texts or probabilities to draw from.
        """
        return self._draw_from(group, self.read(group, DRAW_COLUMNS), key)

    def _draw_from(self, group: int, table: pa.Table, key: DrawKey) -> tuple[npt.NDArray[np.bool_], pa.Array]:
        samples = table.select(["image_id", "texts"]).take(pa.array(self._index.rows(group)))
        try:
            return draw_texts(key, *(samples[name].combine_chunks() for name in ("image_id", "texts")))
        except (KeyError, ValueError) as error:
            path = self._index.files[self._index.group_file[group]]
            raise InputError(
                f"{path} has rows without texts or probabilities to draw from: balance and fetch again"
            ) from error

    def sample(self, location: SampleLocation) -> tuple[bytes, str]:
        """Return image bytes and text of a sample, and release the groups before the window of its stream."""
        held = self._held.setdefault(location.stream, {})
        if location.group_index not in held:
            held[location.group_index] = self.load(location.group)
            for group_index in [index for index in held if index < location.window_start]:
                del held[group_index]
        return held[location.group_index][location.row]

    def release(self) -> None:
        """Release all row groups; call it between epochs, which differ in their sequence of row groups."""
        self._held.clear()

    def texts(self, key: DrawKey | None = None) -> Iterator[str]:
        """Yield the texts of all samples in file order; with a key, of the samples that it draws."""
        for group in np.flatnonzero(self._index.counts).tolist():
            if key is None:
                texts = self.read(group, ("text",))["text"].take(pa.array(self._index.rows(group)))
            else:
                mask, chosen = self.draw(group, key)
                texts = chosen.filter(pa.array(mask))
            yield from texts.to_pylist()

    def describe(self, location: SampleLocation) -> str:
        """Return a sample's file, row group and row for an error message."""
        return self._index.describe(location.group, int(self._index.rows(location.group)[location.row]))
