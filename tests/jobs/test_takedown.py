"""A takedown hides its images everywhere, downloads nothing, touches nothing else, and can be interrupted anywhere."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from curation.io.lease import hold_lease
from curation.lake.lake import Lake
from curation.lake.tombstones import Tombstones, add_tombstones
from curation.urls import image_id
from jobs import nightly, takedown
from jobs.runtime.batches.plan import plan
from jobs.status import read_status
from support.in_process import IMAGES, change, files_below, prepare, write_crawl
from support.lakes import TABLES, digests

ROWS_OF_IMAGES = ("matches", "curated", "images", "shards")


@pytest.fixture
def nights(crawled):
    """The context of the first of two nights."""
    return crawled[0]


@pytest.fixture
def command(in_process, tmp_path, capsys):
    """Run the command on the lake; return exit code, output and error line."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"lake": str(tmp_path / "lake")}))
    handlers = logging.getLogger().handlers[:]

    def run(*flags, reason="asked"):
        code = takedown.main(["--config", str(path), *(["--reason", reason] if reason else []), *flags])
        said = capsys.readouterr()
        assert code != 1, said.err
        return code, said.out.splitlines(), "".join(line for line in said.err.splitlines() if line.startswith("error:"))

    yield run
    logging.getLogger().handlers[:] = handlers


def rows(context, table, **partition):
    files = context.lake.snapshot(table, partition).files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def ids(context, table, **partition):
    return {row["image_id"] for row in rows(context, table, **partition)}


def on_disk(context):
    """The ids of the images in all files, those of old versions too."""
    paths = (path for t in ("pairs", *ROWS_OF_IMAGES) for path in Path(context.config.lake, t).rglob("*.parquet"))
    tables = (pq.read_table(path, columns=["image_id"], partitioning=None) for path in paths)
    return {image for table in tables for image in table["image_id"].to_pylist()}


def runs(context, **partition):
    return {table: context.lake.snapshot(table, partition).run_ids for table in TABLES}


def states(context, batch):
    return {s.stage: s.freshness.state for s in read_status(context).stages if s.partition["batch"] == batch}


def stored(context, batch, count=1):
    """Ids of images that have the most to be removed from: they are in every table."""
    return sorted(ids(context, "shards", batch=batch))[:count]


def flags_for(kind, context, image_ids, folder):
    urls = {row["image_id"]: row["image_url"] for row in rows(context, "pairs")}
    if kind == "image_id":
        return [part for name in image_ids for part in ("--image_id", name)]
    if kind == "url":
        return [part for name in image_ids for part in ("--url", urls[name] + "#part")]
    path = folder / "names.txt"
    lines = ["# asked on 1 May", "", image_ids[0], *(f" {urls[name]} " for name in image_ids[1:]), "elsewhere.example"]
    path.write_text("\n".join(lines))
    return ["--file", str(path)]


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("kind", ["image_id", "url", "file"])
def test_images_are_hidden_everywhere_without_a_request_and_other_batches_stay(
    nights, command, site, tmp_path, kind, purge
):
    victims = stored(nights, "b2", 3)
    before, pairs = runs(nights, batch="b1"), ids(nights, "pairs")
    flags = flags_for(kind, nights, victims, tmp_path)
    old = dict(files_below(nights.config.lake))
    code, planned, _ = command(*flags, "--dry_run", reason=None)
    assert code == 0
    assert dict(files_below(nights.config.lake)) == old
    assert "pairs: batch b2: 3 images" in planned
    assert "curated: batch b2, default: 3 images" in planned
    code, done, _ = command(*flags, *(["--purge"] if purge else []))
    assert (code, done[: len(planned)]) == (0, planned)
    assert site.requests == []
    for table in ROWS_OF_IMAGES:
        assert not ids(nights, table) & set(victims), table
    assert ids(nights, "pairs") == (pairs - set(victims) if purge else pairs)
    assert runs(nights, batch="b1") == before
    assert set(states(nights, "b1").values()) == {"fresh"}
    kept = [row for row in rows(nights, "images", batch="b2") if row["reason"] != "not_fetched"]
    assert states(nights, "b2") == dict.fromkeys(states(nights, "b2"), "fresh") | (
        {} if len(kept) == len(rows(nights, "images", batch="b2")) else {"images": "incomplete", "shards": "stale"}
    )
    if purge:
        on_disk = [
            path for table in ("pairs", *ROWS_OF_IMAGES) for path in Path(nights.config.lake, table).rglob("*.parquet")
        ]
        assert not [
            path
            for path in on_disk
            if set(pq.read_table(path, partitioning=None)["image_id"].to_pylist()) & set(victims)
        ]
        assert not list(Path(nights.lake.layout.group_cache("b2")).glob("*"))


@pytest.mark.parametrize("purge", [False, True])
def test_the_tables_are_those_of_a_night_that_knew_the_tombstone(crawled, command, tmp_path, purge):
    nights, later = crawled
    victim = stored(nights, "b2")
    assert command("--image_id", victim[0], *(["--purge"] if purge else []))[0] == 0
    nightly.run(later)
    fresh = change(nights, lake=str(tmp_path / "fresh" / "lake"))
    prepare(tmp_path / "fresh")
    add_tombstones(fresh.lake, image_ids=victim, reason="asked")
    nightly.run(fresh)
    nightly.run(change(later, lake=fresh.config.lake))
    tables = set(TABLES) - ({"pairs"} if purge else set())
    ours, theirs = digests(nights.lake), digests(fresh.lake)
    assert {name: ours[name] for name in tables} == {name: theirs[name] for name in tables}
    assert ids(nights, "pairs") == ids(fresh, "pairs") - (set(victim) if purge else set())
    planned = plan(later, nightly.STEPS)
    assert not [stage for stage in planned if stage.runs and stage.stage != "report"], "the row does not come back"


def test_the_counters_of_a_purged_batch_still_add_up(nights, command):
    victims = stored(nights, "b1", 2)
    command(*flags_for("image_id", nights, victims, None), "--purge")
    [owner] = nights.lake.snapshot("pairs", {"batch": "b1"}).run_ids
    [row] = [row for row in nights.lake.rows("runs").to_pylist() if row["run_id"] == owner]
    totals, drops = json.loads(row["totals"]), json.loads(row["drops"])
    assert totals["images"] == len(rows(nights, "pairs", batch="b1")) == IMAGES - 2
    assert totals["kept"] == sum(len(row["texts"]) for row in rows(nights, "pairs", batch="b1"))
    assert drops["tombstone"] == 4
    assert totals["read"] == totals["kept"] + totals["duplicates"] + totals["over_cap"] + sum(drops.values())


def test_an_earlier_batch_makes_later_totals_stale_and_says_so(nights, command):
    code, lines, _ = command("--image_id", stored(nights, "b1")[0])
    assert code == 0
    stale = [line for line in lines if line.startswith("becomes stale: batch b2: ")]
    assert "becomes stale: batch b2: totals" in stale[0]
    assert states(nights, "b2")["totals"] == "stale"
    assert states(nights, "b1")["match"] == states(nights, "b1")["totals"] == "fresh"


@pytest.mark.parametrize("purge", [False, True])
def test_a_second_run_changes_nothing(nights, command, purge):
    flags = ["--image_id", stored(nights, "b2")[0], "--host", "elsewhere.example", *(["--purge"] if purge else [])]
    command(*flags)
    before = data_below(nights.config.lake)
    code, lines, _ = command(*flags)
    assert (code, lines[0]) == (0, "tombstones: 0 new, 2 on record")
    assert data_below(nights.config.lake) == before


def data_below(root):
    """The files of a lake, without pages, metrics and leases."""
    return {path: data for path, data in files_below(root) if not {"reports", "leases"} & {*Path(path).parts}}


def test_a_host_is_hidden_with_all_its_images_and_a_purge_leaves_no_row(nights, command):
    code, lines, _ = command("--host", "127.0.0.1", "--purge")
    assert code == 0
    assert "pairs: batch b1: 50 images" in lines
    for table in ("pairs", *ROWS_OF_IMAGES):
        assert rows(nights, table) == []
    assert not [
        row for path in Path(nights.config.lake, "shards").rglob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]


class Killed(BaseException):
    """The process dies here."""


EVERY = pytest.param(True, 1, marks=pytest.mark.slow), pytest.param(False, 1, marks=pytest.mark.slow)


@pytest.mark.parametrize(("purge", "step"), [(True, 5), *EVERY])
def test_a_takedown_that_is_killed_at_any_commit_is_finished_by_running_it_again(
    nights, command, tmp_path, monkeypatch, purge, step
):
    victim = stored(nights, "b2")[0]
    flags = ["--image_id", victim, *(["--purge"] if purge else [])]
    saved = shutil.copytree(nights.config.lake, tmp_path / "saved")
    command(*flags)
    expected = digests(nights.lake)
    killed = 0
    for at in range(0, 100, step):
        shutil.rmtree(nights.config.lake)
        shutil.copytree(saved, nights.config.lake)
        with monkeypatch.context() as patch:
            patch_commits(patch, at)
            try:
                command(*flags)
                break
            except Killed:
                killed += 1
        assert command(*flags)[0] == 0
        assert digests(Lake(nights.config.lake, nights.storage)) == expected, at  # `nights.lake` has read the logs
        if purge:
            assert victim not in on_disk(nights), at
    assert killed * step > 10


def patch_commits(patch, at):
    """Let the commit number `at` be the last: the process dies after it."""
    done = 0

    def dying(method):
        def run(self, *args, **keys):
            nonlocal done
            value = method(self, *args, **keys)
            done += 1
            if done > at:
                raise Killed
            return value

        return run

    for name in ("publish", "append"):
        patch.setattr(Lake, name, dying(getattr(Lake, name)))


def test_tombstones_of_images_that_a_lake_does_not_have_leave_every_stage_fresh(nights, command, site, tmp_path):
    assert command("--image_id", "0" * 24, "--url", "https://absent.example/a.png", "--host", "absent.example")[0] == 0
    assert set(states(nights, "b1").values()) == set(states(nights, "b2").values()) == {"fresh"}
    assert not [stage for stage in plan(nights, nightly.STEPS)[:-1] if stage.runs]
    assert Tombstones.read(nights.lake).image_ids == {"0" * 24, image_id("https://absent.example/a.png")}
    third = change(nights, batch="b3", ingest={"inputs": [write_crawl(tmp_path / "b3.jsonl", site, [3, 5])]})
    nightly.run(third)
    assert set(states(nights, "b3").values()) == {"fresh"}


def test_a_tombstone_names_its_reason_and_date(nights, command):
    command(
        "--url",
        "HTTPS://A.example:443/x y.png#z",
        "--host",
        "Bücher.example",
        "--date",
        "2024-05-01",
        reason="ticket 7",
    )
    found = sorted(nights.lake.rows("tombstones").to_pylist(), key=str)
    assert {(str(row["date"]), row["reason"]) for row in found} == {("2024-05-01", "ticket 7")}
    assert {row["image_url"] for row in found} == {"https://a.example/x%20y.png", None}
    assert {row["host"] for row in found} == {"xn--bcher-kva.example", None}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--image_id, --url, --host, --file: give at least one"),
        (["--image_id", "abc"], "--image_id: 'abc': an image id has 24 digits"),
        (["--image_id", "0" * 23 + "G"], "an image id has 24 digits"),
        (["--image_id", "0" * 24, "--image_id", "A" * 24], "an image id has 24 digits"),
        (["--image_id", ""], "an image id has 24 digits"),
        (["--host", "example.com/path"], "--host: 'example.com/path' (unresolvable): give a host alone"),
        (["--host", "https://example.com"], "give a host alone"),
        (["--host", "example.com:80"], "give a host alone"),
        (["--host", "user@example.com"], "give a host alone"),
        (["--host", "a b"], "give a host alone"),
        (["--host", ""], "give a host alone"),
        (["--host", "*.example.com"], "give a host alone"),
        (["--host", "example.com?q"], "give a host alone"),
        (["--host", "example.com#f"], "give a host alone"),
        (["--url", "ftp://example.com/a.png"], "--url: 'ftp://example.com/a.png' (scheme): give an absolute"),
        (["--url", "/a.png"], "give an absolute http(s) URL"),
        (["--url", "example.com/a.png"], "give an absolute http(s) URL"),
        (["--url", "https://"], "give an absolute http(s) URL"),
        (["--url", "data:image/png,x"], "(data_uri): give an absolute http(s) URL"),
        (["--image_id", "0" * 24, "--date", "1 May"], "--date: '1 May' is not a date"),
    ],
)
def test_a_name_that_no_image_can_have_is_refused_and_nothing_is_changed(new_night, command, flags, said):
    before = dict(files_below(new_night.config.lake))
    code, out, line = command(*flags)
    assert (code, out) == (2, [])
    assert said in line
    assert dict(files_below(new_night.config.lake)) == before


def test_a_file_names_its_bad_line_and_a_reason_is_required(nights, command, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\ufeffexample.com\n\nexample.com/path\n")
    code, _, line = command("--file", str(names))
    assert (code, f"{names}: line 3: 'example.com/path'" in line) == (2, True)
    assert command("--image_id", "0" * 24, reason=None)[0] == 2
    assert command("--file", str(tmp_path / "absent"))[0] == 3
    assert nights.lake.rows("tombstones").num_rows == 0


def test_a_partition_that_cannot_be_rebuilt_is_named_and_the_others_are_rebuilt(nights, command, monkeypatch):
    victim = stored(nights, "b2")[0]
    monkeypatch.setattr("jobs.runtime.spec.ALGORITHM", 99)  # another algorithm of matching
    code, lines, line = command("--image_id", victim)
    assert code == 3
    assert [line for line in lines if line.startswith("not rebuilt: matches match_id=")]
    assert "the trainer and later runs skip them" in line
    assert victim in Tombstones.read(nights.lake).image_ids


def test_a_takedown_during_a_night_hides_the_images_at_once_and_is_finished_by_running_it_again(nights, command):
    victim = stored(nights, "b2")[0]
    with hold_lease(nights.storage, nights.lake.layout.lease("default"), "a night"):
        code, lines, _ = command("--image_id", victim)
        assert code == 3
        assert [line for line in lines if line.startswith("not rebuilt: images ") and "is in use by process" in line]
        assert victim in Tombstones.read(nights.lake).image_ids
        assert victim in ids(nights, "shards")
    assert command("--image_id", victim)[0] == 0
    assert victim not in ids(nights, "shards")
