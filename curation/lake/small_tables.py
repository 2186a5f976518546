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
    parts = (_read(storage, path, name, where or {}, schema) for path in paths)
    return pa.concat_tables([schema.empty_table(), *parts])


def matching_rows(rows: pa.Table, where: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return the rows in which every column named in `where` has one of the values given for it."""
    for column, values in where.items():
        rows = rows.filter(pc.is_in(rows[column], pa.array(values, rows.schema.field(column).type)))
    return rows


def _read(storage: Storage, path: str, name: str, where: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    looked_up = pa.schema([SCHEMAS[name].field(column) for column in where])
    both = pa.unify_schemas([schema, looked_up])
    try:
        with open_parquet(storage, path) as file:
            # other writers of Delta tables store other types of texts, which cannot be compared: they are cast first
            keys = with_columns(file.read(columns=looked_up.names, use_threads=False), looked_up) if where else None
            if keys is not None and not matching_rows(keys, where).num_rows:
                return schema.empty_table()
            rows = with_columns(file.read(columns=both.names, use_threads=False), both)
    except DamagedLakeError as error:
        remedy = "restore the file from a copy, or the table to an earlier version"
        raise DamagedLakeError(str(error).removesuffix(REMEDY) + remedy) from error
    return matching_rows(rows, where).select(schema.names)
