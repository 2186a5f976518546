"""Duplicates are kept out of the shards, within a batch and across batches, and accounted for everywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from curation.dedup.hash_list import HashSettings, write_hash_list
from curation.errors import InputError
from curation.io.storage import Storage
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.parquet_read import read_batches
from jobs import fetch_images, make_hash_list, nightly
from jobs.explain import Explainer
from jobs.runtime.batches.plan import plan
from jobs.status import read_status
from jobs.tasks.dedup import files, sources
from jobs.tasks.dedup.sources import units_to_embed
from jobs.tasks.images import shard
from jobs.tasks.images.shards_stage import ShardsStage
from jobs.tasks.verify.tables import check_counters, check_tables
from support.duplicates import (
    COPIES,
    FIRST,
    SECOND,
    SIMILAR,
    first_night,
    in_shards,
    name_of,
    removed,
    rows,
    run_night,
    similar,
)
from support.in_process import change, prepare
from support.lakes import TABLES, digests
from support.nights import picture

ALL_TABLES = (*TABLES, "duplicates")


def states(context):
    return {(s.partition["batch"], s.stage): s.freshness.state for s in read_status(context).stages}


def test_duplicates_of_a_batch_are_removed_and_one_of_each_group_stays(nights):
    first = nights[0]
    found = removed(first)
    groups = [{"0.png", "copy0.png"}, {"1.png", "copy1.png", "again1.png"}]
    ids = {name: image for image, name in name_of(first).items()}
    for group in groups:
        [kept] = group - found.keys()
        assert kept == min(group, key=ids.get)
        assert {found[name] for name in group - {kept}} == {("exact", kept)}
    assert {name: found[name] for name in ("2.png", "3.png")} == {
        "2.png": ("near", "large2.png"),
        "3.png": ("near", "large3.png"),
    }, "the larger picture stays"
    assert len(found) == 5
    assert in_shards(first) == {*FIRST, *COPIES, *SIMILAR} - found.keys()


def test_an_earlier_batch_keeps_its_pictures(nights):
    second = nights[1]
    found = removed(second)
    assert {name: found[name] for name in ("copy4.png", "large5.png")} == {
        "copy4.png": ("exact", "4.png"),
        "large5.png": ("near", "5.png"),
    }
    assert len({"50.png", "copy50.png"} & found.keys()) == 1
    assert len(found) == 3
    assert in_shards(second) == SECOND.keys() - found.keys()


def test_counters_add_up(nights_run):
    for outcomes in nights_run[2]:
        duplicates, shards = outcomes["duplicates"], outcomes["shards"]
        totals = duplicates.totals
        assert totals["images"] == outcomes["images"].totals["images"]
        assert totals["compared"] == outcomes["images"].totals["fetched"] == totals["kept"] + totals["duplicates"]
        assert totals["duplicates"] == sum(duplicates.drops.values())
        assert duplicates.drops.items() <= shards.drops.items()
        assert shards.totals["pairs"] == shards.totals["written"] + sum(shards.drops.values())
        assert shards.totals["written"] == totals["kept"]
    assert nights_run[2][0]["duplicates"].drops == {"duplicate_exact": 3, "duplicate_near": 2}
    assert nights_run[2][0]["shards"].drops["without_image"] == 1
    assert nights_run[2][1]["duplicates"].totals["earlier_images"] == nights_run[2][0]["duplicates"].totals["kept"]


def test_every_removed_image_is_explained(nights):
    for context in nights:
        explainer = Explainer(context)
        own = {row["image_id"] for row in rows(context, "images")}
        for row in rows(context, "duplicates"):
            verdict = explainer.image(row["image_id"]).verdict
            assert row["duplicate_of"] in verdict
            assert ("earlier batch" in verdict) == (row["duplicate_of"] not in own)
            assert ("bytes" in verdict) == (row["reason"] == "exact")
        for row in rows(context, "shards"):
            assert "was fetched" in explainer.image(row["image_id"]).verdict


def test_other_units_give_the_same_bytes(nights, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "ROWS_PER_UNIT", 5)
    first = change(nights[0], lake=str(tmp_path / "other" / "lake"), images={"shard_bytes": 20_000})
    prepare(tmp_path / "other")
    for context in (first, change(nights[1], lake=first.config.lake)):
        run_night(context)
    assert digests(first.lake, ALL_TABLES) == digests(nights[0].lake, ALL_TABLES)


def test_a_bucket_of_shards_reads_only_the_duplicates_that_may_name_its_images(nights, monkeypatch):
    first = change(nights[0], images={"shard_bytes": 2000})
    expected, opened = in_shards(first), []

    def noted(storage, path, *rest):
        opened.append(path)
        return read_batches(storage, path, *rest)

    monkeypatch.setattr(files, "ROWS_PER_FILE", 1)
    monkeypatch.setattr(shard, "read_batches", noted)
    run_night(first)
    assert in_shards(first) == expected
    assert len(rows(first, "duplicates")) == 5
    found = [path for path in opened if "/duplicates/" in path]
    assert len(set(found)) >= 3, "two images a bucket"
    assert len(found) == len(ShardsStage(first).buckets), "one file a bucket"


@pytest.mark.spark
def test_spark_gives_the_same_bytes(nights_run, spark, tmp_path):
    lake = shutil.copytree(nights_run[0].config.lake, tmp_path / "lake")
    contexts = [change(context, lake=str(lake)) for context in nights_run[:2]]
    before = digests(Lake(str(lake), Storage()), ALL_TABLES)  # the lakes of the contexts read no log yet
    for table in ("duplicates", "shards"):
        shutil.rmtree(lake / table)
    for context in contexts:
        ran = [outcome.stage for outcome in fetch_images.run(context) if outcome.fresh]
        assert ran == ["duplicates", "shards"]
    assert digests(contexts[0].lake, ALL_TABLES) == before


def test_nothing_is_done_twice(nights):
    assert set(states(nights[0]).values()) == {"fresh"}
    for context in nights:
        assert not any(outcome.fresh for outcome in nightly.run(context) if outcome.stage != "report")
        planned = {stage.stage: stage.runs for stage in plan(context, nightly.STEPS)}
        assert not planned["duplicates"]
        assert not planned["shards"]


def test_a_run_that_was_killed_before_its_shards_continues(nights, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Ends a job as a signal does."""

    def execute(self, _run):
        raise Killed

    first = change(nights[0], lake=str(tmp_path / "killed" / "lake"))
    prepare(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(ShardsStage, "execute", execute)
        with pytest.raises(Killed):
            run_night(first)
    outcomes = run_night(first)
    assert [stage for stage, outcome in outcomes.items() if outcome.fresh] == ["shards", "report"]
    assert removed(first) == removed(nights[0])
    assert digests(first.lake)["shards"] == digests(nights[0].lake)["shards"][: len(digests(first.lake)["shards"])]


def test_without_the_section_nothing_changes(in_process, tmp_path):
    context = first_night(tmp_path, {})
    run_night(context)
    assert "duplicates" not in {stage.stage for stage in plan(context, nightly.STEPS)}
    assert not any(stage == "duplicates" for _, stage in states(context))
    assert context.lake.snapshot("duplicates").version == -1
    row = next(row for row in context.lake.rows("runs").to_pylist() if row["stage"] == "shards")
    assert set(json.loads(row["inputs"])) == {"curated", "images", "tombstones", "settings", "table_versions"}


def test_turning_it_off_brings_the_images_back(nights):
    before = digests(nights[0].lake)["shards"]
    off = change(nights[0], dedup={"exact": False, "near_radius": None})
    outcomes = run_night(off)
    assert "duplicates" not in outcomes
    assert in_shards(off) == {*FIRST, *COPIES, *SIMILAR}
    assert rows(off, "duplicates") == []
    assert ("b1", "duplicates") not in states(off)
    assert "was fetched" in Explainer(off).image(rows(off, "shards")[0]["image_id"]).verdict
    run_night(nights[0])
    assert digests(nights[0].lake)["shards"] == before


def test_a_later_batch_is_stale_when_an_earlier_one_changes(nights):
    run_night(change(nights[0], dedup={"exact": True, "near_radius": None}))
    found = states(nights[1])
    assert found["b1", "duplicates"] == found["b1", "shards"] == "fresh"
    assert found["b2", "images"] == "fresh"
    assert found["b2", "duplicates"] == found["b2", "shards"] == "stale"
    run_night(nights[1])
    assert set(states(nights[1]).values()) == {"fresh"}


def test_a_night_names_a_hash_list_that_is_gone_before_its_first_step(nights, tmp_path):
    new = change(nights[0], batch="b9", dedup={"hash_lists": [str(tmp_path / "gone.parquet")]})
    with pytest.raises(InputError, match=r"gone\.parquet"):
        nightly.run(new)
    assert not new.lake.snapshot("pairs", {"batch": "b9"}).files


def problems_of(context):
    """The problems that jobs.verify finds, without those of the metadata, which no run has made."""
    problems = check_tables(context, read=True).problems
    return [problem.line() for problem in problems if problem.table != "entries"]


def test_a_damaged_file_is_made_again(nights):
    [file] = nights[0].lake.snapshot("duplicates", {"recipe": "default", "batch": "b1"}).files
    nights[0].storage.delete_files([file.path])
    assert problems_of(nights[0]) == [f"{file.path}: missing: run jobs.fetch_images --recipe default --batch b1 again"]
    before = removed(nights[1])
    run_night(nights[0])
    run_night(nights[1])
    assert not problems_of(nights[0])
    assert removed(nights[1]) == before


def test_batches_of_another_recipe_are_not_compared(nights):
    other = run_night(change(nights[1], recipe="other"))
    assert other["duplicates"].totals["earlier_images"] == 0
    assert other["duplicates"].drops == {"duplicate_exact": 1}


def test_pictures_of_a_hash_list_are_removed_whatever_else_they_are(nights, tmp_path):
    before = removed(nights[0])
    (tmp_path / "bench").mkdir()
    for name, data in {"six.png": picture(6), "seven.png": similar(7), "one.png": picture(1)}.items():
        (tmp_path / "bench" / name).write_bytes(data)
    path = tmp_path / "list.parquet"
    assert make_hash_list.main(["--inputs", str(tmp_path / "bench"), "--output", str(path)]) == 0
    listing = change(nights[0], dedup={"hash_lists": [str(path)]})
    outcomes = run_night(listing)
    benchmark = {
        name_of(listing)[row["image_id"]]: (row["duplicate_of"], row["distance"] > 0)
        for row in rows(listing, "duplicates")
        if row["reason"] == "benchmark"
    }
    assert benchmark.keys() == {"6.png", "7.png", "1.png", "copy1.png", "again1.png"}
    assert benchmark["6.png"] == ("six.png", False)
    assert benchmark["7.png"][0] == "seven.png"
    assert outcomes["shards"].drops["benchmark_image"] == 5
    others = {name: why for name, why in before.items() if name not in benchmark}
    assert removed(listing) == others
    verdict = Explainer(listing).image(next(i for i, name in name_of(listing).items() if name == "6.png")).verdict
    assert verdict.endswith("benchmark image, 0 of 64 bits from 'six.png' of a hash list")
    path.unlink()
    assert states(listing)["b1", "duplicates"] == states(listing)["b1", "shards"] == "fresh", "lists are not looked at"


def test_a_changed_hash_list_is_read_again(nights, tmp_path):
    path = str(tmp_path / "list.parquet")
    listing = change(nights[0], dedup={"exact": False, "near_radius": None, "hash_lists": [path]})
    listed = {row["image_id"]: row for row in rows(listing, "images") if row["status"] == "ok"}
    for names in (["8.png"], ["8.png", "9.png"]):
        ids = [image for image, name in name_of(listing).items() if name in names]
        found = [listed[image] for image in ids]
        hashes = [
            {"name": r["image_id"], "sha256": r["original_sha256"], "phash": r["phash"], "embedding": None}
            for r in found
        ]
        write_hash_list(listing.storage, path, hashes, HashSettings("keep_ratio", 256))
        assert run_night(listing)["shards"].drops["benchmark_image"] == len(names)
        assert in_shards(listing) == {*FIRST, *COPIES, *SIMILAR} - set(names)


def test_a_hash_list_of_another_resize_mode_ends_before_images_are_fetched(nights, tmp_path):
    (tmp_path / "one.png").write_bytes(picture(1))
    path = str(tmp_path / "list.parquet")
    assert make_hash_list.main(["--inputs", str(tmp_path / "one.png"), "--output", path]) == 0
    with pytest.raises(InputError, match=r"made with images.resize keep_ratio, not border, so its hashes differ"):
        run_night(change(nights[0], images={"resize": "border"}, dedup={"hash_lists": [path]}))


def test_a_hash_list_that_is_none_ends_before_images_are_fetched(nights, tmp_path):
    (tmp_path / "list.parquet").write_bytes(b"none")
    with pytest.raises(InputError, match=r"dedup.hash_lists: .*list.parquet is not a hash list .*make_hash_list"):
        run_night(change(nights[0], images={"quality": 50}, dedup={"hash_lists": [str(tmp_path / "list.parquet")]}))


def test_verify_compares_the_shards_with_the_duplicates(nights):
    lake = nights[0].lake
    snapshots = {name: lake.snapshot(name) for name in ("duplicates", "shards")}
    assert not list(check_counters(lake, snapshots))
    fewer = Snapshot("duplicates", 0, tuple(replace(f, rows=f.rows - 1) for f in snapshots["duplicates"].files))
    lines = [each.line() for each in check_counters(lake, snapshots | {"duplicates": fewer}) if each.table == "shards"]
    assert len(lines) == 2
    assert "its run dropped 5 rows of duplicates, which holds 4" in lines[0]


def test_each_file_of_images_is_embedded_in_a_task_of_its_own(nights):
    images = nights[0].lake.snapshot("images")
    units = units_to_embed(images)
    assert [[file for file, _ in unit.files] for unit in units] == [[file] for file in images.files]
    assert sum(unit.read(nights[0].storage).num_rows for unit in units) == sum(
        unit.read(nights[0].storage).num_rows for unit in sources.units_of([(images, None)])
    )
