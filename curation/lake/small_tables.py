"""Reads the tables of few rows: runs, ledger, tombstones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import DamagedLakeError
from curation.io.storage import Storage
from curation.lake.checked_file import REMEDY, open_parquet
from curation.lake.parquet_read import with_columns
from curation.lake.schemas import SCHEMAS


def read_small_table(
    storage: Storage,
    name: str,
    paths: Sequence[str],
    where: Mapping[str, Sequence[Any]] | None = None,
    columns: Sequence[str] = (),
) -> pa.Table:
    """Return the rows of the files of a small table; columns that an earlier release did not write are null.

    With `where`, the rows in which every column named there has one of the values given for it; of files without such a
    row, only these columns are read. With `columns`, only these. Raises DamagedLakeError if a file is missing or
    damaged; no job can make these rows again.
    """
    schema = pa.schema([SCHEMAS[name].field(column) for column in columns]) if columns else SCHEMAS[name]
    parts = (_read(storage, path, where or {}, schema) for path in paths)
    return pa.concat_tables([schema.empty_table(), *parts])


def matching_rows(rows: pa.Table, where: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return the rows in which every column named in `where` has one of the values given for it."""
    for column, values in where.items():
        rows = rows.filter(pc.is_in(rows[column], pa.array(values, rows.schema.field(column).type)))
    return rows


def _read(storage: Storage, path: str, where: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    try:
        with open_parquet(storage, path) as file:
            if where and not matching_rows(file.read(columns=list(where), use_threads=False), where).num_rows:
                return schema.empty_table()
            rows = file.read(columns=list({*schema.names, *where}), use_threads=False)
    except DamagedLakeError as error:
        remedy = "restore the file from a copy, or the table to an earlier version"
        raise DamagedLakeError(str(error).removesuffix(REMEDY) + remedy) from error
    return with_columns(matching_rows(rows, where), schema)
