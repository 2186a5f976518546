"""Moving rows from many units to fixed buckets through staged Arrow files.

A map unit writes one file with a record batch per bucket; a later unit reads its bucket's batch from each of them. What
a unit read is pinned by the time anything is aggregated, so a lost executor or an input that answers differently the
second time cannot mix two versions of the same unit; and rows never cross into the JVM.
"""

from __future__ import annotations

import io
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from curation.errors import InputError
from curation.io.storage import Storage

AHEAD: Final = 256 << 10  # bytes read at once of each of the files that are walked through together

Numbered = Callable[[pa.Table, int], np.ndarray[Any, Any]]


def staged_name(index: int) -> str:
    """Return a name for a unit's staged file that no other attempt at the unit has."""
    return f"{index:06d}-{uuid.uuid4().hex}.arrow"


def write_buckets(
    storage: Storage, path: str, schema: pa.Schema, buckets: Iterable[pa.Table], notes: Mapping[str, str] | None = None
) -> list[int]:
    """Write one record batch per bucket, empty ones too; return the rows of each.

    The file gets its name once it is whole. `notes` travel in it.
    """
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    rows = []
    noted = schema.with_metadata({key: value.encode() for key, value in notes.items()}) if notes else schema
    with storage.open_whole(path) as sink, pa.ipc.new_file(sink, noted, options=options) as writer:
        for bucket in buckets:
            batches = bucket.cast(schema).combine_chunks().to_batches()
            if len(batches) > 1:
                raise ValueError(f"{path}: a bucket of {bucket.num_rows} rows does not fit one record batch")
            writer.write_batch(batches[0] if batches else _empty(schema))
            rows.append(bucket.num_rows)
    return rows


def read_buckets(storage: Storage, paths: Sequence[str], buckets: range) -> Iterator[pa.Table]:
    """Yield, file after file, the rows of the given buckets."""
    for path in paths:
        with storage.open_input(path) as source:
            reader = pa.ipc.open_file(source)
            for bucket in buckets:
                yield pa.Table.from_batches([reader.get_batch(bucket)], reader.schema)


def read_table(storage: Storage, paths: Sequence[str], buckets: range, schema: pa.Schema) -> pa.Table:
    """Return the rows of the given buckets of all files; none where there is no file or no bucket."""
    return pa.concat_tables([schema.empty_table(), *read_buckets(storage, paths, buckets)])


def read_rows(storage: Storage, path: str, buckets: range, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the given buckets of one file, opened anew for each.

    So hundreds of files can be merged at once, most of which give few rows only.
    """
    for bucket in buckets:
        for table in read_buckets(storage, [path], range(bucket, bucket + 1)):
            yield from zip(*(table[column].to_pylist() for column in columns), strict=True)


def read_notes(storage: Storage, path: str, schema: pa.Schema) -> dict[str, str] | None:
    """Return the notes of a file of buckets; None when there is no such file, whole and of this schema."""
    try:
        with storage.open_input(path) as source:
            reader = pa.ipc.open_file(source)
            count = reader.num_record_batches
            if not count or count & (count - 1) or not reader.schema.equals(schema):
                return None
            return {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
    except (InputError, pa.ArrowException):
        return None


def read_bucket(storage: Storage, path: str, bucket: int, bits: int, numbered: Numbered) -> pa.Table:
    """Return the rows of a bucket, of the `1 << bits` that there are now, from a file cut into more or fewer.

    `numbered` gives the bucket of every row, at so many bits.
    """
    with storage.open_input(path) as source:
        return _bucket(pa.ipc.open_file(source), bucket, bits, numbered)


def bucket_by_bucket(
    storage: Storage, paths: Sequence[str], bits: int, numbered: Numbered
) -> Iterator[Iterator[pa.Table]]:
    """Yield, bucket after bucket, its rows of each file as `read_bucket` returns them; all files stay open."""
    with ExitStack() as stack:
        sources = [stack.enter_context(storage.open_input(path)) for path in paths]
        # Buckets lie side by side, and on an object store each read is a request.
        readers = [pa.ipc.open_file(pa.PythonFile(io.BufferedReader(source, AHEAD), "r")) for source in sources]
        for bucket in range(1 << bits):
            yield (_bucket(reader, bucket, bits, numbered) for reader in readers)


def _bucket(reader: pa.ipc.RecordBatchFileReader, bucket: int, bits: int, numbered: Numbered) -> pa.Table:
    own = reader.num_record_batches.bit_length() - 1
    finer = max(0, own - bits)
    first = (bucket << finer) >> max(0, bits - own)
    batches = [reader.get_batch(number) for number in range(first, first + (1 << finer))]
    table = pa.Table.from_batches(batches, reader.schema).replace_schema_metadata(None)
    return table if own >= bits else table.filter(pa.array(numbered(table, bits) == bucket))


def spread(table: pa.Table, column: str, buckets: int) -> Iterator[pa.Table]:
    """Cut a table into one for each of so many buckets; rows with the same text in `column` are in the same one."""
    if buckets == 1:
        yield table
        return
    texts = table[column].fill_null("").combine_chunks().dictionary_encode()
    places = np.fromiter((zlib.crc32(text.encode()) % buckets for text in texts.dictionary.to_pylist()), np.int64)
    numbers = places[texts.indices.to_numpy()]
    order = np.argsort(numbers, kind="stable")
    yield from split_sorted(table.take(pa.array(order)), numbers[order], buckets)


def split_sorted(table: pa.Table, buckets: np.ndarray[Any, Any], count: int) -> Iterator[pa.Table]:
    """Cut a table, whose rows' bucket numbers ascend, into `count` tables."""
    edges = np.searchsorted(buckets, np.arange(count + 1))
    for start, end in pairwise(edges.tolist()):
        yield table.slice(start, end - start)


def bucket_bits(total_bytes: int, bucket_bytes: int) -> int:
    """Return how many leading hash bits make buckets of at most about `bucket_bytes`; a function of the input alone."""
    return max(0, (max(1, total_bytes) - 1) // bucket_bytes).bit_length()


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
