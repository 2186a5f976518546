"""Checks the first input files before a job starts, so that a wrong format or column name is reported at once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO

from curation.cli.ingest_config import IngestSection
from curation.errors import InputError, UsageError
from curation.io.backend import FileStat
from curation.io.gzip_stream import GzipStream
from curation.io.storage import Storage
from curation.readers.columns import columns_of
from curation.readers.file_report import FileReport
from curation.readers.formats import check_format
from curation.readers.parquet_file import open_parquet
from curation.readers.tabular import read_jsonl

FILES = 3
HEAD = 1 << 20  # bytes of a JSON Lines file


def check_first_inputs(storage: Storage, files: Sequence[FileStat], section: IngestSection) -> None:
    """Raise UsageError if none of the first files has the configured format, or one lacks a column.

    A file that cannot be read is left to the job, which counts it as failed.
    """
    wrong = []
    for file in files[:FILES]:
        try:
            with storage.open_stream(file) as stream:
                problem = _wrong_format(stream, file.path, section.format)
                if problem is None:
                    _check_columns(stream, file.path, section)
        except (InputError, OSError):
            problem = None
        wrong.append(problem)
    if wrong and None not in wrong:
        raise UsageError(str(wrong[0]))


def _wrong_format(stream: BinaryIO, name: str, expected: str) -> InputError | None:
    """Return what is wrong with the format of a file."""
    head = io.BytesIO(stream.read(HEAD))
    try:
        check_format(head, name, expected)
    except InputError as error:
        return error
    return None


def _check_columns(stream: BinaryIO, name: str, section: IngestSection) -> None:
    """Raise UsageError if a table lacks a column; the rest of a longer JSON Lines file may have it."""
    columns = columns_of(section)
    if section.format == "parquet":
        columns.check_schema(open_parquet(stream, name).schema_arrow, name)
    elif section.format == "jsonl":
        stream.seek(0)
        data = _head(GzipStream(stream))
        if len(data) < HEAD:
            for _ in read_jsonl(io.BytesIO(data), FileReport(name), columns):
                pass


def _head(source: GzipStream) -> bytes:
    """Return up to `HEAD` decompressed bytes. Raises OSError if they are damaged."""
    head = bytearray()
    while len(head) < HEAD and (piece := source.read(HEAD - len(head))):
        head += piece
    return bytes(head)
