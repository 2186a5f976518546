"""Merge the sorted rows of many buckets lazily.

Each bucket is staged as one Arrow file with one record batch per chunk. A merge holds one chunk of each bucket, so it
can merge hundreds of buckets of any size.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from curation.io.storage import Storage
from curation.lake import shuffle

CHUNK = 2048  # rows

SortedRows = tuple[str, int]  # a staged file and its number of rows


def chunk_count(rows: int) -> int:
    """Return the number of chunks of this many rows."""
    return -(-rows // CHUNK)


def chunks(table: pa.Table) -> Iterator[pa.Table]:
    """Cut a table into chunks."""
    return (table.slice(start, CHUNK) for start in range(0, table.num_rows, CHUNK))


def write_sorted(storage: Storage, path: str, table: pa.Table) -> SortedRows:
    """Stage a sorted table and return its path and number of rows."""
    shuffle.write_buckets(storage, path, table.schema, chunks(table))
    return path, table.num_rows


def merge_sorted(
    storage: Storage, parts: Sequence[SortedRows], columns: Sequence[str], key: Callable[[tuple[Any, ...]], Any]
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of all parts in the order of `key`; each part is sorted by it."""
    read = (shuffle.read_rows(storage, path, range(chunk_count(rows)), columns) for path, rows in parts)
    return heapq.merge(*read, key=key)
