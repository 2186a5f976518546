"""Where the hashes of pictures come from: published images of a batch, and hash lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.dedup.picture_hashes import HASHES, IMAGES_COLUMNS, LIST_COLUMNS, hashes_of_images, hashes_of_list
from curation.errors import InputError
from curation.io.failures import first_line
from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.parquet_read import read_batches

ROWS_PER_UNIT = 4 << 20


@dataclass(frozen=True)
class KeptImages:
    """Some files of `images` of a batch, without the images that the batch's files of `duplicates` name."""

    images: Sequence[DataFile]
    removed: Sequence[DataFile]

    def __str__(self) -> str:
        return f"{len(self.images)} files of images from {self.images[0].path}"

    def read(self, storage: Storage) -> pa.Table:
        """Return the hashes (schema `HASHES`)."""
        removed = [
            batch["image_id"] for file in self.removed for batch in read_batches(storage, file.path, ["image_id"])
        ]
        ids = pa.chunked_array(removed, pa.string())
        parts = [
            hashes_of_images(batch)
            for file in self.images
            for batch in read_batches(storage, file.path, IMAGES_COLUMNS)
        ]
        table = pa.concat_tables([HASHES.empty_table(), *parts])
        return table.filter(pc.invert(pc.is_in(table["name"], ids))) if len(ids) else table


@dataclass(frozen=True)
class ListedPictures:
    """The pictures of a hash list."""

    path: str

    def __str__(self) -> str:
        return self.path

    def read(self, storage: Storage) -> pa.Table:
        """Return the hashes (schema `HASHES`). Raises InputError if the file is not a hash list."""
        try:
            return hashes_of_list(self._open(storage).read(LIST_COLUMNS))
        except (pa.ArrowException, ValueError) as error:
            raise self._refused(first_line(error)) from error

    def check(self, storage: Storage) -> None:
        """Raise InputError if the file cannot be read or lacks columns."""
        try:
            names = self._open(storage).schema_arrow.names
        except pa.ArrowException as error:
            raise self._refused(first_line(error)) from error
        if lacking := [name for name in LIST_COLUMNS if name not in names]:
            raise self._refused(f"it has no column {', '.join(lacking)}")

    def _open(self, storage: Storage) -> Any:
        return pq.ParquetFile(storage.open_input(self.path))

    def _refused(self, what: str) -> InputError:
        return InputError(
            f"dedup.hash_lists: {self.path} is not a hash list ({what}): make it with jobs.make_hash_list"
        )


def units_of(images: Snapshot, removed: Snapshot | None = None) -> Iterator[KeptImages]:
    """Cut the images of a batch into units of about `ROWS_PER_UNIT` rows."""
    unit: list[DataFile] = []
    rows = 0
    duplicates = removed.files if removed else ()
    for file in images.files:
        if unit and rows + file.rows > ROWS_PER_UNIT:
            yield KeptImages(unit, duplicates)
            unit, rows = [], 0
        unit.append(file)
        rows += file.rows
    if unit:
        yield KeptImages(unit, duplicates)
