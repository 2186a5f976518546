"""Chooses among near-duplicate images by their 64-bit perceptual hashes.

The order of the hashes is the order of preference. An image is kept unless its hash is within the radius of one that is
kept before it. So no two kept images are near-duplicates, and each other image is one of a kept image, not merely of an
image that is one itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.dedup.hash_search import (
    MAX_RADIUS,
    Hashes,
    PairVisitor,
    find_nearest,
    find_root,
    join_pairs,
    search,
)
from curation.jit.compiler import Int, Ints, Offsets, Words, jit_nogil
from curation.jit.popcount import popcount


@dataclass(frozen=True)
class Nearest:
    """For each hash the row of the hash that it duplicates (-1 for none), and their distance."""

    rows: Ints
    distances: Ints


@dataclass(frozen=True)
class _JoinPairs(PairVisitor):
    radius: int
    parents: Ints

    def visit(self, hashes: Hashes, rows: Ints, starts: Offsets, ends: Offsets) -> None:
        join_pairs(hashes, rows, starts, ends, self.radius, self.parents)


@dataclass(frozen=True)
class _FindNearest(PairVisitor):
    stored: int
    best: Offsets

    def visit(self, hashes: Hashes, rows: Ints, starts: Offsets, ends: Offsets) -> None:
        find_nearest(hashes, rows, starts, ends, self.stored, self.best)


def find_clusters(hashes: Hashes, radius: int) -> Ints:
    """Return, for each of some distinct hashes, the smallest row that a chain of steps within the radius leads to."""
    _check(radius)
    parents = np.arange(len(hashes), dtype=np.int32)
    search(hashes, parents.copy(), _JoinPairs(radius, parents), radius)
    _find_roots(parents)
    return parents


def find_duplicates(hashes: Hashes, radius: int) -> Nearest:
    """Return which hashes are not kept, and the nearest hash kept before each of them; of equally near ones the first.

    Equal hashes that are not kept have the same original: the nearest one before the first of them.
    Raises ValueError for a radius that is negative or above `MAX_RADIUS`.
    """
    first, ranks = _find_first(hashes)
    distinct = hashes[first]
    roots = find_clusters(distinct, radius)
    is_member = roots != np.arange(len(roots), dtype=np.int32)
    is_member[roots[is_member]] = True
    members = np.flatnonzero(is_member).astype(np.int32)
    members = members[np.argsort(roots[members], kind="stable")]
    nearest, distances = np.full(len(distinct), -1, np.int32), np.zeros(len(distinct), np.int32)
    _choose(distinct, members, roots, radius, nearest, distances)
    originals = np.where(nearest >= 0, first[nearest], first)[ranks]
    originals[first[nearest < 0]] = -1
    return Nearest(originals, distances[ranks])


def find_stored(hashes: Hashes, stored: Hashes, radius: int) -> Nearest:
    """Return the nearest stored hash within the radius of each hash; of equally near ones the first.

    Raises ValueError for a radius that is negative or above `MAX_RADIUS`.
    """
    _check(radius)
    (first, _), (first_queries, ranks) = _find_first(stored), _find_first(hashes)
    both = np.concatenate([stored[first], hashes[first_queries]])
    best = np.full(len(first_queries), (radius + 1) << 32, np.int64)
    search(both, np.arange(len(both), dtype=np.int32), _FindNearest(len(first), best), radius)
    is_near = best < (radius + 1) << 32
    nearest, distances = np.full(len(best), -1, np.int32), np.where(is_near, best >> 32, 0).astype(np.int32)
    nearest[is_near] = first[best[is_near] & 0xFFFFFFFF]
    return Nearest(nearest[ranks], distances[ranks])


def _find_first(hashes: Hashes) -> tuple[Ints, Ints]:
    """Return the first row of each distinct hash, in order, and the position of each row's hash among them."""
    order = np.argsort(hashes, kind="stable").astype(np.int32)
    starts = np.empty(len(hashes), np.bool_)
    starts[:1] = True
    np.not_equal(hashes[order[1:]], hashes[order[:-1]], out=starts[1:])
    first_of_row = np.empty(len(hashes), np.int32)
    first_of_row[order] = order[starts][np.cumsum(starts, dtype=np.int32) - 1]
    is_first = first_of_row == np.arange(len(hashes), dtype=np.int32)
    return np.flatnonzero(is_first).astype(np.int32), (np.cumsum(is_first, dtype=np.int32) - 1)[first_of_row]


def _check(radius: int) -> None:
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"the radius must be between 0 and {MAX_RADIUS}, not {radius}")


@jit_nogil
def _find_roots(parents: Ints) -> None:
    for row in range(len(parents)):
        parents[row] = find_root(parents, row)


@jit_nogil
def _choose(hashes: Words, members: Ints, roots: Ints, radius: Int, nearest: Ints, distances: Ints) -> None:
    """Note the nearest kept row before each member of a cluster; the members of a cluster follow each other in order.

    Only the kept rows of the same cluster are compared.
    """
    kept = np.empty(len(members), np.int32)
    num_kept = 0
    for i in range(len(members)):
        row = members[i]
        if i == 0 or roots[row] != roots[members[i - 1]]:
            num_kept = 0
        least, best = np.int64(radius) + 1, -1
        for j in range(num_kept):
            distance = popcount(hashes[row] ^ hashes[kept[j]])
            if distance < least:
                least, best = distance, kept[j]
        if best < 0:
            kept[num_kept] = row
            num_kept += 1
        else:
            nearest[row], distances[row] = best, least
