"""A shard has the curated rows with an image, in their order, however the images lie in parts and files."""

from __future__ import annotations

import random
from functools import partial

import pyarrow as pa
import pytest

from curation.io.storage import Storage
from curation.lake import parquet
from curation.lake.files import DataFile
from curation.lake.parquet import PartitionWriter
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS, written_schema
from curation.lake.tombstones import Tombstones
from jobs.tasks.images import shard
from jobs.tasks.images.shard import BuildShard
from jobs.tasks.images.splits import Slice

STORAGE = Storage()
NO_TOMBSTONES = Tombstones(frozenset(), frozenset())


def written(root: str, table: str, ordinal: int, rows: list[dict], schema: pa.Schema, **options) -> list[DataFile]:
    with PartitionWriter(STORAGE, root, "run", ordinal, schema, **options) as writer:
        for start in range(0, len(rows), 50):
            writer.write_row_group(pa.Table.from_pylist(rows[start : start + 50], schema=schema))
    return [DataFile(f"{root}/{file.path}", file.size, file.rows, {}) for file in writer.files]


def image_of(image_id: str, ok: bool) -> dict:
    picture = random.Random(image_id).randbytes(100)
    return {"image_id": image_id, "status": "ok" if ok else "failed", "image": picture if ok else None, "width": 1}


@pytest.mark.parametrize("seed", range(6))
def test_a_shard_has_the_rows_with_an_image_in_curated_order(tmp_path, seed, monkeypatch):
    chance = random.Random(seed)
    rows_at_once = chance.choice([7, 64, 256])
    monkeypatch.setattr(shard, "ROWS_AT_ONCE", rows_at_once)
    ids = [f"{chance.getrandbits(64):016x}" for _ in range(700)]
    curated = [{"image_id": image_id, "lang": "en", "text": image_id} for image_id in ids]
    [file] = written(f"{tmp_path}/curated", "curated", 0, curated, SCHEMAS["curated"])
    fetched = {image_id: image_of(image_id, chance.random() < 0.7) for image_id in ids}
    files, start, schema = [], 0, written_schema("images", scores=False)
    while start < len(ids):
        part = sorted(ids[start : start + chance.choice([0, 5, 60, 300])])  # as they are written: by id
        start += len(part)
        rows = [fetched[image_id] for image_id in part]
        files += written(f"{tmp_path}/images", "images", len(files), rows, schema, file_bytes=4000)
    hidden = Tombstones(frozenset(chance.sample(ids, 30)), frozenset())
    writers = partial(_writer, f"{tmp_path}/shards")
    built = BuildShard(STORAGE, [files], [[]], hidden, 20_000, writers)(0, [Slice(file.path, 0, len(ids))])

    paths = [f"{tmp_path}/shards/{each.path}" for each in built.files]
    found = [row for path in paths for batch in read_batches(STORAGE, path) for row in batch.to_pylist()]
    kept = [each for each in ids if fetched[each]["status"] == "ok" and each not in hidden.image_ids]
    assert [(row["image_id"], row["text"], row["image"]) for row in found] == [
        (each, each, fetched[each]["image"]) for each in kept
    ]
    assert (built.tombstone, built.without_image) == (30, len(ids) - 30 - len(kept))


def _writer(root: str, _: str, index: int, *, file_bytes: int, schema: pa.Schema) -> PartitionWriter:
    return PartitionWriter(STORAGE, root, "run", index, schema, file_bytes=file_bytes)


def test_memory_does_not_hold_the_images_of_all_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 2_000_000)
    size, rows, parts = 200_000, 20, 12
    ids = [f"{number:04d}" for number in range(rows * parts)]
    [file] = written(f"{tmp_path}/curated", "curated", 0, [{"image_id": each} for each in ids], SCHEMAS["curated"])
    schema, files = written_schema("images", scores=False), []
    for part in range(parts):
        made = [image_of(each, ok=True) | {"image": bytes(size)} for each in ids[part * rows : (part + 1) * rows]]
        files += written(f"{tmp_path}/images", "images", part, made, schema)
    held = []

    class Watched(PartitionWriter):
        def write(self, table: pa.Table) -> None:
            held.append(pa.total_allocated_bytes())
            super().write(table)

    def writers(_: str, index: int, *, file_bytes: int, schema: pa.Schema) -> PartitionWriter:
        return Watched(STORAGE, f"{tmp_path}/shards", "run", index, schema, file_bytes=file_bytes)

    before = pa.total_allocated_bytes()
    build = BuildShard(STORAGE, [files], [[]], NO_TOMBSTONES, 1 << 30, writers)
    built = build(0, [Slice(file.path, 0, len(ids))])
    assert sum(each.rows for each in built.files) == len(ids)
    assert max(held) - before < size * len(ids) / 2
