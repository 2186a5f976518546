"""A night killed anywhere (SIGKILL, every process of it) and run again ends as if it had never been disturbed.

The lake holds an earlier night's partitions, and each run replaces them: at every moment a reader sees, table by table,
the old partition or the new one, whole.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from curation.io.storage import Storage
from curation.lake.lake import Lake
from jobs import gc, nightly
from jobs.runtime.config import GcSection
from jobs.runtime.context import Context
from support.lakes import TABLES, digests
from support.nights import write_night
from support.sessions import kill_session

pytestmark = pytest.mark.spark

Moment = Callable[[Lake, set[Path]], bool]


def in_the_middle_of(table: str) -> Moment:
    """When a new data file of the table is there, and its commit is not."""
    return lambda lake, before: any(path not in before for path in Path(lake.layout.table(table)).rglob("*.parquet"))


def just_after(table: str) -> Moment:
    """When the table has a new commit."""
    return lambda lake, before: any(
        path not in before for path in Path(lake.layout.table(table), "_delta_log").glob("*.json")
    )


def while_staging(lake: Lake, before: set[Path]) -> bool:
    """When a new working file is there."""
    return any(path not in before for path in Path(lake.layout.staging).rglob("*.arrow"))


MOMENTS = {
    "staging": while_staging,
    **{f"mid {table}": in_the_middle_of(table) for table in TABLES},
    **{f"after {table}": just_after(table) for table in TABLES},
}
# in the order in which a night passes them
ORDER = ["staging", *(f"{when} {table}" for table in TABLES for when in ("mid", "after"))]


def kill_at(moment: Moment, config: Path, lake: Lake) -> bool:
    """Start the night and kill all of it at a moment; return whether that was before the night ended."""
    before = set(Path(lake.root).rglob("*"))
    command = [sys.executable, "-m", "jobs.nightly", "--config", str(config), "--spark.master", "local[2]"]
    night = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while night.poll() is None:
            if moment(lake, before):
                return True
            time.sleep(0.002)
        return False
    finally:
        kill_session(night)


def grown(context: Context, folder: Path) -> Context:
    """The same night with more inputs, so that every stage has its partition to replace."""
    inputs = [*context.config.ingest.inputs, *write_night(folder, 60, start=5000)]
    ingest = context.config.ingest.model_copy(update={"inputs": inputs})
    return Context(context.config.model_copy(update={"ingest": ingest}), context.name)


def check_disturbed_by(moments: list[str], night_done: Context, tmp_path: Path) -> None:
    import shutil

    undisturbed = grown(night_done, tmp_path / "more")
    disturbed_root = shutil.copytree(undisturbed.config.lake, tmp_path / "disturbed")
    old = digests(undisturbed.lake)
    nightly.run(undisturbed)
    new = digests(undisturbed.lake)
    assert all(old[table] != new[table] for table in TABLES)

    lake = Lake(str(disturbed_root), Storage())
    config = tmp_path / "config.yaml"
    keys = undisturbed.config.model_copy(update={"lake": lake.root}).model_dump(mode="json", exclude_none=True)
    config.write_text(yaml.safe_dump(keys))
    killed = []
    for name in moments:
        if kill_at(MOMENTS[name], config, lake):
            killed.append(name)
        seen = digests(lake)
        assert all(seen[table] in (old[table], new[table]) for table in TABLES), name
    assert len(killed) >= max(1, len(moments) - 2), killed  # a moment may be too short to be met

    again = Context(undisturbed.config.model_copy(update={"lake": lake.root}), "nightly")
    nightly.run(again)
    assert digests(lake) == new
    gc.run(Context(again.config.model_copy(update={"gc": GcSection(retention_hours=0)}), "gc"))
    for table in TABLES:
        on_disk = {
            str(path) for path in Path(lake.layout.table(table)).rglob("*.parquet") if "_delta_log" not in path.parts
        }
        assert on_disk == {file.path for file in lake.snapshot(table).files}
    assert not list(Path(lake.layout.staging).rglob("*.arrow"))
    assert digests(lake) == new


def test_a_night_killed_while_matching_and_run_again_is_like_any_other(night_done, tmp_path):
    check_disturbed_by(["mid matches"], night_done, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_night_killed_at_every_boundary_and_in_every_stage_is_like_any_other(night_done, tmp_path):
    check_disturbed_by(ORDER, night_done, tmp_path)
