"""Where the hashes of pictures come from: published images of a batch, and hash lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from curation.dedup.hash_list import read_hash_list
from curation.dedup.picture_hashes import HASHES, IMAGES_COLUMNS, Embed, hashes_of_images
from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.parquet_read import read_batches
from jobs.tasks.dedup.files import RemovedImages
from jobs.tasks.images.splits import part_of

ROWS_PER_UNIT = 4 << 20
ROWS_AT_ONCE = 8192
ROWS_TO_EMBED = 64
BYTES_TO_EMBED = 64 << 20  # of the images of so many rows, on average


@dataclass(frozen=True)
class KeptImages:
    """Some files of `images`, each with the files of `duplicates` that may name images of it, which are left out."""

    files: Sequence[tuple[DataFile, Sequence[DataFile]]]

    def __str__(self) -> str:
        return f"{len(self.files)} files of images from {self.files[0][0].path}"

    def read(self, storage: Storage, embed: Embed | None = None) -> pa.Table:
        """Return the hashes (schema `HASHES`), with those of embeddings if `embed` makes them."""
        columns = [*IMAGES_COLUMNS, "image"] if embed else IMAGES_COLUMNS
        parts = [HASHES.empty_table()]
        for duplicates, files in groupby(self.files, itemgetter(1)):
            removed = [b["image_id"] for each in duplicates for b in read_batches(storage, each.path, ["image_id"])]
            ids = pa.chunked_array(removed, pa.string())
            for file, _ in files:
                for batch in read_batches(storage, file.path, columns, _rows_to_embed(file) if embed else ROWS_AT_ONCE):
                    hashes = hashes_of_images(batch, embed)
                    parts.append(hashes.filter(pc.invert(pc.is_in(hashes["name"], ids))) if len(ids) else hashes)
        return pa.concat_tables(parts)


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
    return [KeptImages([(file, ())]) for file in images.files]


def units_of(batches: Iterable[tuple[Snapshot, Snapshot | None]]) -> Iterator[KeptImages]:
    """Cut the images of some batches, each with its duplicates, into units of about `ROWS_PER_UNIT` rows, in order.

    A unit may have images of several batches, so the number of units depends on the images alone.
    """
    unit: list[tuple[DataFile, Sequence[DataFile]]] = []
    rows = 0
    for images, duplicates in batches:
        removed = RemovedImages(duplicates.files if duplicates else ())
        for file in images.files:
            if unit and rows + file.rows > ROWS_PER_UNIT:
                yield KeptImages(unit)
                unit, rows = [], 0
            unit.append((file, removed.files_for([part_of(file)])))
            rows += file.rows
    if unit:
        yield KeptImages(unit)


def _rows_to_embed(file: DataFile) -> int:
    """Return how many rows with images to read at once."""
    return max(1, min(ROWS_TO_EMBED, BYTES_TO_EMBED * file.rows // max(1, file.size)))
