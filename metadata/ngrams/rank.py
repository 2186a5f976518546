"""Which unigrams and bigrams become entries: scores, and their order.

PMI = log2(c12·N / (c1·c2)), with N the number of bigram positions and c1, c2 the parts' unigram counts. A bigram's
score is the PMI itself (floor `bigram_min_pmi`), or re-scored, (c12 + 1)^0.7 · (PMI − PMI_30%), where PMI_30% is the
30th percentile over the Wikipedia's distinct bigrams, interpolated linearly (Meta CLIP 2, NeurIPS version). Scores of 0
and less are dropped; ties are broken by code points.

All grams of a small Wikipedia are ranked at once (`rank_unigrams`, `rank_bigrams`). A large one's lie in buckets, and
the same functions serve a bucket at a time: c1 joins where a bigram's first word is counted, c2 where its second is
(`word_counts`), and the percentile comes from the buckets' sorted values (`percentile_of_chunks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from metadata.limits import Limits, share_of
from metadata.ngrams.count import bigrams_of, unigrams_of

SLICE = 1 << 16
PERCENTILE = 30
EXPONENT = 0.7

Ranked = Iterator[tuple[str, float]]  # candidates and their scores, best first
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def rank_unigrams(grams: pa.Table, limits: Limits) -> Ranked:
    """Yield unigrams by falling count, ties by code points: the share of the distinct ones that reach the floor."""
    unigrams = unigrams_of(grams)
    kept = share_of(limits.unigram_share, unigrams.num_rows)
    return _rows(best_first(unigrams["first"], unigrams["count"]), floor=limits.unigram_min_count, most=kept)


def rank_bigrams(grams: pa.Table, limits: Limits, joiner: str = " ") -> Ranked:
    """Yield bigrams by falling score, ties by code points, their parts joined by `joiner`."""
    unigrams, bigrams = unigrams_of(grams), bigrams_of(grams)
    if not bigrams.num_rows:
        return iter(())
    both = bigrams["count"].to_numpy()
    first, second = (word_counts(bigrams[column], unigrams) for column in ("first", "second"))
    values = pmi(both, first, second, int(both.sum()))
    kept, scores = scored(both, values, limits, percentile(values))
    names = joined(bigrams["first"], bigrams["second"], joiner)
    return _rows(best_first(names.filter(pa.array(kept)), pa.array(scores)))


def word_counts(words: pa.ChunkedArray, unigrams: pa.Table) -> Ints:
    """Return the counts of words among unigrams, all of which are there."""
    found = pc.index_in(words, value_set=unigrams["first"].combine_chunks())
    counts: Ints = unigrams["count"].take(found).to_numpy()
    return counts


def pmi(both: Ints, first: Ints, second: Ints, positions: int) -> Floats:
    """Return the PMI of bigrams by their own counts, those of their parts, and the number of positions."""
    values: Floats = np.log2(both * positions / (first * second))
    return values


def scored(both: Ints, values: Floats, limits: Limits, base: float) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return which bigrams score at all, and the scores of these; `base` is the percentile of all PMI values."""
    if limits.bigram_score == "pmi":
        kept = (values >= limits.bigram_min_pmi) & (values > 0)
        return kept, values[kept]
    scores = (both + 1.0) ** EXPONENT * (values - base)
    return scores > 0, scores[scores > 0]


def joined(first: pa.ChunkedArray, second: pa.ChunkedArray, joiner: str) -> pa.ChunkedArray:
    """Return the names of bigrams."""
    return pc.binary_join_element_wise(first, second, joiner)


def best_first(names: pa.ChunkedArray, scores: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Return names and scores by falling score, ties by code points."""
    table = pa.table({"name": names, "score": scores})
    return table.take(pc.sort_indices(table, sort_keys=[("score", "descending"), ("name", "ascending")]))


def _rows(table: pa.Table, *, floor: float = 0, most: int | None = None) -> Ranked:
    """Yield the rows of a ranked table that reach the floor, at most so many."""
    for start in range(0, table.num_rows if most is None else min(most, table.num_rows), SLICE):
        piece = table.slice(start, SLICE if most is None else min(SLICE, most - start))
        for name, score in zip(piece["name"].to_pylist(), piece["score"].to_pylist(), strict=True):
            if score < floor:
                return
            yield name, float(score)


def _place(size: int) -> tuple[int, float]:
    """Return after which of so many sorted values the percentile lies, and how far towards the next."""
    place, rest = divmod(PERCENTILE * (size - 1), 100)
    return place, rest / 100


def percentile(values: Floats) -> float:
    """Return the 30th percentile of one value or more, interpolated linearly."""
    place, part = _place(len(values))
    after = min(place + 1, len(values) - 1)
    parted = np.partition(values, (place, after))
    return float(parted[place] + (parted[after] - parted[place]) * part)


class Chunk(NamedTuple):
    """Some of the values, sorted: how many, the least and the greatest."""

    size: int
    low: float
    high: float


def percentile_of_chunks(chunks: Sequence[Chunk], read: Callable[[int], Floats]) -> float:
    """Return the 30th percentile of values that lie in chunks; `read` returns the values of one by its number.

    Only chunks that may hold the values at that place are read, one at a time: the others lie below or above, or hold
    one value only.
    """
    sizes, lows, highs = (np.array(column) for column in zip(*chunks, strict=True))
    place, part = _place(int(sizes.sum()))
    after = min(place + 1, int(sizes.sum()) - 1)
    by_low, by_high = np.argsort(lows), np.argsort(highs)
    # At most `place` values are less than `least`, and more than `after` are not greater than `greatest`.
    least = lows[by_low][np.searchsorted(np.cumsum(sizes[by_low]) - sizes[by_low], place, "right") - 1]
    greatest = highs[by_high][np.searchsorted(np.cumsum(sizes[by_high]), after, "right")]
    below, values, times = 0, [], []
    for number in np.flatnonzero(lows <= greatest).tolist():
        if highs[number] < least:
            below += int(sizes[number])
            continue
        found, weight = (
            (lows[number : number + 1], sizes[number]) if lows[number] == highs[number] else (read(number), 1)
        )
        near = found[(found >= least) & (found <= greatest)]
        below += int(np.count_nonzero(found < least)) * int(weight)
        values.append(near)
        times.append(np.full(len(near), weight, np.int64))
    near, weights = np.concatenate(values), np.concatenate(times)
    order = np.argsort(near)
    low, high = near[order][np.searchsorted(np.cumsum(weights[order]), (place - below, after - below), "right")]
    return float(low + (high - low) * part)
