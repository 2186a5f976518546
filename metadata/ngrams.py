"""Unigrams and bigrams of running text: counting them, and ranking those that become entries.

Words are what white space and marks leave between them; a mark is any punctuation character or symbol (Unicode
categories P and S), and bigrams never reach over one. Nothing is folded to lower case.

Counts travel as Arrow tables (`GRAMS`): one row a gram, `order` 1 or 2, the parts of a bigram with one space between
(words hold none). So partial counts of many files add up by grouping, here or in a shuffle.
"""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metadata.limits import Limits, share_of

GRAMS = pa.schema([("order", pa.int8()), ("gram", pa.string()), ("count", pa.int64())])
MERGED = GRAMS.set(1, pa.field("gram", pa.large_string()))  # one array may hold more than 2 GiB of grams
SLICE = 1 << 16
PERCENTILE = 30
EXPONENT = 0.7

Ranked = Iterator[tuple[str, float]]  # candidates and their scores, best first


@dataclass
class NgramCounts:
    """Counts of unigrams and of bigrams (`"first second"`) of some texts; those of two sets of texts add up."""

    unigrams: Counter[str] = field(default_factory=Counter)
    bigrams: Counter[str] = field(default_factory=Counter)

    @property
    def positions(self) -> int:
        """N, the number of places where a bigram stands."""
        return self.bigrams.total()

    def update(self, text: str) -> None:
        """Count one more text."""
        for words in word_runs(text):
            self.unigrams.update(words)
            self.bigrams.update(map(" ".join, pairwise(words)))

    def __add__(self, other: NgramCounts) -> NgramCounts:
        return NgramCounts(self.unigrams + other.unigrams, self.bigrams + other.bigrams)

    def __len__(self) -> int:
        return len(self.unigrams) + len(self.bigrams)

    def table(self) -> pa.Table:
        """Return the counts as rows of `GRAMS`, in no particular order."""
        grams = [*self.unigrams, *self.bigrams]
        orders = np.repeat(np.array([1, 2], np.int8), [len(self.unigrams), len(self.bigrams)])
        counts = np.fromiter((*self.unigrams.values(), *self.bigrams.values()), np.int64, len(grams))
        return pa.table([orders, pa.array(grams, pa.string()), counts], schema=GRAMS)


def count(texts: Iterable[str]) -> NgramCounts:
    """Count the unigrams and bigrams of texts; no bigram reaches from one text into the next."""
    counts = NgramCounts()
    for text in texts:
        counts.update(text)
    return counts


def word_runs(text: str) -> Iterator[list[str]]:
    """Yield the runs of words that no mark interrupts, of the text in NFC."""
    for run in unicodedata.normalize("NFC", text).translate(_breaks()).split("\0"):
        if words := run.split():
            yield words


@cache
def _breaks() -> dict[int, str]:
    """Map every mark to a zero character; a regular expression of thousands of characters is far slower."""
    return {c: "\0" for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] in "PS"}


def merge_grams(tables: Iterable[pa.Table]) -> pa.Table:
    """Return the counts of many tables of `GRAMS` in one (`MERGED`), sorted by order and gram."""
    grams = pa.concat_tables([MERGED.empty_table(), *(table.cast(MERGED) for table in tables)])
    summed = grams.group_by(["order", "gram"]).aggregate([("count", "sum")]).rename_columns(GRAMS.names)
    return summed.cast(MERGED).sort_by([("order", "ascending"), ("gram", "ascending")])


def rank_unigrams(grams: pa.Table, limits: Limits) -> Ranked:
    """Yield unigrams by falling count, ties by code points: the share of the distinct ones that reach the floor."""
    unigrams = grams.filter(pc.field("order") == 1)
    kept = share_of(limits.unigram_share, unigrams.num_rows)
    return ranked(unigrams["gram"], unigrams["count"], floor=limits.unigram_min_count, most=kept)


def rank_bigrams(grams: pa.Table, limits: Limits, joiner: str = " ") -> Ranked:
    """Yield bigrams by falling score, ties by code points; scores of 0 and less are dropped.

    PMI = log2(c12·N / (c1·c2)), with N the number of bigram positions and c1, c2 the parts' unigram counts. The score
    is the PMI itself (floor `bigram_min_pmi`), or re-scored, (c12 + 1)^0.7 · (PMI − PMI_30%), where PMI_30% is the
    30th percentile over this table's distinct bigrams, interpolated linearly as numpy does (Meta CLIP 2, NeurIPS
    version). The parts are joined by `joiner`: nothing, in languages written without spaces.
    """
    unigrams, bigrams = grams.filter(pc.field("order") == 1), grams.filter(pc.field("order") == 2)
    if not bigrams.num_rows:
        return
    both = bigrams["count"].to_numpy()
    parts = pc.split_pattern(bigrams["gram"].combine_chunks(), " ")
    first, second = (_counts_of(pc.list_element(parts, place), unigrams) for place in (0, 1))
    pmi = np.log2(both * both.sum() / (first * second))
    if limits.bigram_score == "pmi":
        scores = np.where(pmi >= limits.bigram_min_pmi, pmi, 0.0)
    else:
        scores = (both + 1.0) ** EXPONENT * (pmi - np.percentile(pmi, PERCENTILE))
    positive = scores > 0
    names = pc.replace_substring(bigrams["gram"], " ", joiner).filter(pa.array(positive))
    yield from ranked(names, pa.array(scores[positive]))


def _counts_of(words: pa.Array, unigrams: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    found = pc.index_in(words, value_set=unigrams["gram"].combine_chunks())
    counts: np.ndarray[tuple[int], np.dtype[np.int64]] = unigrams["count"].take(found).to_numpy()
    return counts


def ranked(names: pa.ChunkedArray, scores: pa.Array, *, floor: float = 0, most: int | None = None) -> Ranked:
    """Yield names by falling score, ties by code points: those that reach the floor, at most so many."""
    table = pa.table({"name": names, "score": scores})
    order = pc.sort_indices(table, sort_keys=[("score", "descending"), ("name", "ascending")])
    for start in range(0, len(order) if most is None else min(most, len(order)), SLICE):
        piece = table.take(order[start : start + SLICE if most is None else min(start + SLICE, most)])
        for name, score in zip(piece["name"].to_pylist(), piece["score"].to_pylist(), strict=True):
            if score < floor:
                return
            yield name, float(score)
