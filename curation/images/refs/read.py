"""Read images by reference: from files, members of tar archives, rows of Parquet files.

A reference is the path of a file, `<archive>.tar#<member>`, or `<file>.parquet#<row>` with rows counted from 0. Any
other `#` is part of a file name.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.images.failures import FetchError
from curation.io.gzip_stream import DamagedError
from curation.io.tar_members import TarMember, read_member, tar_members

logger = logging.getLogger(__name__)

# the path of an archive or table, which only in a URL may end with a query
CONTAINED = re.compile(
    r"(?P<path>(?P<url>https?://)?.+?\.(?P<kind>tar|parquet)(?(url)(?:\?[^#]*)?))#(?P<item>.+)",
    re.IGNORECASE | re.DOTALL,
)


def open_local(path: str) -> BinaryIO:
    """Open a local file for reading."""
    return Path(path).open("rb")


def usual_column(_: str) -> str:
    """Return the usual name of the column with the images of a Parquet file."""
    return "image"


class ImageRefs:
    """Reads image references through `open_binary`, which opens a path as a seekable binary file.

    The images of a Parquet file are in the column that `column` returns for its path: binary, or a struct with a binary
    field `bytes` as in Hugging Face datasets. Several threads may use an instance at once. Indexes of archives and the
    last row groups stay in memory; one thread at a time reads them.
    """

    def __init__(
        self, open_binary: Callable[[str], BinaryIO], *, max_bytes: int, column: Callable[[str], str] = usual_column
    ) -> None:
        self._open = open_binary
        self._max_bytes = max_bytes
        self._column = column
        self._lock = Lock()
        self._members = lru_cache(maxsize=8)(self._read_members)
        self._starts = lru_cache(maxsize=64)(self._read_starts)
        self._row_group = lru_cache(maxsize=2)(self._read_row_group)

    def read(self, reference: str) -> bytes:
        """Return the bytes that a reference names.

        Raises FetchError: `ref_missing` if the file, member or row does not exist, `ref_unreadable` if it cannot be
        read, `too_large` above `max_bytes`.
        """
        contained = CONTAINED.fullmatch(reference)
        with _named_failures():
            if contained is None:
                with self._open(reference) as file:
                    data = file.read(self._max_bytes + 1)
            elif contained["kind"].lower() == "tar":
                data = self._member(contained["path"], contained["item"])
            else:
                data = self._row(contained["path"], contained["item"])
        if len(data) > self._max_bytes:
            raise FetchError("too_large")
        return data

    def _member(self, path: str, name: str) -> bytes:
        with self._lock:
            members = self._members(path)
        if name not in members:
            raise FetchError("ref_missing")
        with self._open(path) as file:
            return read_member(file, members[name], self._max_bytes + 1)

    def _row(self, path: str, item: str) -> bytes:
        with self._lock:
            starts = self._starts(path)
            if not item.isdecimal() or int(item) >= starts[-1]:
                raise FetchError("ref_missing")
            group = bisect_right(starts, int(item)) - 1
            value = self._row_group(path, group)[int(item) - starts[group]].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if value is None:
            raise FetchError("ref_missing")
        if not isinstance(value, bytes):
            raise FetchError("ref_unreadable")
        return value

    def _read_members(self, path: str) -> dict[str, TarMember]:
        """Return the files by name; for a repeated name the last, as tar extracts it.

        For a damaged archive, return the members before the damage.
        """
        members: dict[str, TarMember] = {}
        with self._open(path) as file:
            try:
                members.update((member.name, member) for member in tar_members(file) if member.is_file)
            except DamagedError as error:
                if not members:
                    raise
                logger.warning("%s is damaged after %d files: %s", path, len(members), error)
        return members

    def _read_starts(self, path: str) -> list[int]:
        """Return the first row of every row group, and the number of rows."""
        with self._open(path) as file:
            metadata = pq.ParquetFile(file, page_checksum_verification=True).metadata
            return [0, *accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))]

    def _read_row_group(self, path: str, group: int) -> Any:
        with self._open(path) as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            table = parquet.read_row_group(group, columns=[self._column(path)], use_threads=False)
        if not table.num_columns:
            raise FetchError("ref_missing")
        return table.column(0)


@contextmanager
def _named_failures() -> Iterator[None]:
    """Turn failures of opening and reading into a FetchError."""
    try:
        yield
    except (InputError, OSError, EOFError, ValueError, pa.ArrowException) as error:
        cause = error.__cause__ if isinstance(error, InputError) else error
        missing = isinstance(cause, FileNotFoundError | NotADirectoryError)
        raise FetchError("ref_missing" if missing else "ref_unreadable") from error
