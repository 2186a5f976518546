"""Reads files of the lake as a whole and compares them with what was published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import DamagedLakeError
from curation.io.failures import first_line
from curation.io.storage import Storage
from curation.lake.checked_file import REMEDY, CheckedFile, open_checked

CHUNK: Final = 8 << 20
UNIT_BYTES: Final = 1 << 30


class StoredFile(msgspec.Struct, frozen=True):
    """A published file: its size, its SHA-256 if that is known, and the rows of a data file (-1: another file)."""

    path: str
    size: int
    sha256: str = ""
    rows: int = -1


@dataclass(frozen=True)
class CheckFiles:
    """Checks some files and returns the problem of each file that has one, by path."""

    storage: Storage

    def __call__(self, _: int, files: Sequence[StoredFile]) -> dict[str, str]:
        """Return the problems of the files."""
        found = ((file.path, file_problem(self.storage, file)) for file in files)
        return {path: problem for path, problem in found if problem}


def file_problem(storage: Storage, file: StoredFile) -> str | None:
    """Return what is wrong with a file; None if it is as it was published."""
    try:
        with open_checked(storage, file.path) as opened:
            return _problem(opened, file)
    except DamagedLakeError as error:
        return str(error).removeprefix(f"{file.path}: ").removesuffix(f": {REMEDY}")
    except (OSError, pa.ArrowException) as error:
        return f"damaged or not a Parquet file: {first_line(error)}"


def _problem(opened: CheckedFile, file: StoredFile) -> str | None:
    if file.sha256 and _sha256(opened) != file.sha256:
        return "damaged: its SHA-256 is not the published one"
    if file.rows < 0:
        return None
    opened.seek(0)
    parquet: Any = pq.ParquetFile(opened, metadata=opened.metadata(), page_checksum_verification=True)
    if not file.sha256 and opened.sums is None:  # of an earlier version: whatever Parquet itself notices
        rows = sum(batch.num_rows for batch in parquet.iter_batches(use_threads=False))
    else:
        if not file.sha256:
            opened.check_all()
        rows = parquet.metadata.num_rows
    return None if rows == file.rows else f"it holds {rows} rows, {file.rows} were published"


def _sha256(opened: CheckedFile) -> str:
    digest = hashlib.sha256()
    while chunk := opened.read_buffer(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def units_of(files: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    """Yield the files in work units of about a gigabyte."""
    unit: list[StoredFile] = []
    size = 0
    for file in files:
        if unit and size + file.size > UNIT_BYTES:
            yield unit
            unit, size = [], 0
        unit.append(file)
        size += file.size
    if unit:
        yield unit
