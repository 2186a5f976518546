"""Makes the annotations of some rows of shards, apart from those that an earlier run has made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotations.base import Maker, NoValue
from curation.annotations.load import KEY, load_maker
from curation.cli.annotate_config import AnnotateSection
from curation.errors import UsageError, WorldcurateError
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.schemas import annotation_schema
from jobs.runtime.progress import Progress
from jobs.tasks.annotate.earlier import EarlierRows
from jobs.tasks.annotate.inputs import as_columns, hash_inputs, hashed_columns, read_inputs
from jobs.tasks.images.splits import Slice


@dataclass(frozen=True)
class RowsOfShard:
    """The number of a work unit, and its rows of one file of shards."""

    number: int
    rows: Slice

    def __str__(self) -> str:
        return str(self.rows)


class MadeRows(msgspec.Struct):
    """A staged file of annotations: its size in bytes, its rows, and how many were made and have no value.

    `reasons` counts those of the rows whose values could not be made; earlier rows count without them.
    """

    path: str
    size: int
    rows: int
    made: int
    without_value: int
    reasons: dict[str, int] = {}


@dataclass(frozen=True)
class MakeRows:
    """Annotates some rows of shards and stages the annotations, in the same order."""

    storage: Storage
    section: AnnotateSection
    kind: str
    seed: int
    staging: str
    earlier: EarlierRows
    progress: Progress

    def __call__(self, _: int, unit: RowsOfShard) -> MadeRows:
        """Return the staged file."""
        maker, schema = load_maker(self.section, self.kind), annotation_schema(self.kind)
        inputs = read_inputs(self.storage, unit.rows, hashed_columns(maker.reads))
        ids, hashes = inputs["image_id"].combine_chunks(), hash_inputs(inputs, maker.reads)
        known, numbers = self.earlier.find(ids, hashes, schema)
        to_make = pc.is_null(numbers)
        made, reasons = self._make(maker, unit, inputs, to_make, schema)
        # earlier rows first, then those made now, and back to the order of the shards
        positions = pc.if_else(to_make, pc.add(known.num_rows, _counts_before(to_make)), pc.cast(numbers, pa.int64()))
        columns = [pa.concat_arrays([known[f.name].combine_chunks(), column]) for f, column in made]
        values = [column.take(positions) for column in columns]
        table = pa.Table.from_arrays([ids, hashes, *values], schema=schema)
        path = join(self.staging, shuffle.staged_name(unit.number))
        shuffle.write_buckets(self.storage, path, schema, [table])
        rows = MadeRows(
            path,
            self.storage.stat(path).size,
            table.num_rows,
            made=pc.sum(to_make).as_py() or 0,
            without_value=table.column(2).null_count,
            reasons=reasons,
        )
        self.progress.record(unit.number, rows)
        return rows

    def _make(
        self, maker: Maker, unit: RowsOfShard, inputs: pa.Table, to_make: pa.Array, schema: pa.Schema
    ) -> tuple[list[tuple[pa.Field, pa.Array]], dict[str, int]]:
        """Return the columns of the rows that are to be made, and how many have no value for each reason."""
        fields = list(schema)[2:]
        if not pc.any(to_make).as_py():
            return [(field, pa.array([], field.type)) for field in fields], {}
        missing = {*maker.reads} - {*inputs.column_names}
        rows = read_inputs(self.storage, unit.rows, maker.reads) if missing else inputs
        try:
            values: Sequence[Any] = maker(rows.filter(to_make).combine_chunks(), self.seed)
            reasons = Counter(value.reason for value in values if isinstance(value, NoValue))
            columns = as_columns([None if isinstance(value, NoValue) else value for value in values], fields)
        except WorldcurateError:
            raise
        except Exception as error:  # a maker may raise anything
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"{KEY}.{self.kind}: it failed for {unit} ({what}): correct the maker") from error
        if len(columns[0]) != (expected := pc.sum(to_make).as_py()):
            raise UsageError(
                f"{KEY}.{self.kind}: it returned {len(columns[0])} values for {expected} rows: return one per row"
            )
        return list(zip(fields, columns, strict=True)), dict(reasons)


def _counts_before(mask: pa.Array) -> pa.Array:
    """Return, for every position, how many before it are set."""
    counts = pc.cumulative_sum(pc.cast(mask, pa.int64()))
    return pc.subtract(counts, pc.cast(mask, pa.int64()))
