"""Stored images of an earlier run, so that the same image is not requested twice.

Buckets of `images` follow the curated order, and each file is sorted by image_id. A first pass reads the ids of every
file and notes the range of their order hashes; a bucket of the new run reads only the files whose range overlaps its
own. Images in a damaged file count as not stored.
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
from curation.io.storage import Storage
from curation.jit.hash_columns import u64_column
from curation.lake.files import DataFile
from curation.lake.lake import Lake
from curation.lake.parquet_read import read_batches
from curation.lake.presence import file_problems
from jobs.runtime.context import Context
from jobs.runtime.freshness import made_with, recorded_inputs
from jobs.runtime.runs import find_run

log = logging.getLogger(__name__)

NOT_FETCHED = "not_fetched"  # reason of an image that a run without downloads did not find
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
        return order_range(self.seed, (batch["image_id"] for batch in _intact(self.storage, file.path, ["image_id"])))


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

    Images that failed count as stored too, except for those with one of the reasons `retried`, or with any reason if it
    is None. With `references`, so do images that are read by reference: unlike a URL, a reference may name another
    picture when its file has changed.
    """

    storage: Storage
    seed: int
    files: Sequence[tuple[str, OrderRange]]
    retried: frozenset[str] | None
    references: bool

    def find(self, rows: pa.Table) -> dict[str, dict[str, Any]]:
        """Return the stored rows of curated images (image_id, image_url), by id, without their bucket."""
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
            for batch in _intact(self.storage, path, None):
                found = batch.filter(pc.is_in(batch["image_id"], ids)).drop_columns(["bucket"])
                stored |= {row["image_id"]: row for row in found.to_pylist() if self._usable(row)}
        return stored

    def _usable(self, row: Mapping[str, Any]) -> bool:
        if row["status"] == "ok":
            return True
        return self.retried is not None and row["reason"] not in {NOT_FETCHED, *self.retried}


def find_all(sources: Iterable[StoredImages], rows: pa.Table) -> dict[str, dict[str, Any]]:
    """Return the stored rows of curated images as `StoredImages.find` does, from the first source that has them."""
    stored: dict[str, dict[str, Any]] = {}
    for source in sources:
        stored |= source.find(rows.filter(pc.invert(pc.is_in(rows["image_id"], pa.array(stored, pa.string())))))
    return stored


def retried_reasons(context: Context) -> frozenset[str] | None:
    """Return the reasons whose images are requested again when the images are fetched; None for all."""
    return frozenset(context.retry_failed) if context.retry_failed else None


def _intact(storage: Storage, path: str, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file before the damage, if it is damaged."""
    try:
        yield from read_batches(storage, path, columns, ROWS_AT_ONCE)
    except DamagedLakeError as error:
        log.warning("images: the images of this file are fetched again: %s", error)


def find_stored(
    context: Context, row: Mapping[str, Any] | None, keys: Mapping[str, Any], partition: Mapping[str, str], curated: str
) -> list[StoredImages]:
    """Return the images that the published run of `images` stored, if the next run may use them.

    Args:
        context: without `fetch`, every row may be used, failures too, because no image can be requested; with
            `retry_failed`, so may the failures for other reasons.
        row: the row of the published run.
        keys: the settings and the algorithm number of the next run; those of the published run must be equal.
        partition: the partition of `images`.
        curated: the run that wrote the curated pairs.
    """
    if row is None or (context.fetch and not made_with(row, "images", keys)):
        return []
    files = context.lake.snapshot("images", partition).files
    lost = file_problems(context.storage, files)
    files = tuple(file for file in files if file.rows and file.path not in lost)
    ranges = context.run_tasks("images: stored", files, FindRange(context.storage, context.config.seed))
    pairs = [_pairs_behind(context.lake, run) for run in (curated, *recorded_inputs(row)["curated"])]
    stored = StoredImages(
        context.storage,
        context.config.seed,
        [(file.path, part) for file, part in zip(files, ranges, strict=True)],
        retried=retried_reasons(context) if context.fetch else frozenset(),
        references=not context.fetch or (len(set(pairs)) == 1 and pairs[0] is not None),
    )
    return [stored]


def _pairs_behind(lake: Lake, curated: str) -> str | None:
    """Return the run that wrote the pairs from which a run of balance made its curated pairs; None if unknown."""
    run_id: str | None = curated
    for table, source in (("curated", "matches"), ("matches", "pairs")):
        row = find_run(lake, run_id, table) if run_id else None
        run_id = next(iter(recorded_inputs(row).get(source, ())), None) if row else None
    return run_id
