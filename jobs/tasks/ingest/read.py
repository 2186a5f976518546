"""The first pass of ingest: every input file is read once, its texts grouped by image and staged in hash buckets.

The groups of a file that was read to its end are cached under a name that hashes the file's content and the settings it
was read with. A later run of the batch, after more files, a failure or a kill, takes them from there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from curation.cli.ingest_config import IngestSection
from curation.dedup.by_image import GROUPS, group
from curation.errors import InputError, UsageError
from curation.filters import base
from curation.filters.steps import FilterPlan
from curation.images.refs.roots import REFUSED, RefRoots, name_of
from curation.io.backend import FileStat
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.occurrence import Counters, Occurrence
from curation.readers.columns import columns_of
from curation.readers.file_report import FileReport
from curation.readers.formats import check_format
from curation.readers.tabular import read_jsonl, read_parquet
from curation.readers.wat import read_wat
from curation.readers.webdataset import read_webdataset
from curation.urls import ALGORITHM as URL_ALGORITHM
from jobs.runtime.ledger import LedgerRow, failed_row, ledger_row
from jobs.tasks.ingest.sources import InputFile, Source

ALGORITHM = 3
COUNTERS = "books"  # key of the counters in a cached file; renaming it would discard every cache


class StagedGroups(msgspec.Struct):
    """A file of staged groups, with their counters; `reused` if an earlier run staged them."""

    path: str
    counters: Counters
    reused: bool = False


class ReadResult(msgspec.Struct):
    """The ledger row of an input file, and its staged groups unless it failed."""

    ledger: LedgerRow
    staged: StagedGroups | None = None


@dataclass(frozen=True)
class ReadFile:
    """Reads one input file, groups its texts by image and stages the groups by bucket."""

    sources: Sequence[Source]
    storage: Storage
    plan: FilterPlan
    seed: int
    bits: int
    staging: str
    group_cache: str

    def __call__(self, index: int, unit: InputFile) -> ReadResult:
        """Return the staged groups with their counters, and the input's ledger row."""
        file, source = unit.file, self.sources[unit.source]
        started, report = time.monotonic(), FileReport(name_of(file.path))
        if file.etag and not file.size:  # without a tag the size is unknown
            return ReadResult(failed_row(file, "the file is empty (0 bytes)", started))
        cached = self._cached_path(file, source.section)
        notes = shuffle.read_notes(self.storage, cached, GROUPS) if cached else None
        if cached and notes is not None and COUNTERS in notes:
            staged = StagedGroups(cached, Counters.from_dict(json.loads(notes[COUNTERS])), reused=True)
        else:
            try:
                table, counters = self._read(file, source, report)
            except InputError as error:
                return ReadResult(failed_row(file, str(error), started))
            path = cached if cached and report.status == "ok" else join(self.staging, shuffle.staged_name(index))
            staged = StagedGroups(self._stage(path, table, counters), counters)
        totals, status = staged.counters, report.status
        row = ledger_row(
            file, report.error, read=totals.read, kept=totals.kept, drops=totals.drops, started=started, status=status
        )
        return ReadResult(row, staged)

    def _read(self, file: FileStat, source: Source, report: FileReport) -> tuple[pa.Table, Counters]:
        """Return the groups of a file and their counters. Raises InputError if it cannot be read."""
        section = source.section
        with source.storage.open_stream(file) as stream:
            try:
                texts = base.apply(_occurrences(stream, report, section), self._steps(file, section), report.counters)
                table, counters = group(texts, self.seed, section.max_texts_per_image)
            except (InputError, UsageError):
                check_format(stream, file.path, section.format)
                raise
            _check_readable(stream, report, section.format)
        return table, counters + report.counters

    def _steps(self, file: FileStat, section: IngestSection) -> list[base.Step]:
        """Return the steps between reading and grouping; rows with references that are not allowed go first."""
        if section.ref_column is None:
            return list(self.plan.steps())
        roots = RefRoots.of_inputs(section.ref_roots, [file.path])
        allowed = base.Keep(REFUSED, lambda o: o.image_ref is None or roots.allows(o.image_ref))
        return [allowed, *self.plan.steps()]

    def _stage(self, path: str, table: pa.Table, counters: Counters) -> str:
        parts = shuffle.split_sorted(table, bucket_numbers(table, self.bits), 1 << self.bits)
        shuffle.write_buckets(self.storage, path, GROUPS, parts, {COUNTERS: json.dumps(counters.to_dict())})
        return path

    def _cached_path(self, file: FileStat, section: IngestSection) -> str | None:
        """Return where the groups of a file with this content, read with these settings, are cached."""
        if not file.etag:
            return None
        reader_keys = section.reader_keys()
        keys = [file.path, file.size, file.etag, reader_keys, self.plan.digests, self.seed, ALGORITHM, URL_ALGORITHM]
        name = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
        return join(self.group_cache, f"{name}.arrow")


def _occurrences(stream: Any, report: FileReport, section: IngestSection) -> Iterator[Occurrence]:
    if section.format == "wat":
        return read_wat(stream, report, section.robots)
    read = {"parquet": read_parquet, "jsonl": read_jsonl, "webdataset": read_webdataset}[section.format]
    return read(stream, report, columns_of(section))


def _check_readable(stream: Any, report: FileReport, expected: str) -> None:
    """Raise InputError for a file of another format, which may still have some readable records."""
    notes = report.counters.notes
    broken = notes["broken_record"]
    readable = notes["records"] - broken if expected == "wat" else notes["rows"]
    if broken >= readable or report.error:
        check_format(stream, report.name, expected, also_texts=broken >= readable)
    if broken and not readable and report.error is None:
        raise InputError(f"{report.name}: none of its {broken} records is valid {expected}: check ingest.format")


def crashed(_: int, unit: InputFile) -> ReadResult:
    """Return the result of an input that crashes any process that reads it."""
    return ReadResult(failed_row(unit.file, "reading it crashed the worker process", time.monotonic()))


def bucket_numbers(rows: pa.Table, bits: int) -> np.ndarray[Any, Any]:
    """Return the leading bits of each row's image id (hexadecimal), as its bucket."""
    heads = (int(image_id[:8], 16) >> (32 - bits) for image_id in rows["image_id"].to_pylist())
    return np.fromiter(heads, np.int64, rows.num_rows)
