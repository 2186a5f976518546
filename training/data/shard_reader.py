"""Reading samples from shards: one row group at a time, only the columns that training needs.

Streams that need the same row group share it while one of them holds it. Where the index has a draw's key, the texts
are those that the draw chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curation.balance.sampling import DrawKey, draw_texts
from curation.errors import InputError
from curation.io.storage import Storage, first_line
from training.data.sample_order import Place
from training.data.shard_index import ShardIndex

Integers = npt.NDArray[np.int64]

DRAW_COLUMNS = ("image_id", "texts.list.element.text", "texts.list.element.keep_probability")


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
