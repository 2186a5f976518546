"""A night runs with spaces, `%`, brackets, `#` and any script in every path: lake, inputs, config and caches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import jobs
from curation.io.cache_dir import cache_folder
from curation.io.storage import Storage
from curation.lake.lake import Lake
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.nights import NIGHT, publish_metadata, write_night


@pytest.mark.slow
def test_a_night_runs_with_any_characters_in_its_paths_and_is_not_repeated(tmp_path):
    base = tmp_path / "a[1] %41é#b"
    inputs, work, cache, temporary = base / "in %20 [x]", base / "cwd é[ ]%", base / "cache %41[z]", base / "tmp %41"
    for folder in (work, temporary):
        folder.mkdir(parents=True)
    shutil.copytree(cache_folder(), cache, ignore=shutil.ignore_patterns("compiled"))
    write_night(inputs, 40)
    publish_metadata(Context(Config(lake=str(base / "lake %2F[y]"), create=True), "test"))
    ingest = {**NIGHT["ingest"], "inputs": [f"{inputs.name}/*.jsonl"], "ref_roots": [str(base)]}
    config = {**NIGHT, "lake": "lake %2F[y]", "batch": "b1", "spark": {"master": "local[2]"}, "ingest": ingest}
    (base / "conf [a].yaml").write_text(yaml.safe_dump(config))
    environment = {"WORLDCURATE_CACHE": str(cache), "TMPDIR": str(temporary)}
    environment["PYTHONPATH"] = str(Path(jobs.__file__).parents[1])

    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "jobs.nightly", "--config", "../conf [a].yaml"],
            cwd=work,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stderr.splitlines()

    assert any("match: compiling machine code first" in line for line in run())
    assert "nothing to do for ingest, match, totals, balance, images, shards" in run()[-1]
    lake = Lake(str(base / "lake %2F[y]"), Storage())
    assert lake.snapshot("shards").rows > 0
    assert {
        json.loads(row["totals"])["files"] for row in lake.rows("runs").to_pylist() if row["stage"] == "ingest"
    } == {3}
    assert not list(work.iterdir())
    assert {path.name for path in base.iterdir()} == {
        *(folder.name for folder in (inputs, work, cache, temporary)),
        "conf [a].yaml",
        "lake %2F[y]",
    }
