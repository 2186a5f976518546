"""A file of an export: what it holds, and a sink that hashes it while it is written."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import msgspec
import pyarrow as pa


class Part(msgspec.Struct, frozen=True):
    """A written file of an export.

    Attributes:
        name: its path below the folder of the export.
        rows: rows in it.
        hidden: rows that were left out because of a tombstone.
        size: its bytes.
        sha256: the SHA-256 of its bytes, in hex.
        languages: rows by language.
    """

    name: str
    rows: int
    hidden: int
    size: int
    sha256: str
    languages: dict[str, int]


class PartWriter(Protocol):
    """Writes the rows of one file in a format."""

    def write(self, rows: pa.Table) -> None:
        """Append rows of the table `shards`."""

    def close(self) -> None:
        """Write what ends the file; its sink stays open."""


class HashingSink:
    """A writable file that counts and hashes the bytes it passes on; closing it does not close the file."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes so far, in hex."""
        return self._digest.hexdigest()

    def write(self, data: Any) -> int:
        """Write bytes and return their number."""
        self._sink.write(data)
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is complete."""

    def close(self) -> None:
        """Mark the sink closed."""
        self.closed = True
