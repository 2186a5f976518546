"""Every command treats annotations as it treats the other tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.cli.annotate_config import AnnotateSection
from curation.lake.files import Snapshot
from jobs import annotate, gc, remove, status, takedown, verify
from jobs.runtime.context import Context
from jobs.tasks.annotate.make import MakeRows
from jobs.tasks.annotate.write import WriteShard
from jobs.tasks.verify.tables import check_counters
from support.compaction import Killed, kill_at
from support.damage import flip_one
from support.in_process import change

KINDS = {"kinds": ["propn_share", "hard_texts"]}


@pytest.fixture
def asking(crawled, monkeypatch):
    """A context that asks for annotations of two nights."""
    monkeypatch.setattr(annotate, "UNIT_ROWS", 7)
    context = change(crawled[0], batch=None, annotate=AnnotateSection(**KINDS))
    return Context(context.config, "annotate")


@pytest.fixture
def annotated(asking):
    annotate.run(asking)
    return asking


def rows(context: Context, table: str = "annotations", **partition: str) -> list[dict]:
    files = context.lake.snapshot(table, partition).files
    return [row for file in files for row in pq.ParquetFile(file.path).read(["image_id"]).to_pylist()]


def states(context: Context) -> dict[tuple[str, str], tuple[str, str]]:
    stages = status.read_status(context).as_json()["stages"]
    return {(each["batch"], each["kind"]): (each["state"], each["reason"]) for each in stages if each["kind"]}


def command(module, context: Context, *flags: str) -> int:
    return module.main(["--lake", context.config.lake, *flags])


@pytest.mark.parametrize("purge", [False, True])
def test_a_takedown_removes_the_rows_of_an_image_without_making_the_others_again(annotated, monkeypatch, purge):
    gone, old = rows(annotated, "shards", batch="b2")[4]["image_id"], annotated.lake.snapshot("annotations").files
    assert states(annotated) == {(b, k): ("fresh", "") for b in ("b1", "b2") for k in KINDS["kinds"]}
    monkeypatch.setattr(MakeRows, "_make", only_without_rows(MakeRows._make))
    flags = ["--image_id", gone, "--reason", "test", *(["--purge"] if purge else [])]
    assert command(takedown, annotated, *flags) == 0
    for kind in KINDS["kinds"]:
        assert rows(annotated, kind=kind) == rows(annotated, "shards")
    assert gone not in {row["image_id"] for row in rows(annotated)}
    assert states(annotated) == {(b, k): ("fresh", "") for b in ("b1", "b2") for k in KINDS["kinds"]}
    assert any(Path(file.path).exists() for file in old if file.partition["batch"] == "b2") != purge
    assert command(verify, annotated) == 0


def only_without_rows(make):
    def call(self, maker, unit, inputs, to_make, schema):
        assert not any(to_make.to_pylist()), "all other rows are taken from before"
        return make(self, maker, unit, inputs, to_make, schema)

    return call


def test_a_purge_leaves_nothing_that_a_killed_run_has_written(asking, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, WriteShard, 1, after=True)
        with pytest.raises(Killed):
            annotate.run(asking)
    gone = rows(asking, "shards")[0]["image_id"]
    assert list(asking.storage.list_files(asking.lake.layout.staging))
    assert command(takedown, asking, "--image_id", gone, "--reason", "test", "--purge") == 0
    assert not list(Path(asking.lake.root, "annotations").rglob("*.parquet"))
    runs = {file.path for file in asking.storage.list_files(asking.lake.layout.staging) if "/groups/" not in file.path}
    assert not runs


def test_the_status_says_whether_annotations_are_of_the_present_shards(annotated, capsys):
    command(status, annotated)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if " annotate " in line]
    assert [line[:5] for line in lines] == [
        [batch, "annotate", "default", kind, "fresh"] for batch in ("b1", "b2") for kind in sorted(KINDS["kinds"])
    ]
    shards = annotated.lake.snapshot("shards", {"batch": "b2"})
    annotated.lake.publish("shards", shards.files[0].partition, [], expected=shards.run_ids, metadata={"removed": "x"})
    assert {key: state for key, (state, _) in states(annotated).items()} == {
        (batch, kind): "fresh" if batch == "b1" else "stale" for batch in ("b1", "b2") for kind in KINDS["kinds"]
    }


def test_a_removed_batch_takes_its_annotations_along(annotated):
    assert command(remove, annotated, "--batch", "b1", "--yes") == 0
    assert {file.partition["batch"] for file in annotated.lake.snapshot("annotations").files} == {"b2"}
    gc.run(change(annotated, gc={"retention_hours": 0}))
    assert not list(Path(annotated.lake.root, "annotations").rglob("*batch=b1*/*/*/*.parquet"))


def test_verify_finds_damage_and_the_next_run_makes_the_annotations_again(annotated, capsys):
    [file, *_] = annotated.lake.snapshot("annotations", {"kind": "hard_texts"}).files
    before = rows(annotated)
    flip_one(Path(file.path))
    assert command(verify, annotated) == 4
    flags = "--recipe default --batch b1 --annotate.kinds hard_texts"
    assert f"run jobs.annotate {flags} again" in capsys.readouterr().out
    assert command(verify, annotated, "--repair") == 0
    annotate.run(annotated)
    assert command(verify, annotated) == 0
    assert rows(annotated) == before


def test_verify_compares_annotations_with_their_shards(annotated):
    snapshots = {name: annotated.lake.snapshot(name) for name in ("shards", "annotations")}
    assert not list(check_counters(annotated.lake, snapshots))
    fewer = Snapshot("shards", 0, tuple(replace(file, rows=file.rows - 1) for file in snapshots["shards"].files))
    problems = list(check_counters(annotated.lake, snapshots | {"shards": fewer}))
    assert len([each for each in problems if each.table == "annotations"]) == 4


def test_a_lost_file_is_made_again_without_a_repair(annotated):
    [file, *_] = annotated.lake.snapshot("annotations", {"kind": "hard_texts"}).files
    before = rows(annotated)
    Path(file.path).unlink()
    outcomes = annotate.run(annotated)
    assert [outcome.fresh for outcome in outcomes].count(True) == 1
    [remade] = [outcome for outcome in outcomes if outcome.fresh]
    assert remade.totals["made"] == file.rows
    assert rows(annotated) == before
