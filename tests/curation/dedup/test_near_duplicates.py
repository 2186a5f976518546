from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dedup import hash_search
from curation.dedup.near_duplicates import find_clusters, find_duplicates, find_stored

radii = st.integers(0, 8)


def near_hashes(seed, count, originals, flips):
    """Hashes of which many differ in few bits: copies of some random ones with up to `flips` bits flipped."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, originals, np.uint64)[rng.integers(0, originals, count)]
    for _ in range(flips):
        hashes ^= rng.integers(0, 2, count, np.uint64) << rng.integers(0, 64, count, np.uint64)
    return hashes


hash_arrays = st.builds(near_hashes, st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 20), st.integers(0, 9))


def distance(first, second):
    return (int(first) ^ int(second)).bit_count()


def slow_duplicates(hashes, radius):
    """The definition as written."""
    kept, found = [], {}
    for row, value in enumerate(hashes.tolist()):
        near = min(((distance(value, hashes[other]), other) for other in kept), default=(99, -1))
        if value not in found and near[0] > radius:
            kept.append(row)
            yield -1, 0
        else:
            found.setdefault(value, near[::-1])
            yield found[value] if near[0] else (near[1], 0)


def slow_clusters(hashes, radius):
    roots = list(range(len(hashes)))
    for i in range(len(hashes)):
        for j in range(i):
            if distance(hashes[i], hashes[j]) <= radius:
                old, new = max(roots[i], roots[j]), min(roots[i], roots[j])
                roots = [new if root == old else root for root in roots]
    return roots


def pairs(nearest):
    return list(zip(nearest.rows.tolist(), nearest.distances.tolist(), strict=True))


@pytest.fixture(params=[2, 1024], ids=["every group is large", "groups are small"])
def max_group(request, monkeypatch):
    monkeypatch.setattr(hash_search, "MAX_GROUP", request.param)


@pytest.mark.usefixtures("max_group")
class TestSearch:
    @settings(max_examples=60)
    @given(hash_arrays, radii)
    def test_duplicates_are_those_of_the_definition(self, hashes, radius):
        assert pairs(find_duplicates(hashes, radius)) == list(slow_duplicates(hashes, radius))

    @settings(max_examples=60)
    @given(hash_arrays, radii)
    def test_clusters_join_every_pair_within_the_radius(self, hashes, radius):
        distinct = np.unique(hashes)
        assert find_clusters(distinct, radius).tolist() == slow_clusters(distinct, radius)

    @settings(max_examples=60)
    @given(hash_arrays, st.integers(0, 50), radii)
    def test_the_nearest_stored_hash_is_the_first_of_the_least_distance(self, hashes, count, radius):
        stored, queries = hashes[:count], hashes[count:]
        expected = []
        for value in queries:
            least = min(((distance(value, other), row) for row, other in enumerate(stored)), default=(99, -1))
            expected.append((least[1], least[0]) if least[0] <= radius else (-1, 0))
        assert pairs(find_stored(queries, stored, radius)) == expected


def test_a_crowd_of_hashes_that_agree_in_most_bits_is_searched_completely():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 2**20, 5000, dtype=np.uint64)
    hashes = np.unique(low << np.uint64(17) | np.uint64(0xABCD << 48))
    for radius in (0, 1, 2):
        found = find_duplicates(hashes, radius)
        kept = hashes[found.rows < 0]
        apart = np.bitwise_count(kept[:, None] ^ kept[None, :]) + np.where(np.eye(len(kept), dtype=bool), 99, 0)
        assert apart.min(initial=99) > radius
        removed = np.flatnonzero(found.rows >= 0)
        assert (np.bitwise_count(hashes[removed] ^ hashes[found.rows[removed]]) == found.distances[removed]).all()
        assert (found.distances <= radius).all()


@pytest.mark.parametrize("radius", [-1, 9])
def test_a_radius_that_is_too_large_or_negative_is_refused(radius):
    with pytest.raises(ValueError, match="between 0 and 8"):
        find_duplicates(np.zeros(1, np.uint64), radius)
