"""The n-grams of build_metadata: dumps are counted in parallel, grams of large Wikipedias ranked by bucket.

`ReadDump` stages the counts of a dump file in buckets by a hash of a gram's first word. A small Wikipedia has one
bucket, which is ranked as a whole when its list is made. A large one takes three more steps, one task per bucket, so
that no task holds all grams:

    SumGrams         sums a bucket, ranks its unigrams, and passes its bigrams on, with c1, by a hash of the second word
    MeasureBigrams   joins c2 and stages the PMI values in order; the exact percentile follows from them
    RankBigrams      scores a bucket's bigrams and stages them best first

`RankedGrams` merges the ranked buckets lazily, up to the capacity of a list. The number of buckets depends on the size
of the dump and does not affect the result.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, TypeVar, cast

import msgspec
import pyarrow as pa

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from jobs.runtime.context import Context
from jobs.runtime.ledger import LedgerRow, ledger_row
from jobs.tasks.metadata.sorted_runs import SortedRows, chunk_count, merge_sorted, write_sorted
from metadata.languages import LanguageTable
from metadata.limits import Limits, share_of
from metadata.lists.build import DumpCounters, count_dump
from metadata.ngrams.count import GRAMS, select_bigrams, select_unigrams, sum_grams
from metadata.ngrams.rank import (
    Chunk,
    Floats,
    Ranked,
    join_names,
    percentile_of_chunks,
    pmi,
    rank_bigrams,
    rank_unigrams,
    score_bigrams,
    sort_by_score,
    word_counts,
)
from metadata.ngrams.tokens import joiner
from metadata.sources import Source

BUCKET_BYTES = 16 << 20  # of dump files as stored; the result does not depend on it
MAX_BUCKET_BITS = 10
VALUES = 1 << 14  # PMI values of one chunk

BIGRAMS = pa.schema([*GRAMS, ("first_count", pa.int64())])
MEASURED = pa.schema([("name", pa.string()), ("count", pa.int64()), ("pmi", pa.float64())])
RANKED = pa.schema([("name", pa.string()), ("score", pa.float64())])

Unit = tuple[str, int]  # a Wikipedia and one of its buckets
Result = TypeVar("Result")


@dataclass
class StagedGrams:
    """The staged counts of one Wikipedia: files with their number of record batches.

    Batch n holds bucket n modulo `buckets`.
    """

    buckets: int
    files: list[tuple[str, int]] = field(default_factory=list)

    def read(self, storage: Storage, bucket: int) -> Iterator[pa.Table]:
        """Yield the partial counts of a bucket."""
        for path, batches in self.files:
            yield from shuffle.read_buckets(storage, [path], range(bucket, batches, self.buckets))


def bucket_counts(sources: Iterable[Source]) -> dict[str, int]:
    """Return the number of buckets for the grams of each Wikipedia."""
    sizes: dict[str, int] = {}
    for source in sources:
        if source.kind == "dump":
            sizes[source.code] = sizes.get(source.code, 0) + sum(file.size for file in source.files)
    return {code: 1 << min(MAX_BUCKET_BITS, shuffle.bucket_bits(size, BUCKET_BYTES)) for code, size in sizes.items()}


class CountedDump(msgspec.Struct):
    """The staged counts of a dump file of one Wikipedia, its own names of namespaces, and its ledger row."""

    code: str
    staged: tuple[str, int]
    namespaces: list[str]
    ledger: LedgerRow


class SummedGrams(msgspec.Struct):
    """Where the ranked unigrams and the bigrams of a bucket are staged, and the number of bigram positions."""

    unigrams: SortedRows
    bigrams: str
    positions: int


class MeasuredBigrams(msgspec.Struct):
    """Where the bigrams of a bucket are staged by rising PMI; each chunk's rows, lowest and highest PMI."""

    path: str
    chunks: list[tuple[int, float, float]]


@dataclass(frozen=True)
class ReadDump:
    """Counts one dump file, or a split of one, and stages its counts in buckets."""

    storage: Storage
    table: LanguageTable
    staging: str
    buckets: Mapping[str, int]

    def __call__(self, index: int, source: Source) -> CountedDump:
        """Return where the counts are staged, and the ledger row of the file."""
        started, counters = time.monotonic(), DumpCounters()
        (file,), code = source.files, source.code
        path = join(self.staging, shuffle.staged_name(index))
        windows = count_dump(file.path, self._open, self.table.languages[code], counters, source.split)
        parts = (part for grams in windows for part in shuffle.spread(grams, "first", self.buckets[code]))
        batches = len(shuffle.write_buckets(self.storage, path, GRAMS, parts))
        row = ledger_row(
            file, counters.error, read=counters.read, kept=counters.kept, drops=counters.drops, started=started
        )
        return CountedDump(code, (path, batches), sorted(counters.namespaces), row)

    def _open(self, path: str) -> BinaryIO:
        return cast("BinaryIO", self.storage.open_input(path))


@dataclass(frozen=True)
class SumGrams:
    """Sums one bucket of a large Wikipedia."""

    storage: Storage
    staging: str
    staged: Mapping[str, StagedGrams]

    def __call__(self, index: int, unit: Unit) -> SummedGrams:
        """Return where its ranked unigrams and its bigrams are staged, and the number of bigram positions."""
        code, bucket = unit
        staged = self.staged[code]
        grams = sum_grams(staged.read(self.storage, bucket))
        unigrams, bigrams = select_unigrams(grams), select_bigrams(grams)
        ranked = _write_ranked(self.storage, self.staging, index, sort_by_score(unigrams["first"], unigrams["count"]))
        bigrams = bigrams.append_column("first_count", pa.array(word_counts(bigrams["first"], unigrams)))
        path = join(self.staging, shuffle.staged_name(index))
        shuffle.write_buckets(self.storage, path, BIGRAMS, shuffle.spread(bigrams, "second", staged.buckets))
        positions = int(bigrams["count"].to_numpy().sum())
        return SummedGrams(ranked, path, positions)


@dataclass(frozen=True)
class MeasureBigrams:
    """Computes the PMI of the bigrams whose second word is in one bucket."""

    storage: Storage
    staging: str
    sums: Mapping[str, Sequence[SummedGrams]]
    joiners: Mapping[str, str]

    def __call__(self, index: int, unit: Unit) -> MeasuredBigrams:
        """Return where the bigrams are staged by rising PMI, with the bounds of each chunk."""
        code, bucket = unit
        sums = self.sums[code]
        paths = [part.bigrams for part in sums]
        bigrams = shuffle.read_table(self.storage, paths, range(bucket, bucket + 1), BIGRAMS)
        path, rows = sums[bucket].unigrams
        words = shuffle.read_table(self.storage, [path], range(chunk_count(rows)), RANKED)
        unigrams = pa.table({"first": words["name"], "count": words["score"].cast(pa.int64())})
        both, second = bigrams["count"].to_numpy(), word_counts(bigrams["second"], unigrams)
        positions = sum(part.positions for part in sums)
        values = pmi(both, bigrams["first_count"].to_numpy(), second, positions)
        names = join_names(bigrams["first"], bigrams["second"], self.joiners[code])
        measured = pa.table([names, bigrams["count"], values], schema=MEASURED).sort_by("pmi")
        chunks = [measured.slice(start, VALUES) for start in range(0, measured.num_rows, VALUES)]
        path = join(self.staging, shuffle.staged_name(index))
        shuffle.write_buckets(self.storage, path, MEASURED, chunks)
        bounds = [(len(chunk), chunk["pmi"][0].as_py(), chunk["pmi"][-1].as_py()) for chunk in chunks]
        return MeasuredBigrams(path, bounds)


@dataclass(frozen=True)
class RankBigrams:
    """Scores one bucket's bigrams and stages those that score, best first."""

    storage: Storage
    staging: str
    measured: Mapping[str, Sequence[MeasuredBigrams]]
    limits: Mapping[str, Limits]
    percentiles: Mapping[str, float]

    def __call__(self, index: int, unit: Unit) -> SortedRows:
        """Return where the ranked bigrams are staged."""
        code, bucket = unit
        measured = self.measured[code][bucket]
        bigrams = shuffle.read_table(self.storage, [measured.path], range(len(measured.chunks)), MEASURED)
        both, values = (bigrams[column].to_numpy() for column in ("count", "pmi"))
        keep_mask, scores = score_bigrams(both, values, self.limits[code], self.percentiles.get(code, 0.0))
        table = sort_by_score(bigrams["name"].filter(pa.array(keep_mask)), pa.array(scores))
        return _write_ranked(self.storage, self.staging, index, table)


@dataclass(frozen=True)
class RankedGrams:
    """The unigrams and bigrams of every Wikipedia, best first; `large` holds the ranked buckets of the large ones."""

    storage: Storage
    table: LanguageTable
    staged: Mapping[str, StagedGrams]
    large: Mapping[str, tuple[Sequence[SortedRows], Sequence[SortedRows]]]

    def best(self, code: str, limits: Limits) -> tuple[Ranked, Ranked]:
        """Return a Wikipedia's unigrams and bigrams as `metadata.ngrams.rank` ranks them."""
        if code in self.large:
            unigrams, bigrams = self.large[code]
            most = share_of(limits.unigram_share, sum(rows for _, rows in unigrams))
            return _until(limits.unigram_min_count, islice(self._merged(unigrams), most)), self._merged(bigrams)
        if code not in self.staged:
            return iter(()), iter(())
        grams = sum_grams(self.staged[code].read(self.storage, 0))
        between = joiner(self.table.languages[code])
        return rank_unigrams(grams, limits), rank_bigrams(grams, limits, between)

    def _merged(self, buckets: Sequence[SortedRows]) -> Ranked:
        return cast("Ranked", merge_sorted(self.storage, buckets, RANKED.names, key=lambda row: (-row[1], row[0])))


def rank_grams(
    context: Context,
    staging: str,
    table: LanguageTable,
    staged: Mapping[str, StagedGrams],
    limits: Mapping[str, Limits],
) -> RankedGrams:
    """Rank the grams of the large Wikipedias; those of the others are ranked when their lists are made."""
    storage = context.storage
    units = [(code, bucket) for code in staged for bucket in range(staged[code].buckets) if staged[code].buckets > 1]
    if not units:
        return RankedGrams(storage, table, staged, {})
    joiners = {code: joiner(table.languages[code]) for code, _ in units}
    summed = context.run_tasks("build_metadata: sums", units, SumGrams(storage, staging, staged))
    sums = _by_code(units, summed)
    measure = MeasureBigrams(storage, staging, sums, joiners)
    measured = _by_code(units, context.run_tasks("build_metadata: PMI", units, measure))
    percentiles = {
        code: _percentile(storage, parts)
        for code, parts in measured.items()
        if limits[code].bigram_score == "rescored" and any(part.chunks for part in parts)
    }
    rank = RankBigrams(storage, staging, measured, limits, percentiles)
    ranked = _by_code(units, context.run_tasks("build_metadata: bigrams", units, rank))
    large = {code: ([part.unigrams for part in sums[code]], ranked[code]) for code in sums}
    return RankedGrams(storage, table, staged, large)


def _percentile(storage: Storage, measured: Sequence[MeasuredBigrams]) -> float:
    chunks = [(part.path, batch) for part in measured for batch in range(len(part.chunks))]

    def read(number: int) -> Floats:
        path, batch = chunks[number]
        (table,) = shuffle.read_buckets(storage, [path], range(batch, batch + 1))
        values: Floats = table["pmi"].to_numpy()
        return values

    return percentile_of_chunks([Chunk(*bounds) for part in measured for bounds in part.chunks], read)


def _by_code(units: Sequence[Unit], results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results of each Wikipedia's buckets, in the order of the work units."""
    by_code: dict[str, list[Result]] = {}
    for (code, _), result in zip(units, results, strict=True):
        by_code.setdefault(code, []).append(result)
    return by_code


def _until(floor: int, ranked: Ranked) -> Ranked:
    for name, score in ranked:
        if score < floor:
            return
        yield name, score


def _write_ranked(storage: Storage, staging: str, index: int, ranked: pa.Table) -> SortedRows:
    path = join(staging, f"ranked-{shuffle.staged_name(index)}")
    return write_sorted(storage, path, ranked.cast(RANKED))
