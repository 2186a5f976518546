"""Reading tables of images and texts: Parquet files, and JSON Lines, plain or gzip.

A row names its image by a URL, by a reference to bytes at hand, or both, and holds its texts in one or more columns,
each a string or a list of strings. The source of a text is the name of its column.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError, UsageError
from curation.io.gzip_stream import Gunzip
from curation.io.storage import first_line
from curation.occurrence import Occurrence
from curation.readers.extract import Cell, FileReport, name_of, note_images, occurrences_of
from curation.readers.lenient_json import decode, loads
from curation.urls import effective_base

BATCH_ROWS = 4096
MAX_LINE = 64 << 20  # bytes
ROW = "path#row"  # no column's name
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    `url` is the image's URL, `ref` a path, or `path#member-or-row`, of its bytes, `page` the URL of the page,
    from which relative URLs start. `image` is a column of a Parquet file with the bytes themselves: it is not read, the
    rows are referred to as `path#row`. Where `ref` or `image` is given, a table may lack the column `url`.
    """

    texts: Sequence[str]
    url: str = "url"
    ref: str | None = None
    page: str | None = None
    image: str | None = None

    @property
    def required(self) -> list[str]:
        """Names of the columns that every file must have."""
        named = [self.ref or (None if self.image else self.url), self.page, *self.texts]
        return [name for name in dict.fromkeys(named) if name is not None]


def read_parquet(
    stream: BinaryIO, reading: FileReport, columns: Columns, row_groups: Sequence[int] | None = None
) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a Parquet file, or of some of its row groups; count into `reading`.

    Where a page cannot be decoded, reading ends with `reading.error` set and the rows before it yielded. Raises
    InputError when the file is no whole Parquet file, UsageError when a column is missing or holds no strings.
    """
    try:
        file = pq.ParquetFile(stream, page_checksum_verification=True)
    except (OSError, pa.ArrowException, InputError) as error:
        raise InputError(f"cannot read {reading.name}: {first_line(error)}") from error
    names = _checked_columns(file.schema_arrow, columns, reading.name)
    if columns.image is not None:
        columns = replace(columns, ref=ROW)
    for first, batch in _batches(file, names, row_groups, reading):
        values = [_strings(column, reading) for column in batch.columns]
        for number, cells in enumerate(zip(*values, strict=True), first):
            row = dict(zip(batch.schema.names, cells, strict=True))
            if columns.image is not None:
                row[ROW] = f"{reading.name}#{number}"
            yield from row_occurrences(row, columns, reading)


def read_jsonl(stream: BinaryIO, reading: FileReport, columns: Columns) -> Iterator[Occurrence]:
    """Yield the usable occurrences of a JSON Lines file, plain or gzip; count into `reading`.

    A line that is no JSON object is noted (`broken_record`) and the next one read. Where the file is cut off or
    corrupt, reading ends with `reading.error` set and the lines before the damage yielded. Raises InputError when the
    file cannot be read at all, UsageError when no row has one of the columns.
    """
    missing = set(columns.required)
    rows = 0
    for line in _lines(stream, reading):
        try:
            row = loads(line, reading.counters.notes)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            reading.counters.notes["broken_record"] += 1
            continue
        rows += 1
        if missing:
            missing.difference_update(row)
        yield from row_occurrences(row, columns, reading)
    if rows and missing and reading.error is None:
        raise UsageError(f"{reading.name}: no row has the column {min(missing)!r}")


def row_occurrences(row: Mapping[str, object], columns: Columns, reading: FileReport) -> list[Occurrence]:
    """Return the usable occurrences of a row; count into `reading`."""
    reading.counters.notes["rows"] += 1
    url = row.get(columns.url)
    if isinstance(url, str) and not url.strip():
        url = None
    ref = name_of(row.get(columns.ref)) if columns.ref else None
    page = name_of(row.get(columns.page)) if columns.page else None
    base = effective_base(page, None) if page else None
    named = [(name, row.get(name)) for name in columns.texts]
    cells: list[Cell] = [
        (url, name, value)
        for name, values in named
        for value in (values if isinstance(values, list) else [values])
        if value is not None
    ]
    note_images(reading.counters, 1, without_text=not cells)
    return occurrences_of(reading.counters, cells, base=base, page_url=page, image_ref=ref)


def _lines(stream: BinaryIO, reading: FileReport) -> Iterator[bytes]:
    """Yield the lines that are not blank. One cut off by damage is left out, one over `MAX_LINE` noted."""
    try:
        lines = io.BufferedReader(Gunzip(stream), 1 << 16)
    except (OSError, InputError) as error:
        raise InputError(f"cannot read {reading.name}: {first_line(error)}") from error
    first = True
    try:
        while line := lines.readline(MAX_LINE):
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                reading.counters.notes["oversized_record"] += 1
                while line and not line.endswith(b"\n"):
                    line = lines.readline(MAX_LINE)
                continue
            if first:
                line, first = line.removeprefix(BYTE_ORDER_MARK), False
            if not line.isspace():
                yield line
    except (OSError, InputError) as error:
        reading.error = first_line(error)


def _checked_columns(schema: pa.Schema, columns: Columns, name: str) -> list[str]:
    """Return the columns to read. Raises UsageError when one is missing or of a type that holds no text."""
    for column in [*columns.required, *([columns.image] if columns.image else [])]:
        if column not in schema.names:
            raise UsageError(f"{name}: no column {column!r}, only {', '.join(schema.names)}")
    names = list(dict.fromkeys([*columns.required, *({columns.url} & set(schema.names))]))
    for column in names:
        kind = schema.field(column).type
        if column in columns.texts and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            kind = kind.value_type
        if not _holds_text(kind):
            raise UsageError(f"{name}: column {column!r} holds {schema.field(column).type}, not text")
    return names


def _holds_text(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    binary = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(check(kind) for check in (*checks, *binary))


def _batches(
    file: pq.ParquetFile, names: list[str], row_groups: Sequence[int] | None, reading: FileReport
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows in batches, none across two row groups, each with the number of its first row in the file.

    Damage in one row group leaves the rows of those before it.
    """
    starts = [0, *accumulate(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))]
    try:
        for group in range(file.num_row_groups) if row_groups is None else row_groups:
            first = starts[group]
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
                yield first, batch
                first += batch.num_rows
    except (OSError, pa.ArrowException, InputError) as error:
        reading.error = first_line(error)


def _strings(column: pa.Array, reading: FileReport) -> list[Any]:
    """Return a column as strings or lists of strings, invalid UTF-8 replaced and noted."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        nested = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        values = column.cast(pa.list_(pa.binary()) if nested else pa.binary()).to_pylist()
    notes = reading.counters.notes
    return [[decode(v, notes) for v in value] if isinstance(value, list) else decode(value, notes) for value in values]
