"""Measure the search for near-duplicates among 10 million 64-bit hashes.

A tenth of them are copies with up to 4 bits flipped. `find_duplicates` chooses among the hashes themselves,
`find_stored` looks the second half of them up in the first. The alternative compares all pairs with numpy, measured for
a sample of the hashes and scaled to all. The sample also shows the recall: which of its pairs within the radius are not
found. The peak memory is that of the process, with the hashes.

    python benchmarks/bench_near_duplicates.py [--tiny] [MILLIONS OF HASHES]    (default: 10)
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
from common import run, scaled, table

from curation.dedup.near_duplicates import find_clusters, find_duplicates, find_stored

RADIUS = 4
COUNT = scaled(10_000_000, 20_000)
SAMPLE = scaled(100, 20)


def made_hashes(count: int) -> Any:
    """Return random hashes; every tenth is a copy of another one with up to `RADIUS` bits flipped."""
    rng = np.random.default_rng(count)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    copies = np.arange(9, count, 10)
    hashes[copies] = hashes[rng.integers(0, count, len(copies)) // 10 * 10]
    for flipped in range(RADIUS):
        rows = copies[rng.integers(0, RADIUS + 1, len(copies)) > flipped]
        hashes[rows] ^= np.uint64(1) << rng.integers(0, 64, len(rows), np.uint64)
    return hashes


def cpu(function: Any, *arguments: Any) -> tuple[Any, float]:
    """Return the result of a call and its CPU seconds."""
    started = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - started


def brute_force(hashes: Any, sample: Any) -> list[Any]:
    """Return the rows within the radius of each row of the sample."""
    return [np.flatnonzero(np.bitwise_count(hashes ^ hashes[row]) <= RADIUS) for row in sample]


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) * 1_000_000 if len(sys.argv) > 1 else COUNT
    for function in (find_duplicates, find_clusters):  # compile
        function(made_hashes(1000), RADIUS)
    find_stored(made_hashes(1000), made_hashes(1000), RADIUS)
    hashes = made_hashes(count)
    found, ours = cpu(find_duplicates, hashes, RADIUS)
    stored, lookup = cpu(find_stored, hashes[count // 2 :], hashes[: count // 2], RADIUS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sample = np.concatenate([np.arange(9, 5 * SAMPLE, 10), np.arange(count - 5 * SAMPLE, count, 10)])
    near, naive = cpu(brute_force, hashes, sample)
    pairs = missed = 0
    for row, others in zip(sample, near, strict=True):
        kept = others[found.rows[others] < 0]
        earlier = others[others < count // 2]
        pairs += len(others) - 1 + (row >= count // 2 and len(earlier) > 0)
        missed += len(kept) - 1 if found.rows[row] < 0 else int(not (kept < row).any())
        missed += int(row >= count // 2 and (stored.rows[row - count // 2] >= 0) != (len(earlier) > 0))
    naive_all = naive / len(sample) * count / 2
    ratio = naive_all / ours
    rows = [
        ["find_duplicates", f"{ours:.1f}", f"{count / ours / 1e6:.2f}", f"{np.count_nonzero(found.rows >= 0):,}"],
        ["find_stored", f"{lookup:.1f}", f"{count / 2 / lookup / 1e6:.2f}", f"{np.count_nonzero(stored.rows >= 0):,}"],
        ["all pairs, numpy (scaled)", f"{naive_all:,.0f}", f"{count / naive_all / 1e6:.6f}", "-"],
    ]
    title = f"Near-duplicates among {count:,} hashes, radius {RADIUS}, one core; peak memory {peak:.0f} MB; "
    title += f"of {pairs} pairs of {len(sample)} sampled hashes {missed} missed"
    columns = ["search", "CPU s", "million hashes per s", "duplicates"]
    table(title, columns, rows, name="near-duplicates", ratios={"find_duplicates": ratio})
    assert missed == 0, "the recall is 1"


if __name__ == "__main__":
    run(main)
