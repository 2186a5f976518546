"""The rows of shards as makers of annotations see them, and the hash of what a maker reads of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from curation.hashing import u64
from curation.io.storage import Storage
from curation.lake.parquet_read import read_rows
from curation.lake.schemas import SCHEMAS
from jobs.tasks.images.splits import Slice

# of `texts`; probabilities and scores change without the texts
TEXT_FIELDS: Final = ("source", "text", "lang", "entry_ids")
HASHED_AS: Final = {"image": "image_sha256"}  # a column that is hashed in the place of another one


def read_inputs(storage: Storage, part: Slice, columns: Sequence[str]) -> pa.Table:
    """Return some columns of some rows of shards, and their ids."""
    texts = [f"texts.list.element.{name}" for name in TEXT_FIELDS] if "texts" in columns else []
    names = [name for name in SCHEMAS["shards"].names if name in {"image_id", *columns} - {"texts"}]
    return read_rows(storage, part.path, part.start, part.stop, [*names, *texts])


def hash_inputs(rows: pa.Table, reads: Sequence[str]) -> pa.Array:
    """Return a hash of the columns of each row that a maker reads, as `input_hash` has it.

    The hash is that of the JSON of the values, in the order of their names; that of an image is its SHA-256.
    """
    columns = hashed_columns(reads)
    hashes = [
        u64(0, "annotation", msgspec.json.encode([row[name] for name in columns]).decode())
        for row in rows.select(list({"image_id": None} | dict.fromkeys(columns))).to_pylist()
    ]
    return pa.array(np.array(hashes, np.uint64).view(np.int64))


def hashed_columns(reads: Sequence[str]) -> list[str]:
    """Return the columns that determine what a maker reads, sorted."""
    return sorted({HASHED_AS.get(name, name) for name in reads})


def as_columns(values: Sequence[Any], fields: Sequence[pa.Field]) -> list[pa.Array]:
    """Return the values of a maker as the columns of its kind.

    Raises the ValueError or ArrowException of a value that has another type.
    """
    if len(fields) == 1:
        return [pa.array(values, fields[0].type)]
    return [pa.array([None if row is None else row.get(field.name) for row in values], field.type) for field in fields]
