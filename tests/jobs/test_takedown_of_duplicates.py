"""A takedown leaves no duplicate of an image that is gone, and needs neither hash lists nor their model."""

from __future__ import annotations

import json

import pytest

from curation.dedup.hash_list import HashSettings, write_hash_list
from curation.lake.takedown_names import read_names
from jobs import fetch_images, takedown
from jobs.explain import Explainer
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.runs import mark_incomplete
from jobs.status import read_status
from jobs.tasks.dedup.stage import DuplicatesStage
from support.compaction import Killed
from support.duplicates import (
    COPIES,
    FIRST,
    ON,
    SIMILAR,
    first_night,
    in_shards,
    name_of,
    removed,
    rows,
    run_night,
    second_night,
)
from support.in_process import change, files_below
from support.nights import ENTRIES, publish_entries


def states(context, batch):
    return {s.stage: s.freshness.state for s in read_status(context).stages if s.partition["batch"] == batch}


def plan(context, *image_ids, hosts=()):
    context = Context(Config(lake=context.config.lake), "takedown")
    return takedown.Takedown(context, read_names(context.storage, image_ids=list(image_ids), hosts=list(hosts)))


def take_down(context, *names, purge=True):
    """Take images down by the names of their files; return what the command says."""
    ids = {name: image for image, name in name_of(context).items()}
    return plan(context, *(ids[name] for name in names)).run("asked", None, purge=purge)


def ids_in(context, table):
    return {value for row in rows(context, table) for key in ("image_id", "duplicate_of") if (value := row.get(key))}


def test_a_duplicate_takes_the_place_of_an_original_that_is_taken_down(nights):
    first, second = nights
    ids = {name: image for image, name in name_of(first).items()}
    before, before_second = in_shards(first), in_shards(second)
    [kept] = {"0.png", "copy0.png"} & before
    [other] = {"0.png", "copy0.png"} - before
    fetched = first.lake.snapshot("images", {"batch": "b2"}).run_ids
    said = take_down(first, kept, "4.png")
    assert in_shards(first) == before - {kept, "4.png"} | {other}
    assert in_shards(second) == before_second | {"copy4.png"}, "the duplicate in a later batch too"
    assert not [line for line in said if line.startswith("not rebuilt")]
    assert not {ids[kept], ids["4.png"]} & (ids_in(first, "duplicates") | ids_in(second, "duplicates"))
    assert first.lake.snapshot("images", {"batch": "b2"}).run_ids == fetched
    for context in nights:
        explainer = Explainer(context)
        for row in rows(context, "duplicates"):
            assert row["duplicate_of"] in explainer.image(row["image_id"]).verdict
            assert name_of(context)[row["duplicate_of"]] in in_shards(first) | in_shards(second)
    run_night(first)
    run_night(second)
    assert in_shards(second) == before_second | {"copy4.png"}
    assert set(states(second, "b2").values()) == {"fresh"}


def test_no_file_has_the_id_of_an_image_that_is_purged(nights):
    gone = next(image for image, name in name_of(nights[0]).items() if name == "4.png").encode()
    take_down(nights[0], "4.png")
    tables = ("pairs", "matches", "curated", "images", "duplicates", "shards")
    found = [
        path
        for table in tables
        for path, data in files_below(f"{nights[0].config.lake}/{table}")
        if path.endswith(".parquet") and gone in data
    ]
    assert not found


def test_a_batch_that_names_no_image_of_a_takedown_is_left_alone(nights):
    first, second = nights
    owners = {table: first.lake.snapshot(table, {"batch": "b2"}).run_ids for table in ("duplicates", "shards")}
    lines = list(plan(first, next(i for i, n in name_of(first).items() if n == "19.png")).lines())
    assert not [line for line in lines if "batch b2" in line]
    take_down(first, "19.png")
    assert owners == {table: first.lake.snapshot(table, {"batch": "b2"}).run_ids for table in owners}
    assert "copy4.png" not in in_shards(second)


@pytest.mark.parametrize("killed", [False, True])
def test_the_duplicates_of_a_host_come_back_also_after_a_kill(in_process, tmp_path, monkeypatch, killed):
    first = first_night(tmp_path, ON)
    publish_entries(first, ENTRIES)
    path = tmp_path / "b1" / "rows.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["ref"].endswith("/4.png"):
            line["url"] = "https://gone.example/4.png"
    path.write_text("\n".join(map(json.dumps, lines)))
    second = second_night(first, tmp_path)
    run_night(first)
    run_night(second)
    assert removed(second)["copy4.png"] == ("exact", "4.png")
    if killed:
        execute = DuplicatesStage.execute

        def killed_at_second(stage, run):
            if stage.batch == "b2":
                raise Killed
            return execute(stage, run)

        with monkeypatch.context() as patch:
            patch.setattr(DuplicatesStage, "execute", killed_at_second)
            with pytest.raises(Killed):
                plan(first, hosts=["gone.example"]).run("asked", None, purge=True)
        assert "4.png" not in in_shards(first)
        assert "copy4.png" not in in_shards(second)
    plan(first, hosts=["gone.example"]).run("asked", None, purge=True)
    assert "copy4.png" in in_shards(second)
    assert "copy4.png" not in removed(second)


def test_a_takedown_rebuilds_with_the_settings_of_the_last_run(in_process, tmp_path):
    off = first_night(tmp_path, {})
    run_night(off)
    on = change(off, dedup=ON)
    run_night(on)
    take_down(on, "19.png")
    assert len(removed(on)) == 5
    assert in_shards(on) == {*FIRST, *COPIES, *SIMILAR} - removed(on).keys() - {"19.png"}


@pytest.fixture
def listing(nights, tmp_path):
    """A context whose night has removed two pictures of a hash list, which is gone now."""
    path = tmp_path / "list.parquet"
    stored = {name_of(nights[0])[row["image_id"]]: row for row in rows(nights[0], "images") if row["status"] == "ok"}
    listed = [
        {"name": f"of {name}", "sha256": stored[name]["original_sha256"], "phash": "f" * 16, "embedding": None}
        for name in ("8.png", "9.png")
    ]
    write_hash_list(nights[0].storage, str(path), listed, HashSettings("keep_ratio", 256))
    context = change(nights[0], dedup={"hash_lists": [str(path)]})
    assert run_night(context)["shards"].drops["benchmark_image"] == 2
    path.unlink()
    return context


def test_a_takedown_takes_the_benchmark_images_from_the_published_duplicates(listing):
    before = in_shards(listing)
    [kept] = {"0.png", "copy0.png"} & before
    [other] = {"0.png", "copy0.png"} - before
    said = take_down(listing, "19.png", "8.png", kept)
    assert not [line for line in said if line.startswith("not rebuilt: ")]
    assert in_shards(listing) == before - {"19.png", kept} | {other}
    benchmark = [row for row in rows(listing, "duplicates") if row["reason"] == "benchmark"]
    assert [(name_of(listing)[r["image_id"]], r["duplicate_of"], r["hash"]) for r in benchmark] == [
        ("9.png", "of 9.png", "sha256")
    ]
    assert states(listing, "b1")["duplicates"] == states(listing, "b1")["shards"] == "fresh"
    [outcome] = [each for each in fetch_images.run(without_fetch(listing)) if each.stage == "duplicates"]
    assert (outcome.fresh, outcome.totals["listed_images"]) == (False, 2), "the list is not looked at"


def without_fetch(context):
    return Context(context.config, context.name, fetch=False)


@pytest.mark.parametrize("killed", [1, 2])
def test_takedowns_that_were_killed_before_the_duplicates_do_not_need_the_list_either(listing, monkeypatch, killed):
    def kill(*_):
        raise Killed

    for name in ("19.png", "18.png")[:killed]:
        with monkeypatch.context() as patch:
            patch.setattr(DuplicatesStage, "execute", kill)
            with pytest.raises(Killed):
                take_down(listing, name, purge=False)
    said = take_down(listing, "17.png")
    assert not [line for line in said if line.startswith("not rebuilt: ")]
    assert not in_shards(listing) & {"8.png", "9.png", "17.png", "19.png"}
    assert {row["reason"] for row in rows(listing, "duplicates")} == {"benchmark", "exact", "near"}


def test_duplicates_that_do_not_tell_all_are_named_and_the_shards_are_rebuilt_with_them(listing):
    before = in_shards(listing)
    [owner] = listing.lake.snapshot("duplicates", {"batch": "b1"}).run_ids
    mark_incomplete(listing.lake, owner)
    said = take_down(listing, "19.png")
    [failed] = [line for line in said if line.startswith("not rebuilt: ")]
    assert failed.startswith("not rebuilt: duplicates recipe=default batch=b1: ")
    assert "list.parquet" in failed
    assert in_shards(listing) == before - {"19.png"}
    assert states(listing, "b1")["shards"] == "stale"
