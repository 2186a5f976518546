"""Removing a batch or a recipe: a dry run by default, exact about what goes and what becomes stale."""

from __future__ import annotations

import logging

import pytest
import yaml

from jobs import balance, ingest, nightly, remove
from jobs.runtime.batches.removal import TABLES
from jobs.status import read_status
from support.in_process import change, files_below, prepare, second_night
from support.lakes import digests
from support.nights import write_night


@pytest.fixture
def two_nights(night_here, tmp_path):
    """Batches b1 and b2 of recipe default, and both of recipe `late`, which counts up to b2."""
    second = second_night(night_here, tmp_path)
    for context in (night_here, second):
        balance.run(change(context, recipe="late", balance={"counts_up_to": "b2"}))
    return night_here


@pytest.fixture
def command(two_nights, tmp_path, capsys):
    """Run the command on the lake; return exit code, output and error line."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(two_nights.config.model_dump(mode="json", exclude_none=True)))
    handlers = logging.getLogger().handlers[:]

    def run(*flags):
        code = remove.main(["--config", str(path), *flags])
        said = capsys.readouterr()
        assert code != 1, said.err
        return code, said.out.splitlines(), "".join(line for line in said.err.splitlines() if line.startswith("error:"))

    yield run
    logging.getLogger().handlers[:] = handlers


def not_fresh(context):
    stages = (stage for stage in read_status(context).stages if not stage.freshness.fresh)
    return {f"batch {s.partition['batch']}: {s.stage}": s.freshness.reason for s in stages if s.run_id}


@pytest.mark.parametrize(
    ("flags", "stale"),
    [
        (["--batch", "b1"], {"totals", "balance", "images", "shards"}),
        (["--batch", "b2"], {"balance"}),
        (["--recipe", "default"], set()),
        (["--recipe", "late"], set()),
        (["--batch", "b1", "--recipe", "default"], set()),
    ],
)
def test_a_dry_run_is_exact_and_changes_nothing(two_nights, command, flags, stale):
    context = two_nights
    before, rows = dict(files_below(context.config.lake)), {name: context.lake.snapshot(name).rows for name in TABLES}
    code, planned, _ = command(*flags)
    assert code == 0
    assert command(*flags, "--dry_run")[1] == planned
    assert dict(files_below(context.config.lake)) == before
    code, done, _ = command(*flags, "--yes")
    assert (code, done) == (0, planned)
    removed = {line.partition(":")[0]: int(line.split()[3]) for line in planned if line.partition(":")[0] in TABLES}
    assert {name: rows[name] - context.lake.snapshot(name).rows for name in TABLES} == dict.fromkeys(
        TABLES, 0
    ) | removed
    said = [line.removeprefix("becomes stale: ") for line in planned if line.startswith("becomes stale: ")]
    found = not_fresh(context)
    assert {line.split(":")[1].split()[0] for line in said} == stale
    assert {line.split(":")[0] + ": " + line.split(":")[1].split()[0] for line in said} == set(found)
    assert command(*flags)[0] == (0 if len(flags) == 4 else 2), "a name that is gone is unknown"


def test_a_lake_without_a_batch_is_as_if_it_had_never_been_run(two_nights, command, tmp_path):
    assert command("--batch", "b1", "--yes")[0] == 0
    nights = two_nights.lake
    assert nights.batches() == ["b2"]
    assert not list((tmp_path / "lake" / "_staging" / "groups").glob("b1*"))
    assert command("--recipe", "late", "--yes")[0] == 0
    second = change(two_nights, batch="b2", ingest={"inputs": sorted(map(str, (tmp_path / "b2").glob("*.jsonl")))})
    nightly.run(second)
    alone = change(second, lake=str(tmp_path / "alone" / "lake"))
    prepare(tmp_path / "alone")
    nightly.run(alone)
    assert digests(second.lake) == digests(alone.lake)
    assert nights.snapshot("curated", {"recipe": "late"}).files == ()


def test_a_batch_that_later_ones_looked_images_up_in_makes_them_stale(two_nights, command, tmp_path):
    inputs = write_night(tmp_path / "b3", 10, start=1000)
    ingest.run(change(two_nights, batch="b3", ingest={"inputs": inputs, "seen": "earlier"}))
    assert "becomes stale: batch b3: ingest: changed: seen" in command("--batch", "b2")[1]


def test_the_config_file_selects_nothing(two_nights, command):
    assert two_nights.config.batch == "b1"
    code, out, line = command("--yes")
    assert (code, out) == (2, [])
    assert "--batch, --recipe: give one of them" in line
    _, planned, _ = command("--recipe=late")
    assert not [line for line in planned if line.startswith("pairs")]
    assert two_nights.lake.snapshot("pairs").rows == 100


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch", "b9", "--yes"], "has no batch 'b9': it has b1, b2"),
        (["--recipe", "r9", "--yes"], "has no recipe 'r9': it has default, late"),
        (["--batch", "b1", "--yes", "--dry_run"], "--yes, --dry_run: give only one"),
    ],
)
def test_a_mistake_is_one_line_and_removes_nothing(two_nights, command, flags, said):
    before = dict(files_below(two_nights.config.lake))
    code, out, line = command(*flags)
    assert (code, out) == (2, [])
    assert said in line
    assert dict(files_below(two_nights.config.lake)) == before
