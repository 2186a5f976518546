"""Fixtures for the training tests: lakes of shards, a tokenizer, and runs of two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support import train_each
from support.evaluation_sets import write_sets
from support.shards import SMALL, ShardLake, draw, publish_matched, shard_row
from training.data.tokenizer import Tokenizer


class TwoProcesses(NamedTuple):
    """A run of two processes: its lake, output folder and summary."""

    lake: Path
    output: Path
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory) -> dict[str, TwoProcesses]:
    """Two runs in one process start: on 50 published pairs, and on 200 matched images with per-epoch sampling."""
    root = tmp_path_factory.mktemp("two-processes")
    keys = {
        "published": {"steps": 6, "save_every": 3, "evaluations": write_sets(root / "sets")},
        "online": {"steps": 9, "save_every": 4, "draw": "online"},
    }
    ShardLake(root / "published").publish([shard_row(n) for n in range(50)])
    publish_matched(ShardLake(root / "online"), 200)
    configs = []
    for name, run_keys in keys.items():
        configs.append(str(root / f"{name}.yaml"))
        paths_of_run = {"lake": str(root / name), "output": str(root / f"{name}-out")}
        Path(configs[-1]).write_text(json.dumps(SMALL | run_keys | paths_of_run), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(Path(train_each.__file__)), *configs],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summaries = map(json.loads, done.stdout.splitlines())
    return {
        name: TwoProcesses(root / name, root / f"{name}-out", summary)
        for name, summary in zip(keys, summaries, strict=True)
    }


@pytest.fixture
def shard_lake(tmp_path) -> ShardLake:
    return ShardLake(tmp_path / "lake")


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    captions = [draw(number)[1] for number in range(24)]
    return Tokenizer.train(captions * 3, vocab_size=320, context_length=16)


@pytest.fixture
def train_yaml(tmp_path):
    """Write a training configuration and return its path."""

    def write(name="t.yaml", **keys) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(keys), encoding="utf-8")
        return path

    return write
