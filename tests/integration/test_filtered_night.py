"""A night with image filters, duplicates, a hash list and a dataset: the same bytes, and counters that agree."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.cli.config import ImagesSection
from curation.dedup.hash_list import HashSettings, write_hash_list
from curation.images.decode import ImageLimits, verify
from jobs import compact, nightly
from jobs.export import ExportOptions, run_export
from jobs.runtime.context import Context
from jobs.tasks.dedup import sources
from jobs.tasks.verify.tables import check_tables
from support.duplicates import ON, similar, write_pictures
from support.in_process import change, prepare, without_spark
from support.lakes import TABLES, digests
from support.nights import picture

ALL_TABLES = (*TABLES, "duplicates", "compacted")
LISTED = ("7.png", "8.png")
FILTERS = [
    {"filter": "curation.images.filters.uniformity:NearUniform"},
    {"filter": "curation.images.filters.uniformity:LowEntropy", "min_bits": 4.0},
]


def png(pixels):
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG")
    return stored.getvalue()


def gray(*levels):
    """A picture of some gray levels, side by side: one is near-uniform, a few have a low entropy."""
    return np.repeat(np.array(levels, np.uint8), 6)[None, :, None] * np.ones((20, 1, 3), np.uint8)


@pytest.fixture
def inputs(tmp_path):
    """A JSONL file of 60 pictures, of copies and similar ones of some, and of those that are dropped."""
    pictures = {f"{number}.png": picture(number) for number in range(60)}
    pictures |= {f"copy{number}.png": picture(number) for number in range(0, 30, 4)}
    pictures |= {f"large{number}.png": similar(number) for number in range(1, 12, 5)}
    pictures |= {f"flat{level}.png": png(gray(level, level, level, level)) for level in (0, 90, 200)}
    pictures |= {f"bars{level}.png": png(gray(level, 255, level, 255)) for level in (0, 90)}
    return write_pictures(tmp_path / "b1", {**pictures, "bad.png": b"none"})


def night(folder, inputs):
    """The context of the night over a lake of its own."""
    made = prepare(folder)
    listed = [verify(picture(int(name.removesuffix(".png"))), ImageLimits(max_side=256)) for name in LISTED]
    rows = [
        {"name": name, "sha256": "0" * 64, "phash": image.phash, "embedding": None}
        for name, image in zip(LISTED, listed, strict=True)
    ]
    path = str(folder.parent / "list.parquet")
    write_hash_list(made.storage, path, rows, HashSettings("keep_ratio", 256))
    images = {"filters": ImagesSection(filters=FILTERS).filters, "scores_in_shards": True}
    return change(
        made,
        ingest={"inputs": inputs},
        balance={"selection": "all"},
        images={**images, "shard_bytes": 12_000},
        dedup={**ON, "hash_lists": [path], "list_radius": 0},
        compact={"shard_bytes": 20_000},
    )


def run(context):
    return {outcome.stage: outcome for outcome in [*nightly.run(context), *compact.run(context)]}


def rows(context, table):
    paths = [file.path for file in context.lake.snapshot(table).files]
    return [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]


@pytest.mark.spark
def test_cores_partitions_and_work_units_change_no_byte_and_the_counters_add_up(spark, inputs, tmp_path, monkeypatch):
    here = night(tmp_path / "here", inputs)
    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        patch.setattr(Context, "cores", 7)
        patch.setattr(sources, "ROWS_PER_UNIT", 11)
        patch.setattr(compact, "UNIT_BYTES", 9000)
        for module in ("fetch", "shard"):
            patch.setattr(f"jobs.tasks.images.{module}.ROWS_AT_ONCE", 5)
        ours = run(here)
    there = night(tmp_path / "there", inputs)
    conf = {"spark.sql.shuffle.partitions": "5", "spark.sql.execution.arrow.maxRecordsPerBatch": "2"}
    before = {key: spark.conf.get(key) for key in conf}
    try:
        for key, value in conf.items():
            spark.conf.set(key, value)
        run(there)
    finally:
        for key, value in before.items():
            spark.conf.set(key, value)
    assert digests(there.lake, ALL_TABLES) == digests(here.lake, ALL_TABLES)
    assert all(len(digests(here.lake, [table])[table]) > 2 for table in ("images", "shards", "compacted"))
    check_counts(here, ours)
    assert not [problem for problem in check_tables(here, read=True).problems if problem.table != "entries"]

    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        for dataset in (None, "all"):
            options = ExportOptions(format="jsonl", output=str(tmp_path / f"export-{dataset}"), dataset=dataset)
            parts = run_export(here, options)
            assert sum(part.rows for part in parts) == ours["shards"].totals["written"]


def check_counts(context, outcomes):
    """Compare the counters of the stages with each other and with the rows."""
    images, duplicates, shards = (outcomes[stage] for stage in ("images", "duplicates", "shards"))
    statuses = [row["reason"] or "ok" for row in rows(context, "images")]
    fetched = statuses.count("ok")
    assert images.totals["images"] == len(statuses) == len(rows(context, "curated"))
    assert images.totals["fetched"] == fetched
    assert images.drops == {reason: statuses.count(reason) for reason in set(statuses) - {"ok"}}
    assert images.drops["near_uniform"] == 3
    assert images.drops["low_entropy"] == 2
    assert sum(images.drops.values()) == len(statuses) - fetched == 6
    reasons = [row["reason"] for row in rows(context, "duplicates")]
    assert duplicates.totals["compared"] == fetched == duplicates.totals["kept"] + len(reasons)
    assert duplicates.drops == {
        "benchmark_image": reasons.count("benchmark"),
        "duplicate_exact": reasons.count("exact"),
        "duplicate_near": reasons.count("near"),
    }
    assert min(duplicates.drops.values()) >= 2
    assert shards.drops == {"without_image": 6, **duplicates.drops}
    assert shards.totals["written"] == duplicates.totals["kept"] == len(rows(context, "shards"))
    assert outcomes["compact"].totals["pairs"] == outcomes["compact"].totals["written"] == shards.totals["written"]
    ids = [row["image_id"] for row in rows(context, "compacted")]
    assert sorted(ids) == sorted(row["image_id"] for row in rows(context, "shards"))
    scored = {row["image_id"]: row["scores"] for row in rows(context, "images")}
    assert all(row["scores"] == scored[row["image_id"]] for row in rows(context, "compacted"))
    kept = {row["image_id"] for row in rows(context, "images") if row["status"] == "ok"}
    assert set(ids) == kept - {row["image_id"] for row in rows(context, "duplicates")}
