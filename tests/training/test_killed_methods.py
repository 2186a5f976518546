"""A run of any method that is killed resumes to the same bits, with all that it keeps beside the model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.language_shards import KEYS as IN_SEQUENCE
from support.language_shards import publish_languages
from support.method_shards import publish_for_methods
from support.shards import SMALL
from training.config import TrainConfig
from training.distributed import World
from training.methods.catalog import methods
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
STEPS = 20
KEYS = SMALL | {"context_length": 12, "save_every": 2, "steps": STEPS, "resume": True, "ema_decay": 0.9}
FIRST = "checkpoints/latest"  # the file with whose first version a run is killed
IN_LANGUAGES = [f"language-01/{FIRST}", "language-02/growth.json", f"language-03/{FIRST}"]


@pytest.fixture(scope="module")
def lakes(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("killed")
    return {"cll": publish_languages(root / "languages").root, "others": publish_for_methods(root / "lake").root}


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Compute with the threads of the killed processes: sums of other numbers of threads have other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def kill_after(path: Path, config: Path) -> None:
    """Start a run and kill it once a file exists."""
    command = [sys.executable, "-m", "training.train", "--config", str(config)]
    killed = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    while not path.exists():
        assert killed.poll() is None, "ended before it was killed"
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL


def tensors(output: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of the newest checkpoints, also those of optimizers."""
    newest = [pointer.parent / pointer.read_text() for pointer in sorted(output.rglob(FIRST))]
    files = [file for folder in newest for file in sorted(folder.rglob("*.safetensors"))]
    return {f"{file.relative_to(output)} {key}": value for file in files for key, value in load_file(file).items()}


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("method", methods())
def test_a_killed_run_of_a_method_resumes_bit_for_bit(lakes, tmp_path, method):
    is_sequence = method == "cll"
    keys = KEYS | {"method": method, "lake": str(lakes["cll" if is_sequence else "others"])}
    keys |= {"sequence": IN_SEQUENCE["sequence"], "batch_size": 8, "keep_checkpoints": 1} if is_sequence else {}
    ours, theirs = tmp_path / "killed", tmp_path / "whole"
    (tmp_path / "killed.yaml").write_text(json.dumps(keys | {"output": str(ours)}))
    for path in IN_LANGUAGES if is_sequence else [FIRST]:
        kill_after(ours / path, tmp_path / "killed.yaml")
    for output in (ours, theirs):
        train(TrainConfig(**keys, output=str(output)), ALONE)
    found, expected = tensors(ours), tensors(theirs)
    assert found.keys() == expected.keys()
    assert any(f"step-{STEPS:08}/model.safetensors" in name for name in found)
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    if is_sequence:
        assert (ours / "recall.json").read_bytes() == (theirs / "recall.json").read_bytes()
