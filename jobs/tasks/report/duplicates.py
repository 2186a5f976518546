"""Collects examples of the duplicates of a batch, with thumbnails of those that are only similar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from curation.lake.lake import Lake
from curation.lake.parquet_read import find_rows, read_batches, read_rows
from curation.lake.tombstones import Tombstones
from curation.report.duplicate_pairs import DuplicatePair, PairedPicture
from jobs.tasks.report.contact_sheet import thumbnail

CANDIDATES: Final = 100  # rows of each reason from which examples are chosen
EXAMPLES: Final = 6  # of each reason
REASONS: Final = ("near", "exact", "benchmark")
URL_COLUMNS: Final = ["image_id", "image_url", "image_ref"]


def collect_pairs(lake: Lake, partition: Mapping[str, str]) -> list[DuplicatePair]:
    """Return examples of each reason; near-duplicates of pictures of the same batch come first.

    Pictures with a tombstone are left out.
    """
    candidates = list(_candidates(lake, partition))
    if not candidates:
        return []
    named = {row["image_id"] for row in candidates} | {row["duplicate_of"] for row in candidates}
    urls = _find_urls(lake, partition, sorted(named))
    hidden = Tombstones.read(lake)
    shown = urls.filter(hidden.keep_mask(urls))
    names = {row["image_id"]: row["image_url"] or row["image_ref"] for row in shown.to_pylist()}
    left_out = set(urls["image_id"].to_pylist()) - names.keys() | hidden.image_ids
    usable = [row for row in candidates if row["image_id"] in names and row["duplicate_of"] not in left_out]
    chosen = [
        row
        for reason in REASONS
        for row in sorted(
            (row for row in usable if row["reason"] == reason), key=lambda row: row["duplicate_of"] not in names
        )[:EXAMPLES]
    ]
    pictured = {row[key] for row in chosen if row["reason"] == "near" for key in ("image_id", "duplicate_of")}
    thumbnails = dict(_find_thumbnails(lake, partition, sorted(pictured & names.keys())))

    def picture(image_id: str) -> PairedPicture:
        return PairedPicture(names.get(image_id, image_id), thumbnails.get(image_id) or "")

    return [
        DuplicatePair(row["reason"], row["distance"], picture(row["image_id"]), picture(row["duplicate_of"]))
        for row in chosen
    ]


def _candidates(lake: Lake, partition: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the first rows of each reason; the parts of `images` that they follow are in the order of a hash."""
    seen: Counter[str] = Counter()
    for file in lake.snapshot("duplicates", partition).files:
        for batch in read_batches(lake.storage, file.path):
            for reason in REASONS:
                rows = batch.filter(pc.equal(batch["reason"], reason)).slice(0, CANDIDATES - seen[reason])
                seen[reason] += rows.num_rows
                yield from rows.to_pylist()


def _find_urls(lake: Lake, partition: Mapping[str, str], ids: list[str]) -> pa.Table:
    """Return the URLs and references of those images that are in the batch."""
    files = lake.snapshot("curated", partition).files
    parts = [find_rows(lake.storage, file.path, {"image_id": ids}, URL_COLUMNS) for file in files]
    return pa.concat_tables([pa.schema([(name, pa.string()) for name in URL_COLUMNS]).empty_table(), *parts])


def _find_thumbnails(lake: Lake, partition: Mapping[str, str], ids: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the thumbnails of images, of which only the row groups that have them are read."""
    sought = pa.array(ids, pa.string())
    for file in lake.snapshot("images", partition).files if ids else ():
        start = 0
        for batch in read_batches(lake.storage, file.path, ["image_id"]):
            for row in pc.indices_nonzero(pc.is_in(batch["image_id"], sought)).to_pylist():
                found = read_rows(lake.storage, file.path, start + row, start + row + 1, ["image"])
                yield batch["image_id"][row].as_py(), thumbnail(found["image"][0].as_py())
            start += batch.num_rows
