"""The first pass of ingest: every input file is read once, its texts grouped by image and staged in hash buckets.

What a whole file gave is kept under a name that says what was read and how. A later run of the batch, with more files,
after a failure or a kill, finds it there in place of reading the file again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.cli.config import IngestSection
from curation.dedup.by_image import GROUPS, group
from curation.errors import InputError
from curation.filters import base
from curation.io.storage import FileStat, Storage, join
from curation.lake import shuffle
from curation.occurrence import Counters, Occurrence
from curation.readers.extract import FileReport
from curation.readers.tabular import Columns, read_jsonl, read_parquet
from curation.readers.wat import read_wat
from curation.readers.webdataset import read_webdataset
from jobs.runtime.ledger import failed_row, ledger_row
from jobs.runtime.run_tasks import Result
from jobs.tasks.ingest.filters import Plan

ALGORITHM = 2


@dataclass(frozen=True)
class ReadFile:
    """Reads one input file, groups its texts by image and stages the groups by bucket."""

    inputs: Storage
    storage: Storage
    section: IngestSection
    plan: Plan
    seed: int
    bits: int
    staging: str
    kept: str

    def __call__(self, index: int, file: FileStat) -> Iterator[Result]:
        """Yield the staged file with its books, and the input's ledger row."""
        started = time.monotonic()
        kept = self._kept_path(file)
        notes = shuffle.read_notes(self.storage, kept, GROUPS) if kept else None
        if notes is not None and "books" in notes:
            counters, reading = Counters.from_dict(json.loads(notes["books"])), FileReport(file.path)
            yield Result("staged", stats={"path": kept, "books": counters.to_dict(), "reused": True})
        else:
            reading = FileReport(file.path)
            try:
                with self.inputs.open_stream(file) as stream:
                    texts = base.apply(self._occurrences(stream, reading), self.plan.steps(), reading.counters)
                    table, counters = group(texts, self.seed, self.section.max_texts_per_image)
                self._check_readable(reading)
            except InputError as error:
                yield Result("ledger", stats=failed_row(file, str(error), started))
                return
            counters += reading.counters
            path = self._stage(index, kept if reading.status == "ok" else None, table, counters)
            yield Result("staged", stats={"path": path, "books": counters.to_dict(), "reused": False})
        row = ledger_row(
            file,
            reading.status,
            read=counters.read,
            kept=counters.kept,
            drops=counters.drops,
            error=reading.error,
            started=started,
        )
        yield Result("ledger", stats=row)

    def _occurrences(self, stream: Any, reading: FileReport) -> Iterator[Occurrence]:
        section = self.section
        if section.format == "wat":
            return read_wat(stream, reading, section.robots)
        columns = Columns(
            section.text_columns, section.url_column, section.ref_column, section.page_column, section.image_column
        )
        read = {"parquet": read_parquet, "jsonl": read_jsonl, "webdataset": read_webdataset}[section.format]
        return read(stream, reading, columns)

    def _check_readable(self, reading: FileReport) -> None:
        """Raise InputError when every record of a whole file is broken: it is most likely of another format."""
        notes = reading.counters.notes
        broken = notes["broken_record"]
        readable = notes["records"] - broken if self.section.format == "wat" else notes["rows"]
        if broken and not readable and reading.error is None:
            raise InputError(
                f"{reading.name}: none of its {broken} records is {self.section.format}: see ingest.format"
            )

    def _stage(self, index: int, kept: str | None, table: pa.Table, counters: Counters) -> str:
        path = kept or join(self.staging, shuffle.staged_name(index))
        parts = shuffle.split_sorted(table, bucket_numbers(table, self.bits), 1 << self.bits)
        shuffle.write_buckets(self.storage, path, GROUPS, parts, {"books": json.dumps(counters.to_dict())})
        return path

    def _kept_path(self, file: FileStat) -> str | None:
        """Return where the groups of a file of this content, read in this way, are kept."""
        if not file.etag:
            return None
        meaning = [file.path, file.size, file.etag, self.section.reading(), self.plan.digests, self.seed, ALGORITHM]
        name = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
        return join(self.kept, f"{name}.arrow")


def crashed(_: int, file: FileStat) -> Result:
    """Return the ledger row of an input that takes down any process that reads it."""
    return Result("ledger", stats=failed_row(file, "its reader crashes", time.monotonic()))


def bucket_numbers(rows: pa.Table, bits: int) -> np.ndarray[Any, Any]:
    """Return the leading bits of each row's image id (hexadecimal), as its bucket."""
    heads = (int(image_id[:8], 16) >> (32 - bits) for image_id in rows["image_id"].to_pylist())
    return np.fromiter(heads, np.int64, rows.num_rows)
