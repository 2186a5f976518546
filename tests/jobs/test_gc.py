"""A dry run of gc changes nothing and says exactly what the run without it does: files, bytes and totals."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pyarrow as pa
import pytest

from curation.errors import UsageError
from curation.lake.schemas import SCHEMAS
from jobs import gc
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.job import run_job
from jobs.runtime.stage import Publication, StageRun

OLD = "20200101T000000"


def files_of(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def data_files(root: Path) -> dict[str, int]:
    return {path: size for path, size in files_of(root).items() if "_delta_log" not in path and "reports" not in path}


def add(path: Path, dice: random.Random) -> None:
    """Write a file of random size, half of them a week old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * dice.randrange(2000))
    if dice.random() < 0.5:
        week_ago = time.time() - 8 * 24 * 3600
        os.utime(path, (week_ago, week_ago))


def make_lake(root: Path, seed: int) -> None:
    """Fill a lake with published and replaced versions, orphans, working files and cached groups."""
    dice, config = random.Random(seed), Config(lake=str(root), create=True)
    context = Context(config, "test")
    for number in range(dice.randrange(1, 5)):
        batch = dice.choice(["b1", "b2"])
        outputs = {"pairs": {"batch": batch}}
        run = StageRun("ingest", context.lake, config, fingerprint_keys={}, inputs={"n": number}, outputs=outputs)
        with run.writers()("pairs", 0) as writer:
            writer.write(pa.Table.from_pylist([{"image_id": str(number)}], schema=SCHEMAS["pairs"]))
        run.publish(Publication({"pairs": writer.files}, totals={}))
    for number in range(dice.randrange(5)):
        add(root / "pairs" / "batch=b1" / f"{OLD}-0-0" / f"{number}.parquet", dice)
    for number in range(dice.randrange(5)):
        day = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) if number % 2 else OLD
        for name in range(dice.randrange(1, 3)):
            add(root / "_staging" / f"{day}-0-{number}" / f"{name}.arrow", dice)
    for number in range(dice.randrange(5)):
        add(root / "_staging" / "groups" / "b1" / f"{'.' * (number % 2)}{number}.arrow", dice)
    add(root / "_staging" / "not a run" / "file", dice)


@pytest.mark.parametrize("retention", [0, 100])
@pytest.mark.parametrize("seed", range(8))
def test_a_dry_run_says_what_the_run_removes_and_changes_nothing(tmp_path, capsys, seed, retention):
    lake = tmp_path / "lake"
    make_lake(lake, seed)
    before = files_of(lake)

    def collect(**keys):
        context = Context(Config(lake=str(lake), create=True, gc={"retention_hours": retention, **keys}), "gc")
        [outcome] = run_job(gc.JOB, context)
        return outcome

    planned = collect(dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert files_of(lake) == before, "nothing is changed, and no metrics are written"
    listed = {path: int(size) for size, path in (line.split("\t") for line in lines)}
    before = data_files(lake)
    done = collect()
    assert capsys.readouterr().out == ""
    removed = {path: size for path, size in before.items() if path not in data_files(lake)}
    assert listed == removed
    assert planned.totals == done.totals
    assert done.totals["bytes_removed"] == sum(removed.values())
    assert (lake / "_staging" / "not a run" / "file").exists()
    assert "without dry_run" in planned.line()
    assert (lake / "reports" / "metrics" / "worldcurate_gc.prom").exists()


def test_files_in_the_working_folder_that_are_no_run_s_stay(tmp_path):
    lake = tmp_path / "lake"
    make_lake(lake, 1)
    staging = lake / "_staging"
    for name in ("README", OLD, f"{OLD}-0-0.txt", "２０20", "99999999T999999-1", f".{OLD}-0-0"):
        (staging / name).write_bytes(b"foreign")
    (staging / "link").symlink_to(tmp_path / "nowhere")
    (staging / "folder").symlink_to(tmp_path)
    foreign = {path.name for path in staging.iterdir()}
    (staging / f"{OLD}-0-9").mkdir()
    (staging / f"{OLD}-0-9" / "1.arrow").write_bytes(b"x")
    [outcome] = run_job(gc.JOB, Context(Config(lake=str(lake), gc={"retention_hours": 1}), "gc"))
    assert outcome.totals["staging_removed"] >= 1
    left = {path.name for path in staging.iterdir()}
    assert f"{OLD}-0-9" not in left
    assert {name for name in foreign if "-0-" not in name or name.endswith(".txt") or name.startswith(".")} <= left


def test_no_lake_is_created_even_if_the_config_says_so(tmp_path):
    with pytest.raises(UsageError, match=f"there is no lake at {tmp_path}/laek"):
        run_job(gc.JOB, Context(Config(lake=str(tmp_path / "laek"), create=True), "gc"))
    assert not (tmp_path / "laek").exists()


def test_a_dry_run_that_fails_writes_no_metrics_either(tmp_path, monkeypatch):
    lake = tmp_path / "lake"
    make_lake(lake, 1)
    monkeypatch.setattr(gc, "remove_groups", lambda *_: 1 / 0)
    for dry_run, written in ((True, False), (False, True)):
        with pytest.raises(ZeroDivisionError):
            run_job(gc.JOB, Context(Config(lake=str(lake), gc={"retention_hours": 100, "dry_run": dry_run}), "gc"))
        assert (lake / "reports" / "metrics" / "worldcurate_gc.prom").exists() == written
