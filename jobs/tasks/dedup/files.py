"""The files of `duplicates`: each has the rows of consecutive buckets of `images`, so that few files name an image.

A file's name starts with the first bucket that it has rows of, or 0 for the first file. It ends before the next file.
Algorithm 2 wrote all rows as one file, which is found for every bucket.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.lake.files import DataFile, WrittenFile
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.images.splits import part_of

ROWS_PER_FILE = 1 << 18  # about 15 MB; the last bucket may have more


def write_by_bucket(writers: WriterFactory, rows: pa.Table, buckets: npt.NDArray[Any]) -> list[WrittenFile]:
    """Write rows of `duplicates`, whose buckets ascend; without rows, one empty file."""
    files: list[WrittenFile] = []
    for start, stop in pairwise([*_first_rows(buckets), len(buckets)]):
        with writers("duplicates", int(buckets[start]) if start else 0) as writer:
            writer.write(rows.slice(start, stop - start))
        files += writer.files
    return files


def _first_rows(buckets: npt.NDArray[Any]) -> list[int]:
    """Return the first row of each file: a file ends with the bucket in which it reaches `ROWS_PER_FILE`."""
    starts, start = [0], 0
    while start + ROWS_PER_FILE < len(buckets):
        start = int(np.searchsorted(buckets, buckets[start + ROWS_PER_FILE - 1], "right"))
        starts += [start] if start < len(buckets) else []
    return starts


class RemovedImages:
    """The files of `duplicates` of a batch, in order."""

    def __init__(self, files: Sequence[DataFile]) -> None:
        self._files, self._starts = files, [part_of(file) for file in files]

    def files_for(self, buckets: Collection[int]) -> Sequence[DataFile]:
        """Return the files that may name images of the buckets from the smallest to the largest of some."""
        if not buckets or not self._files:
            return ()
        before = bisect_right(self._starts, min(buckets)) - 1
        first = bisect_left(self._starts, self._starts[before])  # a file that was too large has several parts
        return self._files[first : bisect_right(self._starts, max(buckets))]
