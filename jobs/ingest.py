"""Reads crawled pages or tables of pairs and publishes `pairs`: one row an image, with its texts.

Two passes: every input file is read once, grouped by image and staged in hash buckets; then every bucket is merged
into one output file. The ledger has a row for each input file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from curation.occurrences import Books

from curation import exchange
from curation.config import IngestSection
from curation.errors import InputError
from curation.schemas import SCHEMAS
from curation.storage import FileStat, Storage, join
from jobs.sink import Result

ALGORITHM = 1
SEMANTIC = (
    "format",
    "max_texts_per_image",
    "url_column",
    "text_columns",
    "ref_column",
    "page_column",
    "bucket_bytes",
)


@dataclass(frozen=True)
class ReadFile:
    """Reads one input file, groups its texts by image and stages the groups by bucket."""

    storage: Storage
    section: IngestSection
    seed: int
    bits: int
    staging: str

    def __call__(self, index: int, file: FileStat) -> Iterator[Result]:
        """Yield the staged file and the input's ledger row."""
        started = time.monotonic()
        try:
            books, table, error = read_input(self.storage, self.section, file.path, self.seed)
        except InputError as failure:
            yield Result("ledger", stats=ledger_row(file, "failed", str(failure), Books(), started))
            return
        path = join(self.staging, f"{index:06d}.arrow")
        buckets = exchange.split_sorted(table, bucket_numbers(table["image_id"], self.bits), 1 << self.bits)
        exchange.write_buckets(self.storage, path, SCHEMAS["pairs"], buckets)
        status = "partial" if error else "ok"
        yield Result("staged", stats={"path": path, "books": books.to_dict()})
        yield Result("ledger", stats=ledger_row(file, status, error, books, started))
