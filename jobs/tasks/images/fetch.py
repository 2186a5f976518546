"""The task that fetches the images of a part of the curated rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from curation.cli.config import ImagesSection
from curation.images.decode import ImageLimits
from curation.images.fetch import ImageRow
from curation.images.filters.apply import FilterRun
from curation.images.filters.load import load_filters
from curation.images.ref_sources import RefSources
from curation.images.refs import ImageRefs
from curation.images.rows import failed_row, fetch_and_verify
from curation.images.statistics import HOSTS_PER_TASK, ImageStatistics
from curation.io.backend import FileStat
from curation.io.storage import Storage
from curation.lake.files import WrittenFile
from curation.lake.schemas import IMAGE_COLUMNS, written_schema
from curation.lake.tombstones import Tombstones
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.images.progress import FetchProgress
from jobs.tasks.images.reuse import NOT_FETCHED, StoredImages, find_all, order_range
from jobs.tasks.images.shared_fetcher import shared_fetcher
from jobs.tasks.images.splits import Slice, read_slices

ROWS_AT_ONCE = 256


class FetchedBucket(msgspec.Struct):
    """The written rows of a bucket by reason, how many were stored before, how many a tombstone hides, statistics."""

    files: list[WrittenFile]
    reasons: dict[str, int]
    tombstone: int
    reused: int
    statistics: ImageStatistics


@dataclass(frozen=True)
class FetchBucket:
    """Fetches the images of one bucket in the order of their ids, except for those that are stored.

    Without `fetch`, the others are not requested and fail as `not_fetched`.
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
    fetch: bool = True

    def __call__(self, index: int, slices: Sequence[Slice]) -> FetchedBucket:
        """Return the written rows and how many were fetched or failed."""
        columns, filters = [name for name, _ in IMAGE_COLUMNS], load_filters(self.section.filters)
        rows = read_slices(self.storage, slices, [*columns, "text"] if filters else columns)
        usable = rows.filter(self.tombstones.keep_mask(rows)).sort_by("image_id")
        stored = find_all(self.stored, usable)
        reused = len(stored)
        reasons: Counter[str] = Counter()
        statistics, ranges = ImageStatistics(), {each.name: each.score_range for each in filters}
        images = list(zip(*(usable[name].to_pylist() for name in ("image_id", "image_url", "image_ref")), strict=True))
        filtering = FilterRun(filters, _texts(usable)) if filters else None
        fetched = self._fetched([image for image in images if image[0] not in stored], filtering)
        schema = written_schema("images", scores=bool(filters))
        with self.writers("images", index, schema=schema) as writer:
            for start in range(0, len(images), ROWS_AT_ONCE):
                part = images[start : start + ROWS_AT_ONCE]
                made = [
                    {"bucket": index, **(stored.pop(image_id) if image_id in stored else next(fetched))}
                    for image_id, *_ in part
                ]
                reasons.update(row["reason"] or "ok" for row in made)
                for row, (_, url, _) in zip(made, part, strict=True):
                    statistics.count(row, url, ranges)
                writer.write(pa.Table.from_pylist(made, schema=schema))
        self.progress.record(index, writer.files, order_range(self.seed, usable["image_id"].chunks))
        statistics.keep_hosts(HOSTS_PER_TASK)
        return FetchedBucket(writer.files, reasons, rows.num_rows - usable.num_rows, reused, statistics)

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
        )


def _texts(rows: pa.Table) -> dict[str, str]:
    return dict(zip(rows["image_id"].to_pylist(), rows["text"].to_pylist(), strict=True))
