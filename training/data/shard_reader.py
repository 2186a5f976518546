"""Read samples from shards, one row group at a time and only the columns that training needs.

If the index has a draw key, the texts are the ones that this draw chooses; otherwise they are the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.balance.sampling import DrawKey, DrawnTexts, draw_texts
from curation.errors import InputError
from curation.io.storage import Storage
from curation.lake.checked_file import named_damage, open_parquet
from training.data.group_cache import GroupCache
from training.data.sample_order import SampleLocation
from training.data.shard_index import ShardIndex
from training.data.tables.annotations import FRAMES, AnnotationReader
from training.data.tables.open_files import OpenFiles
from training.data.views.text_transform import MatchedText

Integers = npt.NDArray[np.int64]

MATCHED_COLUMNS: Final = tuple(f"texts.list.element.{name}" for name in ("text", "lang", "source"))
DRAW_COLUMNS: Final = ("image_id", *(f"texts.list.element.{name}" for name in ("text", "lang", "keep_probability")))


class RowGroup:
    """The samples of one row group in index order: the images in `rows` of the group, their texts and languages.

    `matched` has all matched texts of each image, as lists of structs, `annotations` the columns beside the samples,
    and `ids` the image_ids; None, also of the images: they were not read.
    """

    def __init__(
        self,
        images: pa.ChunkedArray | None,
        rows: Integers,
        texts: pa.Array,
        languages: pa.Array,
        *,
        matched: pa.ChunkedArray | None = None,
        annotations: pa.Table | None = None,
        ids: pa.ChunkedArray | None = None,
    ) -> None:
        if images is not None:
            if 2 * len(rows) < len(images):  # hold only the images of the samples
                images, rows = images.take(pa.array(rows)), np.arange(len(rows))
            column = images.chunk(0) if images.num_chunks == 1 else images.combine_chunks()
            _, offsets, data = column.buffers()
            self._offsets = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset)
            self._data = memoryview(data or b"").cast("B")  # decoders refuse signed bytes
        self._rows, self._texts, self._languages = rows, texts, languages
        self._matched, self._annotations, self._ids = matched, annotations, ids

    def __getitem__(self, row: int) -> tuple[bytes, str]:
        return bytes(self.image(row)), self.text(row)

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, row: int) -> memoryview:
        """Return the bytes of a sample's image, without a copy; they keep the whole row group in memory."""
        start, end = self._offsets[self._rows[row] : self._rows[row] + 2].tolist()
        return self._data[start:end]

    def text(self, row: int) -> str:
        """Return the text of a sample."""
        return str(self._texts[row].as_py())

    def language(self, row: int) -> str:
        """Return the language of a sample's text."""
        return str(self._languages[row].as_py())

    def image_id(self, row: int) -> str:
        """Return the image_id of a sample, which must have been read."""
        assert self._ids is not None, "read with ids"
        return str(self._ids[row].as_py())

    def matched(self, row: int) -> dict[str, MatchedText]:
        """Return language and source of all matched texts of a sample's image by text; none if they were not read."""
        texts = self._matched[row].as_py() if self._matched is not None else None
        return {text["text"]: MatchedText(text["lang"], text["source"]) for text in texts or ()}

    def annotation(self, column: str, row: int) -> Any:
        """Return the value of a sample in a column of the annotations that the index reads."""
        return self._annotation(column, row).as_py()

    def vector(self, column: str, row: int, size: int) -> npt.NDArray[np.float32]:
        """Return a vector of the annotations. Raises InputError if a sample has none, or one of another size."""
        vector = self._annotation(column, row)
        values: npt.NDArray[np.float32] = vector.values.to_numpy() if vector.is_valid else np.empty(0, np.float32)
        if len(values) != size:
            has = f"has {len(values)} numbers" if vector.is_valid else "is missing"
            raise InputError(f"annotations: the vector {column} {has}, not {size}: run jobs.annotate with that model")
        return values

    def frames(self, row: int) -> list[memoryview]:
        """Return the encoded frames of a sample's video, without copies. Raises InputError if it has none."""
        frames = self._annotation(FRAMES, row)
        if not (frames.is_valid and len(frames.values)):
            raise InputError("annotations: the sample has no frames: leave out such samples with select: {frames: {}}")
        return [memoryview(frame.as_buffer()).cast("B") for frame in frames.values]

    def written(self, row: int, columns: Sequence[str]) -> dict[str, list[str]]:
        """Return the texts of a sample in some columns of the annotations, by column."""
        values = {column: self.annotation(column, row) for column in columns}
        return {column: _texts(value) for column, value in values.items()}

    def _annotation(self, column: str, row: int) -> pa.Scalar:
        assert self._annotations is not None, "the index names the columns"
        return self._annotations[column][row]


def _texts(value: Any) -> list[str]:
    """Return the texts of a value: of a list of written texts, or of a text; null has none."""
    if isinstance(value, str):
        return [value]
    return [each["text"] for each in value or ()]


class ShardReader:
    """Reads samples from the shards of an index.

    `load` keeps the files that it reads open, so one thread at a time may call it.

    Args:
        index: the samples.
        storage: access to the files.
        cache: where row groups are shared with the other workers of the host, if they need the same ones.
        with_matched: whether `load` reads all matched texts of each image.
        with_ids: whether `load` reads the image_ids.
        with_images: whether `load` reads the images.

    Attributes:
        index: the samples.
    """

    def __init__(
        self,
        index: ShardIndex,
        storage: Storage,
        cache: GroupCache | None = None,
        *,
        with_matched: bool = False,
        with_ids: bool = False,
        with_images: bool = True,
    ) -> None:
        self.index, self._with_matched, self._with_ids = index, with_matched, with_ids
        self._with_images = with_images
        self._storage = storage
        self._cache = cache
        self._num_loaded = self._num_reported = 0
        self._files = OpenFiles(storage)
        self._beside = AnnotationReader(index.annotations, self._files) if index.annotations else None

    def read(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of all rows of a row group. Raises DamagedLakeError if its file is missing or damaged."""
        with open_parquet(self._storage, self.index.files[self.index.group_file[group]]) as file:
            return file.read_row_group(int(self.index.group_number[group]), columns=list(columns))

    def load(self, group: int) -> RowGroup:
        """Return the samples of a row group. Raises DamagedLakeError if its file is missing or damaged."""
        rows, key = self.index.rows(group), self.index.key
        columns: tuple[str, ...] = ("text", "lang") if key is None else DRAW_COLUMNS
        if self._with_images:
            columns = ("image", *columns)
        if self._with_matched:
            columns += MATCHED_COLUMNS
        if self._beside or self._with_ids:
            columns += ("image_id",)
        columns = tuple(dict.fromkeys(columns))
        read = partial(self._load, group, columns)
        path, number = self.index.files[self.index.group_file[group]], self.index.group_number[group]
        table = self._cache.table(f"{path}|{number}|{columns}", read) if self._cache else read()
        if key is None:
            texts, languages = (table[name].take(pa.array(rows)) for name in ("text", "lang"))
        else:
            _, texts, languages = self._draw_from(group, table, key)
        matched = None
        if self._with_matched:
            if "texts" not in table.column_names:
                raise self._without_texts(group)
            matched = table["texts"].take(pa.array(rows))
        annotations = None
        if self._beside:
            of_group = self._beside.read(int(self.index.group_file[group]), int(number), table["image_id"])
            annotations = of_group if len(rows) == len(of_group) else of_group.take(pa.array(rows))
        ids = table["image_id"].take(pa.array(rows)) if self._with_ids else None
        images = table["image"] if self._with_images else None
        return RowGroup(images, rows, texts, languages, matched=matched, annotations=annotations, ids=ids)

    def _load(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of a row group as `read` does, and keep its file open."""
        self._num_loaded += 1
        path = self.index.files[self.index.group_file[group]]
        with named_damage(path):
            return self._files.open(path).read_row_group(
                int(self.index.group_number[group]),
                columns=list(columns),
                use_threads=False,  # Arrow's threads free their buffers late
            )

    def newly_loaded(self) -> int:
        """Return how many row groups `load` has read from storage since the last call."""
        before, self._num_reported = self._num_reported, self._num_loaded
        return self._num_reported - before

    def languages(self, group: int) -> pa.ChunkedArray | pa.Array:
        """Return the languages of a row group's samples. Raises what `draw` raises."""
        if self.index.key is not None:
            return self.draw(group, self.index.key).languages
        return self.read(group, ("lang",))["lang"].take(pa.array(self.index.rows(group)))

    def draw(self, group: int, key: DrawKey) -> DrawnTexts:
        """Return which samples of a row group `key` draws, and the text it chooses for each sample.

        Raises InputError if the group cannot be read or has no texts or probabilities to draw from.
        """
        return self._draw_from(group, self.read(group, DRAW_COLUMNS), key)

    def _draw_from(self, group: int, table: pa.Table, key: DrawKey) -> DrawnTexts:
        samples = table.select(["image_id", "texts"]).take(pa.array(self.index.rows(group)))
        try:
            return draw_texts(key, *(samples[name].combine_chunks() for name in ("image_id", "texts")))
        except (KeyError, ValueError) as error:
            raise self._without_texts(group) from error

    def _without_texts(self, group: int) -> InputError:
        path = self.index.files[self.index.group_file[group]]
        return InputError(f"{path} has rows without texts or probabilities to draw from: balance and fetch again")

    def describe(self, location: SampleLocation) -> str:
        """Return a sample's file, row group and row for an error message."""
        return self.index.describe(location.group, int(self.index.rows(location.group)[location.row]))

    def close(self) -> None:
        """Close the open files."""
        self._files.close()
