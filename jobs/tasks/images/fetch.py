"""The task that fetches the images of one bucket of curated rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from curation.cli.config import ImagesSection
from curation.images.decode import ImageLimits
from curation.images.fetch import Fetcher
from curation.images.ref_roots import RefRoots
from curation.images.rows import fetch_and_verify
from curation.io.storage import Storage
from curation.lake.files import WrittenFile
from curation.lake.schemas import IMAGE_COLUMNS, SCHEMAS
from curation.lake.tombstones import Tombstones
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.images.splits import Slice, read_slices

ROWS_AT_ONCE = 256


class FetchedBucket(msgspec.Struct):
    """The written rows of a bucket, how many were fetched or failed by reason, and how many a tombstone hides."""

    files: list[WrittenFile]
    reasons: dict[str, int]
    tombstone: int


@dataclass(frozen=True)
class FetchBucket:
    """Fetches the images of one bucket in the order of their ids."""

    storage: Storage
    section: ImagesSection
    tombstones: Tombstones
    writers: WriterFactory
    ref_storage: Storage  # of images that need no download
    ref_roots: RefRoots
    image_column: str

    def __call__(self, index: int, slices: Sequence[Slice]) -> FetchedBucket:
        """Return the written rows and how many were fetched or failed."""
        rows = read_slices(self.storage, slices, [name for name, _ in IMAGE_COLUMNS])
        usable = rows.filter(self.tombstones.keep_mask(rows)).sort_by("image_id")
        reasons: Counter[str] = Counter()
        with self._fetcher() as fetcher, self.writers("images", index) as writer:
            for start in range(0, usable.num_rows, ROWS_AT_ONCE):
                part = usable.slice(start, ROWS_AT_ONCE).to_pydict()
                images = zip(part["image_id"], part["image_url"], part["image_ref"], strict=True)
                fetched = [{"bucket": index, **row} for row in fetch_and_verify(images, fetcher, self._limits())]
                reasons.update(row["reason"] or "ok" for row in fetched)
                writer.write(pa.Table.from_pylist(fetched, schema=SCHEMAS["images"]))
        return FetchedBucket(writer.files, reasons, rows.num_rows - usable.num_rows)

    def _fetcher(self) -> Fetcher:
        section = self.section
        return Fetcher(
            timeout_s=section.timeout_s,
            max_bytes=section.max_bytes,
            allow_private_hosts=section.allow_private_hosts,
            user_agent=section.user_agent,
            honored=section.robots,
            retries=section.retries,
            threads=section.threads,
            open_binary=self.ref_roots.guard(self.ref_storage.open_input),
            image_column=self.image_column,
        )

    def _limits(self) -> ImageLimits:
        section = self.section
        formats = tuple(name.upper() for name in section.formats)
        return ImageLimits(section.max_side, section.max_pixels, section.min_side, formats=formats)
