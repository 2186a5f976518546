"""Finds pairs of 64-bit hashes within a Hamming radius, without comparing all pairs.

The bits are cut into `radius + AGREEING` blocks. Two hashes within the radius differ in at most `radius` blocks, so
they agree in `AGREEING` others: the pair is found in the table that groups the hashes by these blocks (Manku et al.,
"Detecting Near-Duplicates for Web Crawling", 2007). Only one table is in memory at a time. A group that is too large
to compare all its pairs is searched in the same way by its other bits, with blocks of which one agrees.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Int, Ints, Offsets, Words, jit_inline, jit_nogil
from curation.jit.popcount import popcount

Hashes: TypeAlias = npt.NDArray[np.uint64]

HASH_BITS: Final = 64
MAX_RADIUS: Final = 8
AGREEING: Final = 2  # blocks of a table's key: 15 tables of 21 bits for radius 4
MAX_GROUP: Final = 1024  # hashes whose pairs are all compared
DIGIT_BITS: Final = 11


class PairVisitor(ABC):
    """Compares the pairs of groups of hashes."""

    @abstractmethod
    def visit(self, hashes: Hashes, rows: Ints, starts: Offsets, ends: Offsets) -> None:
        """Compare the pairs within each group `hashes[start:end]`; `rows` are the positions in the searched array."""


def search(hashes: Hashes, rows: Ints, visitor: PairVisitor, radius: int) -> None:
    """Show every pair of hashes within the radius to the visitor at least once, in groups with other pairs.

    Args:
        hashes: the hashes, in any order.
        rows: the number of each hash, passed on to the visitor.
        visitor: compares the pairs of a group.
        radius: bits that may differ, at most `MAX_RADIUS`.
    """
    for table in _tables(hashes, rows, HASH_BITS, AGREEING, radius):
        small = table.ends - table.starts <= MAX_GROUP
        visitor.visit(table.hashes, table.rows, table.starts[small], table.ends[small])
        for start, end in zip(table.starts[~small].tolist(), table.ends[~small].tolist(), strict=True):
            others, bits = _remove_blocks(table.hashes[start:end], table.blocks)
            for part in _tables(others, table.rows[start:end], bits, 1, radius):
                visitor.visit(part.hashes, part.rows, part.starts, part.ends)
        del table  # before the next one is built


@dataclass(frozen=True)
class _Table:
    """Hashes sorted by some blocks of bits (lowest bit, end), and where groups with the same ones start and end."""

    blocks: Sequence[tuple[int, int]]
    hashes: Hashes
    rows: Ints
    starts: Offsets
    ends: Offsets

    @classmethod
    def build(cls, hashes: Hashes, rows: Ints, blocks: Sequence[tuple[int, int]]) -> _Table:
        """Sort hashes and rows by some blocks."""
        hashes, rows = _group(hashes, rows, blocks)
        return cls(blocks, hashes, rows, *_find_groups(hashes, _mask(blocks)))


def _tables(hashes: Hashes, rows: Ints, bits: int, agreeing: int, radius: int) -> Iterator[_Table]:
    """Yield a table for each choice of `agreeing` blocks, for hashes of `bits` bits."""
    edges = [bits * block // (radius + agreeing) for block in range(radius + agreeing + 1)]
    for blocks in combinations(pairwise(edges), agreeing):
        yield _Table.build(hashes, rows, blocks)


def _remove_blocks(hashes: Hashes, blocks: Sequence[tuple[int, int]]) -> tuple[Hashes, int]:
    """Return the hashes without some blocks, which they all have in common, and the number of bits left."""
    for low, high in reversed(blocks):  # the highest block first, so that the others keep their positions
        upper = hashes >> np.uint64(high) << np.uint64(low) if high < HASH_BITS else np.uint64(0)
        hashes = upper | hashes & np.uint64((1 << low) - 1)
    return hashes, HASH_BITS - sum(high - low for low, high in blocks)


def _mask(blocks: Sequence[tuple[int, int]]) -> np.uint64:
    return np.uint64(sum((1 << high) - (1 << low) for low, high in blocks))


def _group(hashes: Hashes, rows: Ints, blocks: Sequence[tuple[int, int]]) -> tuple[Hashes, Ints]:
    """Return the hashes and rows sorted by some blocks of bits: a radix sort."""
    for start, end in blocks:
        for low in range(start, end, DIGIT_BITS):
            bits = min(DIGIT_BITS, end - low)
            sorted_hashes, sorted_rows = np.empty_like(hashes), np.empty_like(rows)
            _sort_by_digit(hashes, rows, np.uint64(low), np.uint64((1 << bits) - 1), sorted_hashes, sorted_rows)
            hashes, rows = sorted_hashes, sorted_rows
    return hashes, rows


@jit_nogil
def _sort_by_digit(hashes: Words, rows: Ints, low: Int, digit: Int, to_hashes: Words, to_rows: Ints) -> None:
    """Write hashes and rows, stably sorted by `hash >> low & digit`, to other arrays."""
    offsets = np.zeros(np.int64(digit) + 2, np.int64)
    for i in range(len(hashes)):
        offsets[np.int64(hashes[i] >> low & digit) + 1] += 1
    for i in range(1, len(offsets)):
        offsets[i] += offsets[i - 1]
    for i in range(len(hashes)):
        value = np.int64(hashes[i] >> low & digit)
        to_hashes[offsets[value]], to_rows[offsets[value]] = hashes[i], rows[i]
        offsets[value] += 1


@jit_nogil
def _count_groups(hashes: Words, mask: Int) -> Int:
    count, start = 0, 0
    for i in range(1, len(hashes) + 1):
        if i == len(hashes) or (hashes[i] ^ hashes[start]) & mask:
            count += i - start > 1
            start = i
    return count


@jit_nogil
def _list_groups(hashes: Words, mask: Int, starts: Offsets, ends: Offsets) -> None:
    count, start = 0, 0
    for i in range(1, len(hashes) + 1):
        if i == len(hashes) or (hashes[i] ^ hashes[start]) & mask:
            if i - start > 1:
                starts[count], ends[count] = start, i
                count += 1
            start = i


def _find_groups(hashes: Hashes, mask: np.uint64) -> tuple[Offsets, Offsets]:
    """Return where each run of at least two hashes with the same masked bits starts and ends."""
    count = _count_groups(hashes, mask)
    starts, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    _list_groups(hashes, mask, starts, ends)
    return starts, ends


@jit_inline
def find_root(parents: Ints, row: Int) -> Int:
    """Return the root of a row in a forest of parents, and shorten the path to it."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@jit_nogil
def join_pairs(hashes: Words, rows: Ints, starts: Offsets, ends: Offsets, radius: Int, parents: Ints) -> None:
    """Join the trees of every pair within the radius; the root of a tree is its smallest row."""
    for group in range(len(starts)):
        for i in range(starts[group] + 1, ends[group]):
            for j in range(starts[group], i):
                if popcount(hashes[i] ^ hashes[j]) <= radius:
                    first, second = find_root(parents, rows[i]), find_root(parents, rows[j])
                    parents[max(first, second)] = min(first, second)


@jit_nogil
def find_nearest(hashes: Words, rows: Ints, starts: Offsets, ends: Offsets, stored: Int, best: Offsets) -> None:
    """Reduce `best[i]` to the least `distance << 32 | row` of the stored rows in a group with the row `stored + i`.

    The rows below `stored` are stored.
    """
    for group in range(len(starts)):
        for i in range(starts[group], ends[group]):
            query = rows[i] - stored
            if query < 0:
                continue
            for j in range(starts[group], ends[group]):
                if rows[j] < stored:
                    distance = popcount(hashes[i] ^ hashes[j])
                    best[query] = min(best[query], distance << 32 | rows[j])
