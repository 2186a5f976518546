"""The trainer and every command treat a compacted dataset as they treat shards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.errors import InputError, UsageError
from curation.lake.files import Snapshot
from curation.lake.tombstones import add_tombstones
from jobs import compact, export, gc, remove, status, takedown, verify
from jobs.runtime.context import Context
from jobs.tasks.compact.rows import WriteBucket
from jobs.tasks.verify.tables import check_counters
from support.compaction import Killed, in_order, kill_at, read
from support.damage import flip_one
from support.in_process import change
from training.data.pairs import PairDataset
from training.data.shard_index import build_index


@pytest.fixture
def small(crawled, monkeypatch):
    """A context whose dataset has several staged files and several buckets."""
    monkeypatch.setattr(compact, "UNIT_BYTES", 9000)
    return change(crawled[0], compact={"shard_bytes": 9000})


@pytest.fixture
def compacted(crawled):
    """The context of a lake with two nights and a dataset of both."""
    compact.run(crawled[0])
    return crawled[0]


def states(context: Context) -> dict[str, tuple[str, str]]:
    stages = status.read_status(context).as_json()["stages"]
    return {stage["dataset"]: (stage["state"], stage["reason"]) for stage in stages if stage["dataset"]}


def command(module, context: Context, *flags: str) -> int:
    return module.main(["--lake", context.config.lake, *flags])


def test_the_status_says_whether_a_dataset_has_the_present_shards(compacted, capsys):
    assert states(compacted) == {"all": ("fresh", "")}
    compact.run(change(compacted, compact={"dataset": "one", "batches": ["b1"]}))
    assert command(remove, compacted, "--batch", "b2", "--yes") == 0
    assert "becomes stale: dataset all: compact default" in capsys.readouterr().out
    assert states(compacted) == {"all": ("stale", "changed: shards"), "one": ("fresh", "")}
    compact.run(compacted)
    assert states(compacted) == {"all": ("fresh", ""), "one": ("fresh", "")}
    assert read(compacted, dataset="all") == read(compacted, "shards", batch="b1")
    command(status, compacted)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines if "compact " in line] == [
        ["dataset", n, "compact"] for n in ("all", "one")
    ]


def test_a_removed_recipe_takes_its_datasets_along(compacted):
    assert command(remove, compacted, "--recipe", "default", "--yes") == 0
    assert not compacted.lake.snapshot("compacted").files


def test_a_dataset_is_removed_without_its_recipe(compacted, capsys):
    compact.run(change(compacted, compact={"dataset": "one", "batches": ["b1"]}))
    flags = ("--recipe", "default", "--dataset", "all")
    assert command(remove, compacted, *flags) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("compacted: ")
    assert command(remove, compacted, *flags, "--yes") == 0
    assert states(compacted) == {"one": ("fresh", "")}
    assert compacted.lake.snapshot("shards").files
    assert compacted.lake.recipes() == ["default"]
    assert command(remove, compacted, *flags) == 3
    assert command(remove, compacted, "--dataset", "one") == 2
    assert command(remove, compacted, *flags, "--batch", "b1") == 2


@pytest.mark.parametrize("purge", [False, True])
def test_a_takedown_rebuilds_the_dataset_without_the_images(compacted, purge):
    # an image of the newest batch: without one of an older batch, the totals of later ones are stale
    gone, old = read(compacted, "shards", batch="b2")[5], compacted.lake.snapshot("compacted").files
    flags = ["--image_id", gone["image_id"], "--reason", "test", *(["--purge"] if purge else [])]
    assert command(takedown, compacted, *flags) == 0
    assert gone["image_id"] not in {row["image_id"] for row in read(compacted)}
    assert read(compacted) == in_order(compacted)
    assert states(compacted) == {"all": ("fresh", "")}
    assert any(Path(file.path).exists() for file in old) != purge


def test_until_the_rebuild_no_reader_uses_an_image_that_was_taken_down(compacted, tmp_path):
    rows = read(compacted)
    add_tombstones(compacted.lake, image_ids=[rows[5]["image_id"]], reason="test")
    assert build_index(compacted.lake, "default", dataset="all").train.samples == len(rows) - 1
    out = tmp_path / "out"
    export.run_export(compacted, export.ExportOptions(format="jsonl", output=str(out), dataset="all"))
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["rows"], manifest["drops"]) == (len(rows) - 1, {"tombstone": 1})


def test_a_takedown_finds_images_of_batches_that_were_removed(compacted):
    only = read(compacted, "shards", batch="b2")[0]["image_id"]
    assert command(remove, compacted, "--batch", "b2", "--yes") == 0
    assert command(takedown, compacted, "--image_id", only, "--reason", "test", "--purge") == 0
    assert read(compacted) == read(compacted, "shards", batch="b1")


def kill_compaction(context, monkeypatch) -> None:
    """Kill a compaction after its third bucket, while a file of the next is half written."""
    with monkeypatch.context() as patch:
        kill_at(patch, WriteBucket, 2, after=True)
        with pytest.raises(Killed):
            compact.run(context)
    [folder] = {file.parent for file in below(context, "compacted") if context.config.compact.dataset in str(file)}
    (folder / ".000003.0000-x.parquet.tmp").write_bytes(b"PAR1")


def below(context: Context, name: str) -> list[Path]:
    """The data files of a table, and the working files of runs for `_staging`."""
    files = (path for path in Path(context.lake.root, name).rglob("*") if path.is_file())
    return [path for path in files if not {"_delta_log", "groups"} & set(path.parts)]


@pytest.mark.parametrize("is_published", [False, True])
def test_a_purge_leaves_nothing_that_a_killed_run_has_written(small, monkeypatch, is_published):
    if is_published:
        compact.run(small)
    kill_compaction(change(small, compact={"dataset": "other"}), monkeypatch)
    assert below(small, "_staging")
    gone = read(small, "shards")[0]["image_id"]
    flags = ("--image_id", gone, "--reason", "test", "--purge")
    assert command(takedown, small, *flags) == 0
    assert not below(small, "_staging")
    published = {file.path for file in small.lake.snapshot("compacted").files}
    assert {str(path) for path in below(small, "compacted")} == published
    assert gone not in {row["image_id"] for row in read(small)}
    assert bool(published) == is_published


def test_gc_removes_what_killed_runs_left_of_a_table_that_was_never_published(small, monkeypatch):
    kill_compaction(small, monkeypatch)
    left = below(small, "compacted")
    gc.run(change(small, gc={"retention_hours": 1}))
    gc.run(change(small, gc={"retention_hours": 0, "dry_run": True}))
    assert below(small, "compacted") == left
    gc.run(change(small, gc={"retention_hours": 0}))
    assert not below(small, "compacted")
    compact.run(small)
    assert read(small) == in_order(small)


def test_verify_finds_damage_in_a_dataset_and_a_repair_lets_the_next_run_build_it_again(compacted, capsys):
    rows, [file, *_] = read(compacted), compacted.lake.snapshot("compacted").files
    assert command(verify, compacted, "--decode", "1") == 0
    assert f"decoded: {2 * len(rows)} pictures" in capsys.readouterr().out
    flip_one(Path(file.path))
    assert command(verify, compacted) == 4
    assert "run jobs.compact --recipe default --compact.dataset all again" in capsys.readouterr().out
    assert command(verify, compacted, "--repair") == 0
    assert compact.run(compacted)[0].fresh
    assert command(verify, compacted) == 0
    assert read(compacted) == rows


def test_verify_compares_a_dataset_with_its_shards(compacted):
    snapshots = {name: compacted.lake.snapshot(name) for name in ("shards", "compacted")}
    assert not list(check_counters(compacted.lake, snapshots))
    fewer = Snapshot("shards", 0, tuple(replace(file, rows=file.rows - 1) for file in snapshots["shards"].files))
    problems = [
        p.line() for p in check_counters(compacted.lake, snapshots | {"shards": fewer}) if p.table == "compacted"
    ]
    assert len(problems) == 1
    assert "and the shards of its batches" in problems[0]


def test_gc_removes_replaced_datasets_and_what_killed_runs_left(small, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, WriteBucket, 2, after=False)
        with pytest.raises(Killed):
            compact.run(small)
    larger = change(small, compact={"shard_bytes": 20_000})
    compact.run(larger)
    rows = read(larger)
    gc.run(change(larger, gc={"retention_hours": 0}))
    published = {file.path for file in larger.lake.snapshot("compacted").files}
    files = {str(path) for path in (Path(larger.lake.root) / "compacted").rglob("*.parquet")}
    assert {path for path in files if "_delta_log" not in path} == published
    assert read(larger) == rows


@pytest.mark.parametrize("name", ["webdataset", "hf", "jsonl"])
def test_an_export_of_a_dataset_has_its_rows_in_its_order(compacted, tmp_path, name):
    out = tmp_path / "out"
    options = export.ExportOptions(format=name, output=str(out), dataset="all")
    parts = export.run_export(compacted, options)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["rows"], manifest["plan"]["request"]["batches"]) == (len(read(compacted)), ["b1", "b2"])
    assert "| compacted dataset | all |" in (out / "README.md").read_text()
    assert manifest["plan"]["thresholds"]
    if name == "hf":
        tables = [pq.ParquetFile(out / part.name).read(["image_id"]).to_pydict()["image_id"] for part in parts]
        assert [each for ids in tables for each in ids] == [row["image_id"] for row in read(compacted)]
    with pytest.raises(UsageError, match="give only one of them"):
        export.run_export(compacted, options.model_copy(update={"batches": "b1"}))
    with pytest.raises(InputError, match=r"no dataset 'may' in .*: use one of all, or run jobs\.compact first"):
        export.run_export(compacted, options.model_copy(update={"dataset": "may", "output": str(tmp_path / "may")}))


def test_the_trainer_reads_a_dataset_as_it_reads_shards(compacted):
    dataset = list(PairDataset(compacted.lake.root, dataset="all"))
    shards = list(PairDataset(compacted.lake.root))
    assert [text for _, text in dataset] == [row["text"] for row in read(compacted)]
    assert sorted((text, picture.tobytes()) for picture, text in dataset) == sorted(
        (text, picture.tobytes()) for picture, text in shards
    )
    index = build_index(compacted.lake, "default", dataset="all", validation_share=0.3)
    whole = build_index(compacted.lake, "default", validation_share=0.3)
    assert (index.train.samples, index.validation.samples) == (whole.train.samples, whole.validation.samples)
    with pytest.raises(UsageError, match="already hold the curated draw"):
        build_index(compacted.lake, "default", dataset="all", online=True)
    with pytest.raises(InputError, match="has no dataset 'may'"):
        build_index(compacted.lake, "default", dataset="may")
