"""Staged shuffle: moves rows from many work units to a fixed number of buckets, through Arrow files.

A work unit of the first pass writes one file with one record batch per bucket. A work unit of the second pass reads the
batch of its bucket from every file. The rows of the first pass are thus fixed before anything is aggregated: after a
lost executor, or if an input returns other bytes when read again, two versions of a unit are never mixed. Rows do not
pass through the JVM.
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
from curation.lake.kept_files import is_intact, write_kept

READ_AHEAD: Final = 256 << 10  # bytes per file, when many files are read bucket by bucket

BucketNumbers = Callable[[pa.Table, int], np.ndarray[Any, Any]]


def staged_name(index: int) -> str:
    """Return a file name for a work unit, unique to this attempt at it."""
    return f"{index:06d}-{uuid.uuid4().hex}.arrow"


def write_buckets(
    storage: Storage, path: str, schema: pa.Schema, buckets: Iterable[pa.Table], notes: Mapping[str, str] | None = None
) -> list[int]:
    """Write one record batch per bucket, including empty ones; return the number of rows in each.

    The file gets its final name when it is complete. `notes` are stored in its schema metadata. A file with notes may
    be kept for later runs, so it has a checksum too, which `read_notes` compares.
    """
    open_writer = write_kept if notes else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    rows = []
    noted = schema.with_metadata({key: value.encode() for key, value in notes.items()}) if notes else schema
    with storage.open_whole(path) as sink, open_writer(sink, noted, options=options) as writer:
        for bucket in buckets:
            batches = bucket.cast(schema).combine_chunks().to_batches()
            if len(batches) > 1:
                raise ValueError(f"{path}: a bucket of {bucket.num_rows} rows does not fit one record batch")
            writer.write_batch(batches[0] if batches else _empty(schema))
            rows.append(bucket.num_rows)
    return rows


def read_buckets(
    storage: Storage, paths: Sequence[str], buckets: range, fields: Sequence[int] | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of the given buckets, file by file and bucket by bucket; `fields` are the columns by number."""
    options = pa.ipc.IpcReadOptions(included_fields=fields)
    for path in paths:
        with storage.open_input(path) as source:
            reader = pa.ipc.open_file(source, options=options)
            for bucket in buckets:
                yield pa.Table.from_batches([reader.get_batch(bucket)], reader.schema)


def read_table(
    storage: Storage, paths: Sequence[str], buckets: range, schema: pa.Schema, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the rows of the given buckets of all files as one table, empty if there are none.

    `columns` are read alone, in the order of the schema.
    """
    fields = [number for number, name in enumerate(schema.names) if columns is None or name in columns]
    empty = schema.empty_table().select(fields)
    return pa.concat_tables([empty, *read_buckets(storage, paths, buckets, fields)])


def read_rows(storage: Storage, path: str, buckets: range, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the given buckets of one file, which is opened again for each bucket.

    Hundreds of files can thus be merged at once, even if most contribute only a few rows.
    """
    for bucket in buckets:
        for table in read_buckets(storage, [path], range(bucket, bucket + 1)):
            yield from zip(*(table[column].to_pylist() for column in columns), strict=True)


def read_notes(storage: Storage, path: str, schema: pa.Schema) -> dict[str, str] | None:
    """Return the notes of a file of buckets; None if it is missing, incomplete, damaged or has another schema."""
    try:
        if not is_intact(storage, path):
            return None
        with storage.open_input(path) as source:
            reader = pa.ipc.open_file(source)
            count = reader.num_record_batches
            if not count or count & (count - 1) or not reader.schema.equals(schema):
                return None
            return {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
    except (InputError, pa.ArrowException):
        return None


def read_bucket(storage: Storage, path: str, bucket: int, bits: int, bucket_numbers: BucketNumbers) -> pa.Table:
    """Return the rows of bucket number `bucket` of `1 << bits`, from a file that may have more or fewer buckets.

    `bucket_numbers(table, bits)` returns the bucket of every row.
    """
    with storage.open_input(path) as source:
        return _bucket(pa.ipc.open_file(source), bucket, bits, bucket_numbers)


def bucket_by_bucket(
    storage: Storage, paths: Sequence[str], bits: int, bucket_numbers: BucketNumbers
) -> Iterator[Iterator[pa.Table]]:
    """Yield, for each bucket, its rows from each file, as `read_bucket` returns them. All files stay open."""
    with ExitStack() as stack:
        sources = [stack.enter_context(storage.open_input(path)) for path in paths]
        # Buckets are adjacent in a file, and each read from an object store is a request.
        readers = [pa.ipc.open_file(pa.PythonFile(io.BufferedReader(source, READ_AHEAD), "r")) for source in sources]
        for bucket in range(1 << bits):
            yield (_bucket(reader, bucket, bits, bucket_numbers) for reader in readers)


def _bucket(reader: pa.ipc.RecordBatchFileReader, bucket: int, bits: int, bucket_numbers: BucketNumbers) -> pa.Table:
    file_bits = reader.num_record_batches.bit_length() - 1
    finer = max(0, file_bits - bits)
    first = (bucket << finer) >> max(0, bits - file_bits)
    batches = [reader.get_batch(number) for number in range(first, first + (1 << finer))]
    table = pa.Table.from_batches(batches, reader.schema).replace_schema_metadata(None)
    return table if file_bits >= bits else table.filter(pa.array(bucket_numbers(table, bits) == bucket))


def spread(table: pa.Table, column: str, buckets: int) -> Iterator[pa.Table]:
    """Yield one table per bucket; rows with the same text in `column` are in the same bucket."""
    if buckets == 1:
        yield table
        return
    texts = table[column].fill_null("").combine_chunks().dictionary_encode()
    hashed = np.fromiter((zlib.crc32(text.encode()) % buckets for text in texts.dictionary.to_pylist()), np.int64)
    numbers = hashed[texts.indices.to_numpy()]
    order = np.argsort(numbers, kind="stable")
    yield from split_sorted(table.take(pa.array(order)), numbers[order], buckets)


def split_sorted(table: pa.Table, buckets: np.ndarray[Any, Any], count: int) -> Iterator[pa.Table]:
    """Yield the tables of `count` buckets; `buckets` holds each row's bucket number, in ascending order."""
    edges = np.searchsorted(buckets, np.arange(count + 1))
    for start, end in pairwise(edges.tolist()):
        yield table.slice(start, end - start)


def bucket_bits(total_bytes: int, bucket_bytes: int) -> int:
    """Return the number of hash bits that gives buckets of at most about `bucket_bytes`, from the input size alone."""
    return max(0, (max(1, total_bytes) - 1) // bucket_bytes).bit_length()


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
