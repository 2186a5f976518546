"""Reads the tables of few rows: runs, ledger, tombstones."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from curation.errors import DamagedLakeError
from curation.io.storage import Storage
from curation.lake.checked_file import REMEDY, open_parquet
from curation.lake.parquet_read import with_columns
from curation.lake.schemas import SCHEMAS


def read_small_table(storage: Storage, name: str, paths: Sequence[str]) -> pa.Table:
    """Return all rows of the files of a small table; columns that an earlier release did not write are null.

    Raises DamagedLakeError if a file is missing or damaged; no job can make these rows again.
    """
    return pa.concat_tables([SCHEMAS[name].empty_table(), *(_read(storage, name, path) for path in paths)])


def _read(storage: Storage, name: str, path: str) -> pa.Table:
    try:
        with open_parquet(storage, path) as file:
            rows = file.read(use_threads=False)
    except DamagedLakeError as error:
        remedy = "restore the file from a copy, or the table to an earlier version"
        raise DamagedLakeError(str(error).removesuffix(REMEDY) + remedy) from error
    return with_columns(rows, SCHEMAS[name])
