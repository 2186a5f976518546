"""The task that fetches the images of some parts of the curated rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from curation.cli.config import ImagesSection
from curation.images.decode import ImageLimits
from curation.images.fetch import ImageRow
from curation.images.filters.apply import FilterRun, check_filters
from curation.images.filters.base import ImageFilter
from curation.images.filters.load import load_filters
from curation.images.refs.read import ImageRefs
from curation.images.refs.sources import RefSources
from curation.images.rows import failed_row, fetch_and_verify
from curation.images.statistics import HOSTS_PER_TASK, ImageStatistics
from curation.io.backend import FileStat
from curation.io.storage import Storage
from curation.lake.files import WrittenFile
from curation.lake.schemas import IMAGE_COLUMNS, written_schema
from curation.lake.tombstones import Tombstones
from jobs.runtime.partitions import WriterFactory
from jobs.runtime.work_unit import is_isolated
from jobs.tasks.images.filters import KnownFilters
from jobs.tasks.images.progress import FetchProgress
from jobs.tasks.images.reuse import NOT_FETCHED, StoredImages, find_all, order_range
from jobs.tasks.images.shared_fetcher import shared_fetcher
from jobs.tasks.images.splits import FetchPart, read_slices

ROWS_AT_ONCE = 256


class FetchedPart(msgspec.Struct):
    """The written rows of a part by reason, how many were stored before, how many a tombstone hides, statistics."""

    files: list[WrittenFile]
    reasons: dict[str, int]
    tombstone: int
    reused: int
    statistics: ImageStatistics


@dataclass(frozen=True)
class _OpenPart:
    """The rows of a part that tombstones keep, how many they hide, and the stored rows of images by id."""

    index: int
    rows: pa.Table
    hidden: int
    images: Sequence[ImageRow]
    stored: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class FetchParts:
    """Fetches the images of some parts, in each in the order of their ids, except for those that are stored.

    All parts are requested at the same time and written one after the other, so that the last slow hosts of one delay
    none of the next. Without `fetch`, images that are not stored are not requested and fail as `not_fetched`.
    """

    storage: Storage
    section: ImagesSection
    tombstones: Tombstones
    writers: WriterFactory
    refs: RefSources  # of images that need no download
    block_lists: Sequence[FileStat]
    stored: Sequence[StoredImages]
    progress: FetchProgress
    seed: int
    known: KnownFilters
    fetch: bool = True

    def __call__(self, _: int, parts: Sequence[FetchPart]) -> list[FetchedPart]:
        """Return the written rows of each part and how many were fetched or failed.

        Raises UsageError, before any request, if a filter fails for a synthetic image.
        """
        filters = load_filters(self.section.filters) if self.fetch else ()
        columns = [*(name for name, _ in IMAGE_COLUMNS), *(["text"] if filters else [])]
        opened = [self._open(part, columns, filters) for part in parts]
        missing = [image for part in opened for image in part.images if image[0] not in part.stored]
        if self.fetch and missing:
            check_filters(filters, self.section.max_side)
        filtering = FilterRun(filters, _texts(part.rows for part in opened)) if filters else None
        fetched = self._fetched(missing, filtering)
        return [self._write(part, fetched) for part in opened]

    def _open(self, part: FetchPart, columns: list[str], filters: Sequence[ImageFilter]) -> _OpenPart:
        """Read the rows of a part, and find their images that are stored, by an earlier attempt too."""
        rows = read_slices(self.storage, part.slices, columns)
        usable = rows.filter(self.tombstones.keep_mask(rows)).sort_by("image_id")
        images = list(zip(*(usable[name].to_pylist() for name in ("image_id", "image_url", "image_ref")), strict=True))
        earlier = self.progress.find(part.index)
        attempt = StoredImages(self.storage, self.seed, earlier, retried=frozenset(), references=True)
        stored = find_all([attempt, *self.stored], usable, filters)
        return _OpenPart(part.index, usable, rows.num_rows - usable.num_rows, images, stored)

    def _write(self, part: _OpenPart, fetched: Iterator[dict[str, Any]]) -> FetchedPart:
        """Write the rows of a part: those that are stored, and the next of those that are fetched."""
        reasons, statistics, reused = Counter[str](), ImageStatistics(), len(part.stored)
        schema = written_schema("images", scores=bool(self.known.keys))
        with self.writers("images", part.index, schema=schema) as writer:
            for start in range(0, len(part.images), ROWS_AT_ONCE):
                images = part.images[start : start + ROWS_AT_ONCE]
                made = [
                    {
                        "bucket": part.index,
                        **(part.stored.pop(image_id) if image_id in part.stored else next(fetched)),
                    }
                    for image_id, *_ in images
                ]
                reasons.update(row["reason"] or "ok" for row in made)
                for row, (_, url, _) in zip(made, images, strict=True):
                    statistics.count(row, url, self.known.ranges)
                writer.write(pa.Table.from_pylist(made, schema=schema))
        self.progress.record(part.index, writer.files, order_range(self.seed, part.rows["image_id"].chunks))
        statistics.keep_hosts(HOSTS_PER_TASK)
        return FetchedPart(writer.files, reasons, part.hidden, reused, statistics)

    def _fetched(self, images: Sequence[ImageRow], filters: FilterRun | None) -> Iterator[dict[str, Any]]:
        """Return the rows of images that are not stored, in their order."""
        if not self.fetch:
            return (failed_row(image_id, NOT_FETCHED) for image_id, *_ in images)
        if not images:
            return iter(())
        refs = ImageRefs(self.refs.open, max_bytes=self.section.max_bytes, column=self.refs.image_column)
        fetcher = shared_fetcher(self.section, self.block_lists, self.storage)
        return fetch_and_verify(images, fetcher, self._limits(), refs.read, filters)

    def _limits(self) -> ImageLimits:
        section = self.section
        formats = tuple(name.upper() for name in section.formats)
        return ImageLimits(
            section.max_side,
            section.max_pixels,
            section.min_side,
            section.quality,
            formats,
            section.max_aspect or math.inf,
            resize=section.resize,
            encode=section.encode,
            with_pixels=bool(section.filters),
            apart=is_isolated(),  # an image may have crashed the worker
        )


def _texts(tables: Iterable[pa.Table]) -> dict[str, str]:
    """Return the texts of images by id."""
    texts: dict[str, str] = {}
    for rows in tables:
        texts |= zip(rows["image_id"].to_pylist(), rows["text"].to_pylist(), strict=True)
    return texts
