"""What a task of the match job gets: files of pairs by bytes, and counts by pieces of a language's entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation.lake.lake import DataFile
from curation.lake.schemas import SCHEMAS

PIECE = 1 << 16  # entries
SPREAD = 64  # tasks that a batch is spread over before any of them gets `match.unit_bytes`
FLOOR = 64 << 20  # bytes of a unit whose staged counts are some hundredths of its matches
FEWEST = 8  # tasks that even a small batch is spread over


def units_of(files: Sequence[DataFile], unit_bytes: int) -> list[list[DataFile]]:
    """Group files of pairs, in their order, into units of about `unit_bytes`; less, if they were fewer than SPREAD.

    Every unit stages the counts of all entries it has seen, so large ones keep these small beside the matches. Units of
    a batch that makes less than SPREAD large ones are a SPREAD-th of it, but not under FLOOR, as far as that leaves
    FEWEST of them.
    """
    total = sum(file.size for file in files)
    target = min(unit_bytes, max(total / SPREAD, min(FLOOR, total / FEWEST)))
    units: list[list[DataFile]] = []
    held = 0
    for file in files:
        if not units or held >= target:
            units.append([])
            held = 0
        units[-1].append(file)
        held += file.size
    return units


class Piece(NamedTuple):
    """Entries `start` to `end` of a language, whose counts one task adds up: no task gets all of a large language."""

    lang: str
    start: int
    end: int

    def of(self, counts: Mapping[str, pa.Table]) -> pa.Table:
        """Return the rows of this piece from tables by language, sorted by entry."""
        if self.lang not in counts:
            return SCHEMAS["counts"].empty_table()
        table = counts[self.lang]
        first, end = np.searchsorted(table["entry_id"].to_numpy(), [self.start, self.end])
        return table.slice(first, end - first)


def pieces_of(entries: Mapping[str, int]) -> list[Piece]:
    """Cut every language's entries, of which there are so many, into pieces."""
    starts = [(lang, start) for lang in sorted(entries) for start in range(0, entries[lang], PIECE)]
    return [Piece(lang, start, start + PIECE) for lang, start in starts]


def piece_ranges(rows: Sequence[Sequence[int]], most: int = 2_000_000) -> list[range]:
    """Cut the pieces into runs of about `most` staged rows, at least one."""
    if not rows:
        return [range(0)]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    ranges, start, held = [], 0, 0
    for index, size in enumerate(sums):
        if held and held + size > most:
            ranges.append(range(start, index))
            start, held = index, 0
        held += size
    return [*ranges, range(start, len(sums))]
