"""Stored images of an earlier run, so that the same image is not requested twice.

Buckets of `images` follow the curated order, and each file is sorted by image_id. A first pass reads the ids of every
file and notes the range of their order hashes; a bucket of the new run reads only the ids of the files whose range
overlaps its own, and the row groups that have one of its images. Images in a damaged file count as not stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import DamagedLakeError
from curation.images import fetch
from curation.images.filters.base import ImageFilter
from curation.images.filters.stored import judged
from curation.io.storage import Storage
from curation.jit.hash_columns import u64_column
from curation.lake.files import DataFile
from curation.lake.parquet_read import read_batches, read_matching
from jobs.tasks.images.splits import Slice, read_slices

log = logging.getLogger(__name__)

NOT_FETCHED = "not_fetched"  # reason of an image that a run without downloads did not find
UNREACHED = fetch.TIME_OVER | {NOT_FETCHED}  # reasons of images that the next run tries in any case
ROWS_AT_ONCE = 256


class OrderRange(msgspec.Struct):
    """The smallest and largest order hash of the images in a file; a file without images has an empty range."""

    first: int
    last: int


@dataclass(frozen=True)
class FindRange:
    """Finds the range of the order hashes of a file of `images`."""

    storage: Storage
    seed: int

    def __call__(self, _: int, file: DataFile) -> OrderRange:
        """Return the range."""
        batches = _intact(read_batches(self.storage, file.path, ["image_id"]))
        return order_range(self.seed, (batch["image_id"] for batch in batches))


def order_range(seed: int, ids: Iterable[pa.Array]) -> OrderRange:
    """Return the range of the order hashes of some arrays of image ids."""
    first, last = (1 << 64) - 1, 0
    for array in ids:
        if len(array):
            hashes = u64_column(seed, "order", array)
            first, last = min(first, int(hashes.min())), max(last, int(hashes.max()))
    return OrderRange(first, last)


@dataclass(frozen=True)
class StoredImages:
    """Finds rows of an earlier run's `images` by image_id.

    Images that failed count as stored too, except for those with a reason in `retried` or `UNREACHED`, or with any
    reason if `retried` is None, and if the filters `judge` those that one of them dropped. With `references`, so do
    images that are read by reference: unlike a URL, a reference may name another picture when its file has changed.

    Attributes:
        texts: for verdicts that depend on the texts of images, the curated rows that each file was made from, by its
            path; an image with another text now counts as not stored.
        judge: whether the filters, which have other thresholds now, judge the scores of the images.
    """

    storage: Storage
    seed: int
    files: Sequence[tuple[str, OrderRange]]
    retried: frozenset[str] | None
    references: bool
    texts: Mapping[str, Sequence[Slice]] | None = None
    judge: bool = False

    def find(self, rows: pa.Table, filters: Sequence[ImageFilter]) -> dict[str, dict[str, Any]]:
        """Return the stored rows of curated images (image_id, image_url, text), by id, without their bucket."""
        if not self.references:
            rows = rows.filter(pc.is_valid(rows["image_url"]))
        ids = rows["image_id"].combine_chunks()
        if not len(ids):
            return {}
        hashes = u64_column(self.seed, "order", ids)
        first, last = int(hashes.min()), int(hashes.max())
        paths = [path for path, part in self.files if part.first <= last and part.last >= first]
        stored: dict[str, dict[str, Any]] = {}
        for path in paths:
            ids_in_file = ids if self.texts is None else self._ids_with_same_text(rows, self.texts.get(path))
            if len(ids_in_file):
                for batch in _intact(read_matching(self.storage, path, "image_id", ids_in_file, rows=ROWS_AT_ONCE)):
                    found = batch.drop_columns(["bucket"]).to_pylist()
                    usable = [row for row in found if self._usable(row)]
                    stored |= {row["image_id"]: judged(row, filters) if self.judge else row for row in usable}
        return stored

    def _ids_with_same_text(self, rows: pa.Table, slices: Sequence[Slice] | None) -> pa.Array:
        """Return the ids of the images that have the same text in some earlier curated rows; none if those are lost."""
        if slices is None:
            return pa.array([], pa.string())
        try:
            earlier = read_slices(self.storage, slices, ["image_id", "text"])
        except DamagedLakeError as error:
            log.warning("images: the texts of stored images are unknown, so these are fetched again: %s", error)
            return pa.array([], pa.string())
        texts = earlier["text"].take(pc.index_in(rows["image_id"], earlier["image_id"]))
        return rows["image_id"].filter(pc.equal(rows["text"], texts)).combine_chunks()

    def _usable(self, row: Mapping[str, Any]) -> bool:
        if row["status"] == "ok":
            return True
        if self.judge and row["scores"] is not None:  # the filters saw pixels that are not stored
            return False
        return self.retried is not None and row["reason"] not in UNREACHED | self.retried


def find_all(
    sources: Iterable[StoredImages], rows: pa.Table, filters: Sequence[ImageFilter]
) -> dict[str, dict[str, Any]]:
    """Return the stored rows of curated images as `StoredImages.find` does, from the first source that has them."""
    stored: dict[str, dict[str, Any]] = {}
    for source in sources:
        missing = pc.invert(pc.is_in(rows["image_id"], pa.array(stored, pa.string())))
        stored |= source.find(rows.filter(missing), filters)
    return stored


def _intact(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a file before the damage, if it is damaged."""
    try:
        yield from batches
    except DamagedLakeError as error:
        log.warning("images: the images of this file are not used again: %s", error)
