"""Where the hashes of pictures come from: published images of a batch, and hash lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.dedup.hash_list import read_hash_list
from curation.dedup.picture_hashes import HASHES, IMAGES_COLUMNS, Embed, hashes_of_images
from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.parquet_read import read_batches

ROWS_PER_UNIT = 4 << 20
ROWS_AT_ONCE = 8192
ROWS_TO_EMBED = 64
BYTES_TO_EMBED = 64 << 20  # of the images of so many rows, on average


@dataclass(frozen=True)
class KeptImages:
    """Some files of `images` of a batch, without the images that the batch's files of `duplicates` name."""

    images: Sequence[DataFile]
    removed: Sequence[DataFile]

    def __str__(self) -> str:
        return f"{len(self.images)} files of images from {self.images[0].path}"

    def read(self, storage: Storage, embed: Embed | None = None) -> pa.Table:
        """Return the hashes (schema `HASHES`), with those of embeddings if `embed` makes them."""
        removed = [
            batch["image_id"] for file in self.removed for batch in read_batches(storage, file.path, ["image_id"])
        ]
        ids = pa.chunked_array(removed, pa.string())
        columns = [*IMAGES_COLUMNS, "image"] if embed else IMAGES_COLUMNS
        parts = [
            hashes_of_images(batch, embed)
            for file in self.images
            for batch in read_batches(storage, file.path, columns, _rows_to_embed(file) if embed else ROWS_AT_ONCE)
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
        return read_hash_list(storage, self.path)


def units_to_embed(images: Snapshot) -> list[KeptImages]:
    """Cut the images of a batch into units of one file each: a model takes long, and the pictures are read."""
    return [KeptImages([file], ()) for file in images.files]


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


def _rows_to_embed(file: DataFile) -> int:
    """Return how many rows with images to read at once."""
    return max(1, min(ROWS_TO_EMBED, BYTES_TO_EMBED * file.rows // max(1, file.size)))
