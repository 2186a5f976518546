"""Sorted rows of many buckets, merged as far as they are asked for.

Each bucket is staged by itself as one Arrow file with a record batch a chunk. A merge holds one chunk of each, so
hundreds of buckets of any size can be merged at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from curation.io.storage import Storage
from curation.lake import shuffle

CHUNK = 2048  # rows

SortedRows = tuple[str, int]  # a staged file and how many rows it holds


def chunk_count(rows: int) -> int:
    """Return how many chunks so many rows make."""
    return -(-rows // CHUNK)


def chunks(table: pa.Table) -> Iterator[pa.Table]:
    """Cut a table into chunks."""
    return (table.slice(start, CHUNK) for start in range(0, table.num_rows, CHUNK))


def write_sorted(storage: Storage, path: str, table: pa.Table) -> SortedRows:
    """Stage a sorted table and return where it lies."""
    shuffle.write_buckets(storage, path, table.schema, chunks(table))
    return path, table.num_rows


def merge_sorted(
    storage: Storage, parts: Sequence[SortedRows], columns: Sequence[str], key: Callable[[tuple[Any, ...]], Any]
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of all parts in the order of `key`, by which each is sorted."""
    read = (shuffle.read_rows(storage, path, range(chunk_count(rows)), columns) for path, rows in parts)
    return heapq.merge(*read, key=key)
