"""Rows for any table of the lake, and files with one bit flipped."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS

TABLES = ("pairs", "matches", "curated", "images", "shards")


def value_of(kind: pa.DataType, draw: random.Random) -> Any:
    """Return a random value of an Arrow type, sometimes null."""
    if draw.random() < 0.1:
        return None
    if pa.types.is_struct(kind):
        return {field.name: value_of(field.type, draw) for field in kind}
    if pa.types.is_map(kind):
        return [(f"key{number}", value_of(kind.item_type, draw)) for number in range(draw.randrange(5))]
    if pa.types.is_list(kind):
        return [value_of(kind.value_type, draw) for _ in range(draw.randrange(5))]
    if pa.types.is_integer(kind):
        return draw.randrange(1 << 20)
    if pa.types.is_floating(kind):
        return draw.randrange(1 << 20) / (1 << 20)
    if pa.types.is_large_binary(kind):
        return draw.randbytes(draw.randrange(3000))
    return draw.choice(["en", "fr", "ok"]) if draw.random() < 0.3 else f"{draw.getrandbits(96):024x}"


def rows_of(table: str, count: int, seed: int = 0) -> pa.Table:
    """Return seeded rows of a table."""
    draw, schema = random.Random(seed), SCHEMAS[table]
    rows = [{field.name: value_of(field.type, draw) for field in schema} for _ in range(count)]
    return pa.Table.from_pylist(rows, schema=schema)


def write_file(storage, root: Path, rows: pa.Table) -> Path:
    """Write rows to one data file, as stages do."""
    with PartitionWriter(storage, str(root), "run", 0, rows.schema) as writer:
        writer.write(rows)
    assert len(writer.files) == 1
    return root / writer.files[0].path


def flip_one(path: Path) -> None:
    """Flip one bit in the first half of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def flips(path: Path, count: int, seed: int = 0, first: int | None = None) -> Iterator[int]:
    """Flip one bit of a file after another and yield its place while it is flipped.

    The bits are drawn over all of the file's bytes, or are `count` bits from `first` on.
    """
    whole, draw = path.read_bytes(), random.Random(seed)
    places = draw.sample(range(8 * len(whole)), count) if first is None else range(first, first + count)
    for place in places:
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        yield place
    path.write_bytes(whole)
