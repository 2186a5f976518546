"""Opens data files for reading and compares every byte that is read with the file's checksums."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import DamagedLakeError, InputError
from curation.io.failures import first_line, named_failure
from curation.io.storage import Storage
from curation.lake.checksums import BLOCK_BYTES, FileSums, block_count, footer_size, tail_size

TAIL_BYTES: Final = 64 << 10  # read first: enough for the checksums and the footer of most files
REMEDY: Final = "run `python -m jobs.verify --config c.yaml --repair`, then the job that it names"


def damaged(path: str, problem: str) -> DamagedLakeError:
    """Return the error for a file of the lake that is damaged or missing."""
    return DamagedLakeError(f"{path}: {problem}: {REMEDY}")


@contextmanager
def open_parquet(storage: Storage, path: str, *, pre_buffer: bool = True) -> Iterator[pq.ParquetFile]:
    """Open a data file of the lake. Reading raises DamagedLakeError if the file is missing or its bytes have changed.

    With `pre_buffer`, columns that are close to each other are read at once, and their bytes stay in memory until the
    next row group is read or the file is closed.

    Files written without checksums (before 0.3.0) are read too; only damage that Parquet itself notices is found then.
    """
    with named_damage(path), open_checked(storage, path) as file:
        # checksums of pages cover no byte that the checksums of the file do not
        yield pq.ParquetFile(
            file, metadata=file.metadata(), pre_buffer=pre_buffer, page_checksum_verification=file.sums is None
        )


@contextmanager
def named_damage(path: str) -> Iterator[None]:
    """Turn errors of Arrow, which cannot read a file, into a DamagedLakeError that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, f"damaged or not a Parquet file: {first_line(error)}") from error


@contextmanager
def open_checked(storage: Storage, path: str) -> Iterator[CheckedFile]:
    """Open a data file of the lake as a stream of checked bytes."""
    try:
        source = storage.open_input(path)
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise damaged(path, "missing") from error
        raise
    with source:
        yield CheckedFile(source, path)


class CheckedFile:
    """A data file as pyarrow reads it: a seekable stream whose blocks are compared with their checksums.

    A read that starts or ends inside a block reads that block as a whole. Raises DamagedLakeError if bytes have
    changed, InputError if the storage fails.

    Attributes:
        sums: the checksums that the file holds; None if it was written without any.
        size: its size in bytes.
    """

    def __init__(self, source: Any, path: str) -> None:
        self._source, self._path, self._position = source, path, 0
        self.closed = False
        with named_failure("read", path):
            self.size = int(source.size())
            tail = self._read_source(max(0, self.size - TAIL_BYTES), self.size)
            if (needed := tail_size(tail, self.size)) > len(tail):
                tail = self._read_source(self.size - needed, self.size)
        self._tail = tail
        try:
            self.sums = FileSums.parse(tail, self.size)
        except ValueError as error:
            raise damaged(path, f"damaged: {error}") from error

    def metadata(self) -> pq.FileMetaData | None:
        """Return the footer, if its checksum was compared."""
        if self.sums is None:
            return None
        return pq.read_metadata(pa.BufferReader(self._tail.slice(len(self._tail) - footer_size(self._tail))))

    def check_all(self) -> None:
        """Read all rows and compare their checksums."""
        if self.sums is not None:
            for offset in range(0, self.sums.rows_size, 32 * BLOCK_BYTES):
                self._read_blocks(offset, min(offset + 32 * BLOCK_BYTES, self.sums.rows_size))

    def read_buffer(self, size: int = -1) -> pa.Buffer:
        """Return the next bytes as a buffer."""
        start = self._position
        stop = self._position = self.size if size < 0 else min(self.size, start + size)
        if self.sums is None:
            with named_failure("read", self._path):
                return self._read_source(start, stop)
        rows = self.sums.rows_size
        if stop <= rows:
            return self._read_blocks(start, stop)
        rest = self._tail.slice(max(start, rows) - (self.size - len(self._tail)), stop - max(start, rows))
        return rest if start >= rows else pa.py_buffer(bytes(self._read_blocks(start, rows)) + bytes(rest))

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        return bytes(self.read_buffer(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position."""
        self._position = max(0, {0: 0, 1: self._position, 2: self.size}[whence] + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readable(self) -> bool:
        """Return True: this is a stream to read from."""
        return True

    def seekable(self) -> bool:
        """Return True: reading can continue at any position."""
        return True

    def writable(self) -> bool:
        """Return False: data files never change."""
        return False

    def flush(self) -> None:
        """Do nothing, as nothing is written."""

    def close(self) -> None:
        """Mark the stream as closed; its file is closed by whoever opened it."""
        self.closed = True

    def _read_blocks(self, start: int, stop: int) -> pa.Buffer:
        """Return some bytes of the rows, after comparing the blocks that contain them."""
        assert self.sums is not None
        first = start // BLOCK_BYTES * BLOCK_BYTES
        with named_failure("read", self._path):
            blocks = self._read_source(first, min(self.sums.rows_size, block_count(stop) * BLOCK_BYTES))
        try:
            self.sums.check(first, memoryview(blocks))
        except ValueError as error:
            raise damaged(self._path, f"damaged: {error}") from error
        return blocks.slice(start - first, max(0, stop - start))

    def _read_source(self, start: int, stop: int) -> pa.Buffer:
        self._source.seek(start)
        data = self._source.read_buffer(max(0, stop - start))
        if len(data) < stop - start:
            raise damaged(self._path, f"cut short after {start + len(data)} bytes")
        return data
