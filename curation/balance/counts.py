"""Read and add up counts per entry as streams of languages, so that only one language is in memory at a time.

The tables `counts` and `totals` are sorted by language, then entry id, across all files of a partition. Reading them in
order therefore yields one language after the other, and several tables are added by merging their streams.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.errors import InputError
from curation.io.storage import Storage
from curation.lake.files import Snapshot
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS

ROWS = 1 << 16


class LanguageCounts(NamedTuple):
    """The matched entries of one language: ids (ascending) and the number of texts that contain each (at least 1)."""

    lang: str
    entry_ids: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]


def by_language(batches: Iterable[pa.RecordBatch]) -> Iterator[LanguageCounts]:
    """Yield the languages of sorted rows of `counts`, without entries whose count is 0.

    Raises InputError if the rows are not sorted by language and entry id.
    """
    last = ""
    for lang, runs in groupby(_runs(batches), key=lambda run: run[0]):
        parts = list(runs)
        ids, counts = (np.concatenate([part[column] for part in parts]) for column in (1, 2))
        if lang < last or np.any(ids[1:] <= ids[:-1]):
            raise InputError(f"counts of {lang!r} are not sorted by language and entry: match their batch again")
        last = lang
        if (is_seen := counts > 0).any():
            yield LanguageCounts(lang, ids[is_seen], counts[is_seen])


def _runs(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, npt.NDArray[np.int32], npt.NDArray[np.int64]]]:
    """Split every batch where the language changes."""
    for batch in batches:
        codes = batch["lang"].dictionary_encode()
        edges = np.flatnonzero(np.diff(codes.indices.to_numpy(), prepend=-1))
        ids, counts = batch["entry_id"].to_numpy(), batch["count"].to_numpy()
        for first, end in pairwise([*edges.tolist(), batch.num_rows]):
            yield batch["lang"][first].as_py(), ids[first:end], counts[first:end]


def read_counts(storage: Storage, snapshot: Snapshot, lang: str | None = None) -> Iterator[LanguageCounts]:
    """Yield the languages of a partition of `counts` or `totals`, or only the language `lang`."""
    schema = SCHEMAS["counts"]
    languages = by_language(
        batch.cast(schema) for file in snapshot.files for batch in read_batches(storage, file.path, schema.names, ROWS)
    )
    return languages if lang is None else (part for part in languages if part.lang == lang)


def add_up(parts: Sequence[Iterable[LanguageCounts]]) -> Iterator[LanguageCounts]:
    """Yield the sums of several streams of languages, exact in int64; the order of the streams does not matter."""
    for lang, group in groupby(heapq.merge(*parts, key=attrgetter("lang")), key=attrgetter("lang")):
        same = list(group)
        total = np.zeros(max(int(part.entry_ids[-1]) for part in same) + 1, np.int64)
        for part in same:
            total[part.entry_ids] += part.counts  # ids of one part are distinct
        ids = np.flatnonzero(total)
        yield LanguageCounts(lang, ids.astype(np.int32), total[ids])


def counts_table(part: LanguageCounts) -> pa.Table:
    """Return one language's counts as rows of `counts`."""
    lang = pa.repeat(part.lang, len(part.entry_ids))
    columns = [lang, pa.array(part.entry_ids, pa.int32()), pa.array(part.counts, pa.int64())]
    return pa.Table.from_arrays(columns, schema=SCHEMAS["counts"])
