"""Every command of the runbook works as it is written, one after the other, on a small lake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.nights import publish_metadata, write_night

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
BATCH = "2024-05-31"
# They read dumps from the network, or files that stand for them, and have tests of their own.
ELSEWHERE = ("metadata.download", "jobs.build_metadata")


def commands() -> list[str]:
    """The commands in the code blocks of the runbook, in their order."""
    return [line.strip() for line in RUNBOOK.splitlines() if re.match(r" {4,}python -m ", line)]


def config() -> dict:
    """The configuration that the runbook shows."""
    [text] = re.findall(r"```yaml\n(.*?)```", RUNBOOK, re.DOTALL)
    return yaml.safe_load(text)


def test_the_runbook_has_a_command_for_every_case():
    sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    assert len(sections) >= 10
    assert all("python -m " in section for section in sections)
    assert len(commands()) > 20


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.timeout(3600)
def test_the_commands_work_in_their_order(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config()))
    write_night(tmp_path / "in" / BATCH, 40)
    write_night(tmp_path / "in" / "2024-06-01", 20, start=500)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for command in commands():
        if any(module in command for module in ELSEWHERE):
            publish_metadata(Context(Config(lake=str(tmp_path / "lake")), "test"))
            continue
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    lake = Context(Config(lake=str(tmp_path / "lake")), "test").lake
    assert lake.batches() == [BATCH, "2024-06-01"]
    assert lake.recipes() == ["default", "next"]
    assert (tmp_path / "metrics" / "worldcurate_nightly.prom").exists()
