"""The work units of the match job: files of pairs grouped by bytes, and counts grouped by ranges of entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation.lake.files import DataFile
from curation.lake.schemas import SCHEMAS

RANGE = 1 << 16  # entries
SPREAD = 64  # tasks that a batch is spread over before any of them gets `match.unit_bytes`
FLOOR = 64 << 20  # bytes of a work unit whose staged counts are some hundredths of its matches
FEWEST = 8  # tasks that even a small batch is spread over


def group_files(files: Sequence[DataFile], unit_bytes: int) -> list[list[DataFile]]:
    """Group files of pairs, in their order, into work units of about `unit_bytes`.

    Every work unit stages the counts of all entries it has seen, so large ones keep the counts small beside the
    matches. A batch too small for SPREAD units of `unit_bytes` is cut into SPREAD units, but of at least FLOOR bytes
    as long as that leaves FEWEST of them.
    """
    total = sum(file.size for file in files)
    target = min(unit_bytes, max(total / SPREAD, min(FLOOR, total / FEWEST)))
    units: list[list[DataFile]] = []
    size = 0
    for file in files:
        if not units or size >= target:
            units.append([])
            size = 0
        units[-1].append(file)
        size += file.size
    return units


class EntryRange(NamedTuple):
    """Entries `start` to `end` of a language: no task adds up the counts of a whole large language."""

    lang: str
    start: int
    end: int

    def select(self, counts: Mapping[str, pa.Table]) -> pa.Table:
        """Return the rows of this range from tables by language, sorted by entry."""
        if self.lang not in counts:
            return SCHEMAS["counts"].empty_table()
        table = counts[self.lang]
        first, end = np.searchsorted(table["entry_id"].to_numpy(), [self.start, self.end])
        return table.slice(first, end - first)


def entry_ranges(entries: Mapping[str, int]) -> list[EntryRange]:
    """Cut the entries of every language into ranges; `entries` is their number by language."""
    starts = [(lang, start) for lang in sorted(entries) for start in range(0, entries[lang], RANGE)]
    return [EntryRange(lang, start, start + RANGE) for lang, start in starts]


def group_ranges(rows: Sequence[Sequence[int]], most: int = 2_000_000) -> list[range]:
    """Group the entry ranges into runs of about `most` staged rows, at least one run.

    `rows` holds, for each staged file, the number of rows of each entry range.
    """
    if not rows:
        return [range(0)]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    runs, start, size = [], 0, 0
    for index, rows_of_range in enumerate(sums):
        if size and size + rows_of_range > most:
            runs.append(range(start, index))
            start, size = index, 0
        size += rows_of_range
    return [*runs, range(start, len(sums))]
