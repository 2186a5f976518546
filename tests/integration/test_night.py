"""A whole night: every stage publishes, a rerun does nothing, a second night adds up."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError, UsageError
from curation.lake.lake import Lake
from curation.lake.tombstones import add_tombstones
from jobs import nightly
from jobs.runtime.context import Context
from support.nights import write_night

pytestmark = pytest.mark.spark

TABLES = ("pairs", "matches", "counts", "totals", "thresholds", "curated", "images", "shards")


def rows(lake: Lake, name: str, **partition: str) -> list[dict]:
    files = lake.snapshot(name, partition).files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def state(lake: Lake) -> dict[str, tuple[str, ...]]:
    return {name: lake.snapshot(name).run_ids for name in TABLES}


def stage_runs(lake: Lake) -> list[str]:
    return sorted(lake.rows("runs")["stage"].to_pylist())


def batch(context: Context, name: str, **keys) -> Context:
    return Context(context.config.model_copy(update={"batch": name, **keys}), context.name)


def test_every_stage_publishes_and_the_books_of_the_night_balance(night_done):
    context = night_done
    lake = context.lake
    runs = {run["stage"]: run for run in lake.rows("runs").to_pylist()}
    totals = {stage: json.loads(run["totals"]) for stage, run in runs.items()}
    drops = {stage: json.loads(run["drops"]) for stage, run in runs.items()}
    ingest = totals["ingest"]
    assert ingest["read"] == ingest["kept"] + ingest["duplicates"] + ingest["over_cap"] == 240
    assert ingest["images"] == len(rows(lake, "pairs")) == totals["match"]["images"] == 120
    assert totals["match"]["images_matched"] == len(rows(lake, "matches")) == totals["balance"]["images"]
    matches = sum(len(text["entry_ids"]) for row in rows(lake, "matches") for text in row["texts"])
    assert matches == sum(row["count"] for row in rows(lake, "counts")) == totals["match"]["matches"] > 0
    curated = rows(lake, "curated")
    assert 0 < len(curated) == totals["balance"]["images"] - sum(drops["balance"].values())
    images = rows(lake, "images")
    assert {row["image_id"] for row in images} == {row["image_id"] for row in curated}
    assert set(drops["images"]) == {"not_an_image", "ref_missing"}
    good = {row["image_id"] for row in images if row["status"] == "ok"}
    shards = rows(lake, "shards")
    assert [row["image_id"] for row in shards] == [row["image_id"] for row in curated if row["image_id"] in good]
    assert all(row["image"] and row["width"] and row["text"] for row in shards)
    assert len(lake.snapshot("shards").files) > 1


def test_a_rerun_does_nothing(night_done, caplog):
    context = night_done
    before, ran = state(context.lake), stage_runs(context.lake)
    with caplog.at_level("INFO"):
        nightly.run(context)
    assert state(context.lake) == before
    assert stage_runs(context.lake) == ran
    assert caplog.text.count("nothing to do") == 6


def test_a_second_night_adds_up_and_redoes_nothing(night_done, tmp_path):
    first = night_done
    before = {name: first.lake.snapshot(name, {"batch": "b1"}).run_ids for name in TABLES}
    old = {row["lang"]: row["t"] for row in rows(first.lake, "thresholds", batch="b1")}
    inputs = write_night(tmp_path / "second", 90, start=1000)
    second = batch(first, "b2", ingest=first.config.ingest.model_copy(update={"inputs": inputs}))
    nightly.run(second)
    lake = first.lake
    assert {name: lake.snapshot(name, {"batch": "b1"}).run_ids for name in TABLES} == before

    def total(table, **partition):
        return {(row["lang"], row["entry_id"]): row["count"] for row in rows(lake, table, **partition)}

    one, two = total("counts", batch="b1"), total("counts", batch="b2")
    assert total("totals", batch="b1") == one
    assert total("totals", batch="b2") == {key: one.get(key, 0) + two.get(key, 0) for key in one | two}
    assert {row["lang"]: row["t"] for row in rows(lake, "thresholds", batch="b1")} == old
    assert {row["lang"]: row["t"] for row in rows(lake, "thresholds", batch="b2")} != old


def test_an_earlier_batch_matched_again_makes_later_totals_stale_and_rebuilt(night_done, tmp_path, caplog):
    first = night_done
    inputs = write_night(tmp_path / "second", 40, start=1000)
    second = batch(first, "b2", ingest=first.config.ingest.model_copy(update={"inputs": inputs}))
    nightly.run(second)
    more = [*first.config.ingest.inputs, *write_night(tmp_path / "more", 30, start=2000)]
    nightly.run(batch(first, "b1", ingest=first.config.ingest.model_copy(update={"inputs": more})))
    with caplog.at_level("WARNING"):
        nightly.run(second)
    assert "stale" in caplog.text
    lake = first.lake
    assert sum(r["count"] for r in rows(lake, "totals", batch="b2")) == sum(r["count"] for r in rows(lake, "counts"))


def test_a_tombstone_takes_an_image_out_of_the_next_run(night_done):
    context = night_done
    victim = rows(context.lake, "shards")[0]["image_id"]
    add_tombstones(context.lake, image_ids=[victim], reason="takedown")
    nightly.run(context)
    for table in ("matches", "curated", "images", "shards"):
        assert victim not in {row["image_id"] for row in rows(context.lake, table)}


def test_a_recipes_name_cannot_change_its_meaning(night_done):
    context = night_done
    changed = batch(context, "b1", balance=context.config.balance.model_copy(update={"t_en": 7}))
    with pytest.raises(UsageError, match="recipe"):
        nightly.run(changed)
    other = batch(changed, "b1", recipe="other")
    nightly.run(other)
    assert {file.partition["recipe"] for file in context.lake.snapshot("shards").files} == {"default", "other"}


def test_a_stage_without_its_input_says_which_job_makes_it(night):
    from jobs import match

    with pytest.raises(InputError, match=r"no pairs for batch=b1 .* run jobs\.ingest first"):
        match.run(night())


def test_input_without_usable_rows_publishes_an_empty_night(night, tmp_path):
    context = night()
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    nightly.run(batch(context, "b1", ingest=context.config.ingest.model_copy(update={"inputs": [str(empty)]})))
    for table in TABLES:
        assert rows(context.lake, table) == []
        assert context.lake.snapshot(table).files


def test_a_fetch_that_mostly_failed_is_tried_again(night, tmp_path):
    context = night(images=40)
    pictures = list((tmp_path / "inputs").glob("*.png"))
    kept = {path: path.read_bytes() for path in pictures}
    for path in pictures:
        path.unlink()
    nightly.run(context)
    assert rows(context.lake, "shards") == []
    for path, data in kept.items():
        path.write_bytes(data)
    nightly.run(context)
    assert len(rows(context.lake, "shards")) > 10


def test_partitions_of_different_runs_are_not_mixed(night_done):
    from jobs import balance

    context = night_done
    lake = context.lake
    matches = lake.snapshot("matches")
    partition = dict(matches.files[0].partition)
    other = lake.snapshot("counts").files[0]
    copied = other.path.replace(other.run_id, "another-run")
    context.storage.write_bytes(copied, context.storage.read_bytes(other.path))
    from curation.lake.files import WrittenFile

    file = WrittenFile(copied.removeprefix(lake.layout.table("counts") + "/"), other.size, other.rows, "")
    lake.publish("counts", partition, [file], expected=(other.run_id,), metadata={})
    with pytest.raises(InputError, match="do not belong together"):
        balance.run(context)


def test_a_run_killed_before_its_row_is_recognised_and_its_row_restored(night_done):
    context = night_done
    lake, ran = context.lake, stage_runs(context.lake)
    lake.table("runs").delete("stage = 'match'")
    nightly.run(context)
    assert stage_runs(lake) == ran


def test_the_lake_opens_with_other_readers(night_done):
    from pathlib import Path

    import duckdb
    import duckdb_extension_delta
    import polars as pl

    context = night_done
    lake = context.lake
    extension = next(Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension"))
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.load_extension(str(extension))
    for table in TABLES:
        ours = pa.Table.from_pylist(rows(lake, table)).to_pylist()
        for theirs in (
            pl.read_delta(lake.layout.table(table)).to_arrow().to_pylist(),
            connection.sql(f"select * from delta_scan('{lake.layout.table(table)}')").to_arrow_table().to_pylist(),
        ):
            same = [{name: row[name] for name in ours[0]} for row in theirs]
            assert sorted(same, key=str) == sorted(ours, key=str)
