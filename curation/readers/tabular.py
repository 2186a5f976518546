"""Reads tables of images and texts: Parquet files, and JSON Lines, plain or gzip.

A row names its image by a URL, by a reference to image bytes, or both. Its texts are in one or more columns, each a
string or a list of strings. The source of a text is the name of its column.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.io.failures import first_line
from curation.io.gzip_stream import GzipStream
from curation.occurrence import Occurrence
from curation.readers.columns import Columns
from curation.readers.extract import ImageUrls, RawValue, clean_reference, image_reference, note_images, occurrences_of
from curation.readers.file_report import FileReport
from curation.readers.lenient_json import decode_utf8, parse_json
from curation.readers.parquet_file import open_parquet
from curation.urls import effective_base

BATCH_ROWS = 4096
MAX_LINE = 64 << 20  # bytes
MAX_NAMES = 1000  # column names collected for a message
ROW = "path#row"  # key of the generated reference; cannot be a column name
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_parquet(
    stream: BinaryIO, report: FileReport, columns: Columns, row_groups: Sequence[int] | None = None
) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a Parquet file, or of some of its row groups; count into `report`.

    If a page cannot be decoded, the rows before it are yielded and `report.error` is set. Raises InputError if the file
    is not a complete Parquet file, UsageError if a column is missing or does not hold strings.
    """
    file = open_parquet(stream, report.name)
    names = columns.check_schema(file.schema_arrow, report.name)
    if columns.image is not None:
        columns = replace(columns, ref=ROW)
    for first, batch in _batches(file, names, row_groups, report):
        columns_read = [_strings(column, report) for column in batch.columns]
        for number, values in enumerate(zip(*columns_read, strict=True), first):
            row = dict(zip(batch.schema.names, values, strict=True))
            if columns.image is not None:
                row[ROW] = f"{report.name}#{number}"
            yield from row_occurrences(row, columns, report)


def read_jsonl(stream: BinaryIO, report: FileReport, columns: Columns) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a JSON Lines file, plain or gzip; count into `report`.

    A line that is not a JSON object is noted (`broken_record`) and skipped. If the file is truncated or corrupt, the
    lines before the damage are yielded and `report.error` is set. Raises InputError if the file cannot be read at all,
    UsageError if a required column occurs in no row.
    """
    missing = set(columns.required)
    names: dict[str, None] = {}  # of all columns, while one is missing
    rows = 0
    for line in _lines(stream, report):
        try:
            row = parse_json(line, report.counters.notes)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            if line.endswith(b"\n"):
                report.counters.notes["broken_record"] += 1
            else:
                report.error = report.error or "the last line is cut off"
            continue
        rows += 1
        if missing:
            missing.difference_update(row)
            names.update(dict.fromkeys(row) if len(names) < MAX_NAMES else {})
        yield from row_occurrences(row, columns, report)
    if rows and report.error is None:
        columns.check_names(missing, names, report.name)


def row_occurrences(row: Mapping[str, object], columns: Columns, report: FileReport) -> list[Occurrence]:
    """Return the usable occurrences of a row; count into `report`."""
    report.counters.notes["rows"] += 1
    url = row.get(columns.url)
    if isinstance(url, str) and not url.strip():
        url = None
    ref = image_reference(row.get(columns.ref), report.name) if columns.ref else None
    page = clean_reference(row.get(columns.page)) if columns.page else None
    base = effective_base(page, None) if page else None
    texts = [(name, row.get(name)) for name in columns.texts]
    values: list[RawValue] = [
        (url, name, value)
        for name, text in texts
        for value in (text if isinstance(text, list) else [text])
        if value is not None
    ]
    note_images(report.counters, 1, without_text=not values)
    return occurrences_of(report.counters, values, ImageUrls(base), page_url=page, image_ref=ref)


def _lines(stream: BinaryIO, report: FileReport) -> Iterator[bytes]:
    """Yield the lines that are not blank, without a line cut off by damage; note lines longer than `MAX_LINE`."""
    try:
        lines = io.BufferedReader(GzipStream(stream), 1 << 16)
    except (OSError, InputError) as error:
        raise InputError(f"cannot read {report.name}: {first_line(error)}") from error
    first = True
    try:
        while line := lines.readline(MAX_LINE):
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                report.counters.notes["oversized_record"] += 1
                while line and not line.endswith(b"\n"):
                    line = lines.readline(MAX_LINE)
                continue
            if first:
                line, first = line.removeprefix(BYTE_ORDER_MARK), False
            if not line.isspace():
                yield line
    except (OSError, InputError) as error:
        report.error = first_line(error)


def _batches(
    file: pq.ParquetFile, names: list[str], row_groups: Sequence[int] | None, report: FileReport
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows in batches, each from one row group, with the number of the batch's first row in the file.

    If a row group is damaged, the rows of the row groups before it are yielded.
    """
    starts = [0, *accumulate(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))]
    try:
        for group in range(file.num_row_groups) if row_groups is None else row_groups:
            first = starts[group]
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
                yield first, batch
                first += batch.num_rows
    except (OSError, pa.ArrowException, InputError) as error:
        report.error = first_line(error)


def _strings(column: pa.Array, report: FileReport) -> list[Any]:
    """Return a column as strings or lists of strings, with invalid UTF-8 replaced and noted."""
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = column.cast(pa.list_(pa.binary()) if pa.types.is_list(column.type) else pa.binary()).to_pylist()
    notes = report.counters.notes
    return [
        [decode_utf8(v, notes) for v in value] if isinstance(value, list) else decode_utf8(value, notes)
        for value in values
    ]
