"""Score and rank the unigrams and bigrams that are candidates for entries.

PMI = log2(c12·N / (c1·c2)), with N the number of bigram positions and c1, c2 the unigram counts of the two words. The
score of a bigram is its PMI (at least `bigram_min_pmi`) or the re-scored value (c12 + 1)^0.7 · (PMI − PMI_30%), where
PMI_30% is the 30th percentile over the Wikipedia's distinct bigrams, interpolated linearly (Meta CLIP 2, NeurIPS
version). Bigrams with scores of 0 and less are dropped; ties are broken by code points.

All n-grams of a small Wikipedia are ranked at once (`rank_unigrams`, `rank_bigrams`). Those of a large one are in
buckets, which the other functions process one at a time: c1 is added in the bucket of the first word and c2 in that of
the second (`word_counts`), and the percentile is computed from sorted values per bucket (`percentile_of_chunks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from metadata.limits import Limits, share_of
from metadata.ngrams.count import select_bigrams, select_unigrams

SLICE = 1 << 16
PERCENTILE = 30
EXPONENT = 0.7

Ranked = Iterator[tuple[str, float]]  # candidates and their scores, best first
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def rank_unigrams(grams: pa.Table, limits: Limits) -> Ranked:
    """Yield unigrams by descending count, ties by code points, with the limits' share and minimum count."""
    unigrams = select_unigrams(grams)
    most = share_of(limits.unigram_share, unigrams.num_rows)
    return _rows(sort_by_score(unigrams["first"], unigrams["count"]), floor=limits.unigram_min_count, most=most)


def rank_bigrams(grams: pa.Table, limits: Limits, joiner: str = " ") -> Ranked:
    """Yield bigrams by descending score, ties by code points, as two words joined by `joiner`."""
    unigrams, bigrams = select_unigrams(grams), select_bigrams(grams)
    if not bigrams.num_rows:
        return iter(())
    both = bigrams["count"].to_numpy()
    first, second = (word_counts(bigrams[column], unigrams) for column in ("first", "second"))
    values = pmi(both, first, second, int(both.sum()))
    has_score, scores = score_bigrams(both, values, limits, percentile(values))
    names = join_names(bigrams["first"], bigrams["second"], joiner)
    return _rows(sort_by_score(names.filter(pa.array(has_score)), pa.array(scores)))


def word_counts(words: pa.ChunkedArray, unigrams: pa.Table) -> Ints:
    """Return the counts of words, all of which must be among the unigrams."""
    indices = pc.index_in(words, value_set=unigrams["first"].combine_chunks())
    counts: Ints = unigrams["count"].take(indices).to_numpy()
    return counts


def pmi(both: Ints, first: Ints, second: Ints, positions: int) -> Floats:
    """Return the PMI of bigrams, given their counts, the counts of their first and second words, and N."""
    values: Floats = np.log2(both * positions / (first * second))
    return values


def score_bigrams(both: Ints, values: Floats, limits: Limits, base: float) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return a mask of the bigrams with a score and their scores; `base` is the percentile of all PMI values."""
    if limits.bigram_score == "pmi":
        has_score = (values >= limits.bigram_min_pmi) & (values > 0)
        return has_score, values[has_score]
    scores = (both + 1.0) ** EXPONENT * (values - base)
    return scores > 0, scores[scores > 0]


def join_names(first: pa.ChunkedArray, second: pa.ChunkedArray, joiner: str) -> pa.ChunkedArray:
    """Return bigrams as text: the first word, the joiner and the second word."""
    return pc.binary_join_element_wise(first, second, joiner)


def sort_by_score(names: pa.ChunkedArray, scores: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Return names and scores sorted by descending score, ties by code points."""
    table = pa.table({"name": names, "score": scores})
    return table.take(pc.sort_indices(table, sort_keys=[("score", "descending"), ("name", "ascending")]))


def _rows(table: pa.Table, *, floor: float = 0, most: int | None = None) -> Ranked:
    """Yield the first rows of a ranked table, at most `most`, while their score is at least `floor`."""
    for start in range(0, table.num_rows if most is None else min(most, table.num_rows), SLICE):
        rows = table.slice(start, SLICE if most is None else min(SLICE, most - start))
        for name, score in zip(rows["name"].to_pylist(), rows["score"].to_pylist(), strict=True):
            if score < floor:
                return
            yield name, float(score)


def _percentile_index(size: int) -> tuple[int, float]:
    """Return the index of the percentile among `size` sorted values, and its fraction towards the next value."""
    index, rest = divmod(PERCENTILE * (size - 1), 100)
    return index, rest / 100


def percentile(values: Floats) -> float:
    """Return the 30th percentile of one or more values, interpolated linearly."""
    index, fraction = _percentile_index(len(values))
    after = min(index + 1, len(values) - 1)
    partitioned = np.partition(values, (index, after))
    return float(partitioned[index] + (partitioned[after] - partitioned[index]) * fraction)


class Chunk(NamedTuple):
    """A chunk of sorted values: their number, the smallest and the largest value."""

    size: int
    low: float
    high: float


def percentile_of_chunks(chunks: Sequence[Chunk], read: Callable[[int], Floats]) -> float:
    """Return the 30th percentile of values in chunks; `read` returns the values of a chunk, given its index.

    Chunks are read one at a time, and only if they may contain the values at the percentile's index: the values of
    other chunks are all below, all above or all equal.
    """
    sizes, lows, highs = (np.array(column) for column in zip(*chunks, strict=True))
    index, fraction = _percentile_index(int(sizes.sum()))
    after = min(index + 1, int(sizes.sum()) - 1)
    by_low, by_high = np.argsort(lows), np.argsort(highs)
    # At most `index` values are less than `least`, and more than `after` values are at most `greatest`.
    least = lows[by_low][np.searchsorted(np.cumsum(sizes[by_low]) - sizes[by_low], index, "right") - 1]
    greatest = highs[by_high][np.searchsorted(np.cumsum(sizes[by_high]), after, "right")]
    below, values, weights = 0, [], []
    for chunk in np.flatnonzero(lows <= greatest).tolist():
        if highs[chunk] < least:
            below += int(sizes[chunk])
            continue
        chunk_values, weight = (
            (lows[chunk : chunk + 1], sizes[chunk]) if lows[chunk] == highs[chunk] else (read(chunk), 1)
        )
        near = chunk_values[(chunk_values >= least) & (chunk_values <= greatest)]
        below += int(np.count_nonzero(chunk_values < least)) * int(weight)
        values.append(near)
        weights.append(np.full(len(near), weight, np.int64))
    near, repeats = np.concatenate(values), np.concatenate(weights)
    order = np.argsort(near)
    low, high = near[order][np.searchsorted(np.cumsum(repeats[order]), (index - below, after - below), "right")]
    return float(low + (high - low) * fraction)
