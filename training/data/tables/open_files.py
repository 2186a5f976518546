"""Parquet files that stay open between reads of their row groups."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from typing import Final

import pyarrow.parquet as pq

from curation.io.storage import Storage
from curation.lake.checked_file import open_parquet

MAX_OPEN_FILES: Final = 16  # an open file holds its footer and checksums, up to a few hundred KB


class OpenFiles:
    """The files that were read last; one thread at a time may use them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._open: OrderedDict[str, tuple[pq.ParquetFile, ExitStack]] = OrderedDict()

    def open(self, path: str) -> pq.ParquetFile:
        """Return a file, which stays open. Raises DamagedLakeError if it is missing or damaged."""
        if path not in self._open:
            while len(self._open) >= MAX_OPEN_FILES:
                self._open.popitem(last=False)[1][1].close()
            stack = ExitStack()
            self._open[path] = stack.enter_context(open_parquet(self._storage, path, pre_buffer=False)), stack
        self._open.move_to_end(path)
        return self._open[path][0]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1][1].close()
