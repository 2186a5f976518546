"""A run of any method that is killed resumes to the same bits, with all that it keeps beside the model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.language_shards import KEYS as IN_SEQUENCE
from support.language_shards import publish_languages
from support.method_shards import publish_for_methods
from support.shards import SMALL
from training.methods.catalog import methods

STEPS = 40
KEYS = SMALL | {"context_length": 12, "save_every": 5, "steps": STEPS, "resume": True, "ema_decay": 0.9}


@pytest.fixture(scope="module")
def lakes(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("killed")
    return {"cll": publish_languages(root / "languages").root, "others": publish_for_methods(root / "lake").root}


def start(config: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training.train", "--config", str(config)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def tensors(output: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of the newest checkpoints, also those of optimizers."""
    newest = [pointer.parent / pointer.read_text() for pointer in sorted(output.rglob("checkpoints/latest"))]
    files = [file for folder in newest for file in sorted(folder.rglob("*.safetensors"))]
    return {f"{file.relative_to(output)} {key}": value for file in files for key, value in load_file(file).items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", methods())
def test_a_killed_run_of_a_method_resumes_bit_for_bit(lakes, tmp_path, method):
    keys = KEYS | {"method": method, "lake": str(lakes["others"])}
    kills = ["checkpoints/latest", "checkpoints/step-00000020"]
    if method == "cll":
        keys = KEYS | IN_SEQUENCE | {"lake": str(lakes["cll"]), "steps": STEPS, "save_every": 5}
        kills = ["language-01/checkpoints/latest", "language-02/growth.json", "language-03/checkpoints/latest"]
    for name in ("killed", "whole"):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(keys | {"output": str(tmp_path / name)}))
    for path in kills:
        killed = start(tmp_path / "killed.yaml")
        while not (tmp_path / "killed" / path).exists():
            assert killed.poll() is None, "ended before it was killed"
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    for name in ("killed", "whole"):
        assert start(tmp_path / f"{name}.yaml").wait() == 0
    ours, theirs = tensors(tmp_path / "killed"), tensors(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    assert any(f"step-{STEPS:08}/model.safetensors" in name for name in ours)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    if method == "cll":
        assert (tmp_path / "killed" / "recall.json").read_bytes() == (tmp_path / "whole" / "recall.json").read_bytes()
