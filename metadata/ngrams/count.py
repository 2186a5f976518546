"""Count unigrams and bigrams of running text in bounded memory.

Texts are counted in windows of a fixed number of words. Within a window, words are represented by numbers and a bigram
by two numbers in one integer, so counting is sorting integers. The counts of a window are an Arrow table (`GRAMS`). An
n-gram may occur in several tables, which are summed exactly by grouping (`sum_grams`).

Tables are partitioned into buckets by a hash of the first word of the n-gram (`curation.lake.shuffle.spread`): a bucket
has a word, its count and all bigrams that start with it. A task holds one bucket at a time, whatever the size of the
wiki.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.lake.shuffle import spread
from metadata.ngrams.tokens import BREAK

# A unigram has no second word.
GRAMS = pa.schema([("first", pa.string()), ("second", pa.string()), ("count", pa.int64())])
WINDOW = 1 << 23  # words per window; about 40 bytes per word, including the sort
VOCABULARY = 1 << 20  # distinct words per window; about 150 bytes per word
PENDING = 1 << 21  # rows that are collected before they are summed
GROUPED = 1 << 20  # rows that are grouped at a time; about 200 bytes per row

Ids = npt.NDArray[np.int32]


class NgramCounter:
    """Counts a window of texts, given as words and `BREAK`s; no bigram spans two texts."""

    def __init__(self, window: int = WINDOW, vocabulary: int = VOCABULARY) -> None:
        self._limits = window, vocabulary
        self._clear()

    def _clear(self) -> None:
        self._words: defaultdict[str, int] = defaultdict(count().__next__)
        self._break = np.array([self._words[BREAK]], np.int32)
        self._texts: list[Ids] = [self._break]
        self._size = 0

    def add(self, words: Sequence[str]) -> None:
        """Add a text to the window."""
        self._texts.append(np.fromiter(map(self._words.__getitem__, words), np.int32, len(words)))
        self._texts.append(self._break)
        self._size += len(words)

    @property
    def full(self) -> bool:
        """Whether `take` should be called before another text is added."""
        window, vocabulary = self._limits
        return self._size >= window or len(self._words) > vocabulary  # including the break

    def take(self) -> pa.Table:
        """Return the counts since the last call, with distinct n-grams, and start a new window."""
        words, ids = pa.array(self._words, pa.string()), np.concatenate(self._texts)
        self._clear()
        unigrams = np.bincount(ids, minlength=len(words))[1:]
        pairs = (ids[:-1].astype(np.int64) << 32) | ids[1:]
        pairs, bigrams = np.unique(pairs[(ids[:-1] != 0) & (ids[1:] != 0)], return_counts=True)
        first, second = words.take(pa.array(pairs >> 32)), words.take(pa.array(pairs & 0xFFFFFFFF))
        return pa.concat_tables(
            [
                pa.table([words[1:], pa.nulls(len(unigrams), pa.string()), unigrams], schema=GRAMS),
                pa.table([first, second, bigrams], schema=GRAMS),
            ]
        )


def count_texts(texts: Iterable[Sequence[str]], counter: NgramCounter | None = None) -> Iterator[pa.Table]:
    """Yield the counts of texts as tables of `GRAMS`, one table per window."""
    counter = counter or NgramCounter()
    for words in texts:
        counter.add(words)
        if counter.full:
            yield counter.take()
    yield counter.take()


def sum_grams(tables: Iterable[pa.Table], pending: int = PENDING) -> pa.Table:
    """Return the sum of tables of `GRAMS` as one table of distinct n-grams, in no particular order.

    Memory holds the distinct n-grams, plus the rows that are summed at a time.
    """
    summed, waiting, rows = GRAMS.empty_table(), [], 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= max(pending, summed.num_rows // 2):
            summed, waiting, rows = _sum([summed, *waiting]), [], 0
    return _sum([summed, *waiting]) if waiting else summed


def _sum(tables: Iterable[pa.Table]) -> pa.Table:
    grams = pa.concat_tables(tables)
    parts = spread(grams, "second", -(-grams.num_rows // GROUPED) or 1)
    summed = (part.group_by(["first", "second"], use_threads=False).aggregate([("count", "sum")]) for part in parts)
    return pa.concat_tables(part.rename_columns(GRAMS.names) for part in summed)


def select_unigrams(grams: pa.Table) -> pa.Table:
    """Return the rows of unigrams."""
    return grams.filter(pc.is_null(grams["second"]))


def select_bigrams(grams: pa.Table) -> pa.Table:
    """Return the rows of bigrams."""
    return grams.filter(pc.is_valid(grams["second"]))
