"""Images of earlier batches, recognised by their ids alone: no text is read, and nothing is kept in memory.

The column `image_id` of published pairs is the sorted set of a batch's ids: about 12 bytes an id on disk, read a row
group at a time and only where ids can be. Whole ids are compared, so the answer is exact.
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

ID_LENGTH = 24


def is_known(storage: Storage, paths: Sequence[str], ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Tell for each of the sorted ids whether one of the files, each sorted by image_id, has it."""
    wanted = _fixed(ids)
    seen = np.zeros(len(wanted), np.bool_)
    for path in paths if len(wanted) else ():
        with storage.open_input(path) as source:
            for have in _id_groups(pq.ParquetFile(source), wanted[0], wanted[-1]):
                start, stop = np.searchsorted(wanted, have[0]), np.searchsorted(wanted, have[-1], side="right")
                place = np.searchsorted(have, wanted[start:stop])
                seen[start:stop] |= have[np.minimum(place, len(have) - 1)] == wanted[start:stop]
    return seen


def earlier_groups(storage: Storage, paths: Sequence[str], ids: pa.ChunkedArray) -> pa.Table:
    """Return the rows that files of pairs have of some images (schema `GROUPS`); each text counts once a row."""
    wanted = ids.combine_chunks().cast(pa.string())
    parts = [GROUPS.empty_table()]
    for path in paths if len(wanted) else ():
        with storage.open_input(path) as source:
            parts.append(pq.read_table(source, filters=[("image_id", "in", wanted.to_pylist())], partitioning=None))
    found = pa.concat_tables([part.select(GROUPS.names[:-1]) for part in parts])
    copies = pa.array([[1] * len(texts) for texts in found["texts"].to_pylist()], GROUPS.field("copies").type)
    return found.append_column("copies", copies).cast(GROUPS)


def files_of_bucket(names: Sequence[str], bucket: int, bits: int) -> list[int]:
    """Return which files of a partition can hold ids of a bucket.

    A file's name begins with its own bucket, and a partition has a file of every bucket: so many, a power of two.
    """
    own = [int(name.partition(".")[0]) for name in names]
    own_bits = max(own, default=0).bit_length()
    common = min(bits, own_bits)
    return [i for i, other in enumerate(own) if other >> (own_bits - common) == bucket >> (bits - common)]


def _id_groups(file: pq.ParquetFile, first: bytes, last: bytes) -> Iterator[npt.NDArray[np.bytes_]]:
    """Yield the ids of each row group that can hold some between `first` and `last`."""
    column = file.schema_arrow.get_field_index("image_id")
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(column).statistics
        known = statistics is not None and statistics.has_min_max
        if known and (statistics.max.encode() < first or statistics.min.encode() > last):
            continue
        ids = _fixed(file.read_row_group(group, columns=["image_id"])["image_id"])
        if len(ids):
            yield ids


def _fixed(ids: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Return a column of ids as an array of fixed width."""
    column: Any = ids.cast(pa.binary()).combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids.cast(pa.binary())
    if not len(column):
        return np.empty(0, f"S{ID_LENGTH}")
    _, offsets, data = column.buffers()
    start = np.frombuffer(offsets, np.int32, 1, 4 * column.offset)[0]
    return np.frombuffer(data, f"S{ID_LENGTH}", len(column), int(start))
