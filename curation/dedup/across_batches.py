"""Looks up images of earlier batches by their ids alone, without reading texts or holding an index in memory.

The column `image_id` of published pairs is the sorted set of a batch's ids and takes about 12 bytes per id on disk. It
is read one row group at a time, skipping row groups that cannot contain the ids. Full ids are compared, so the result
is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curation.dedup.by_image import GROUPS
from curation.io.storage import Storage
from curation.lake.checked_file import open_parquet
from curation.lake.parquet_read import find_rows

ID_LENGTH = 24


def is_known(storage: Storage, paths: Sequence[str], ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return, for each of the sorted ids, whether one of the files, each sorted by image_id, contains it."""
    sought = fixed_width(ids)
    known = np.zeros(len(sought), np.bool_)
    for path in paths if len(sought) else ():
        with open_parquet(storage, path) as file:
            for stored in _id_groups(file, sought[0], sought[-1]):
                start, stop = np.searchsorted(sought, stored[0]), np.searchsorted(sought, stored[-1], side="right")
                index = np.searchsorted(stored, sought[start:stop])
                known[start:stop] |= stored[np.minimum(index, len(stored) - 1)] == sought[start:stop]
    return known


def earlier_groups(storage: Storage, paths: Sequence[str], ids: pa.ChunkedArray) -> pa.Table:
    """Return the rows of the given images in files of pairs (schema `GROUPS`); each text of a row has one copy."""
    sought = ids.combine_chunks().cast(pa.string())
    filters = {"image_id": sought.to_pylist()}
    found = [find_rows(storage, path, filters) for path in paths] if len(sought) else []
    parts = [GROUPS.empty_table(), *found]
    rows = pa.concat_tables([part.select(GROUPS.names[:-1]) for part in parts])
    copies = pa.array([[1] * len(texts) for texts in rows["texts"].to_pylist()], GROUPS.field("copies").type)
    return rows.append_column("copies", copies).cast(GROUPS)


def files_of_bucket(names: Sequence[str], bucket: int, bits: int) -> list[int]:
    """Return the indices of a partition's files that can contain ids of bucket number `bucket` of `1 << bits`.

    A file name starts with the file's bucket number. A partition has a file for every bucket, so the number of its
    buckets, a power of two, follows from the names.
    """
    numbers = [int(name.partition(".")[0]) for name in names]
    file_bits = max(numbers, default=0).bit_length()
    common = min(bits, file_bits)
    return [i for i, number in enumerate(numbers) if number >> (file_bits - common) == bucket >> (bits - common)]


def _id_groups(file: pq.ParquetFile, first: bytes, last: bytes) -> Iterator[npt.NDArray[np.bytes_]]:
    """Yield the ids of each row group that can contain ids from `first` to `last`."""
    column = file.schema_arrow.get_field_index("image_id")
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(column).statistics
        bounded = statistics is not None and statistics.has_min_max
        if bounded and (statistics.max.encode() < first or statistics.min.encode() > last):
            continue
        ids = fixed_width(file.read_row_group(group, columns=["image_id"], use_threads=False)["image_id"])
        if len(ids):
            yield ids


def fixed_width(texts: pa.ChunkedArray | pa.Array, width: int = ID_LENGTH) -> npt.NDArray[np.bytes_]:
    """Return a column of texts of `width` bytes each, without nulls, as a NumPy array of fixed-width bytes."""
    column: Any = texts.cast(pa.binary())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not len(column):
        return np.empty(0, f"S{width}")
    _, offsets, data = column.buffers()
    start = np.frombuffer(offsets, np.int32, 1, 4 * column.offset)[0]
    return np.frombuffer(data, f"S{width}", len(column), int(start))
