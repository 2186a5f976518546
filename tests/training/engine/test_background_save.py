from __future__ import annotations

import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from torch.optim import AdamW

from curation.errors import InputError
from support.models import build_model
from training.data.sample_order import DataState
from training.distributed import World
from training.engine import checkpoint
from training.engine.background_save import CheckpointSaver
from training.engine.checkpoint import TrainingState
from training.engine.checkpoint_writer import save
from training.engine.snapshot import take_snapshot
from training.engine.weight_average import WeightAverage
from training.models.metaclip2 import PRESETS, Tower
from training.models.towers import TwoTowers
from training.parallel.blocks import BlockPlan

ALONE = World(0, 1, torch.device("cpu"))
SMALL = PRESETS["tiny"]._replace(
    image_size=16, context_length=16, embedding=8, vision=Tower(8, 1, 2), text=Tower(8, 1, 2)
)


@pytest.fixture
def run(tokenizer):
    """A model after one step, with `run.snapshot(step)`."""
    model = build_model(SMALL, tokenizer)
    optimizer = AdamW(model.parameters(), fused=True)

    def step() -> None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.01)
        optimizer.step()

    def snapshot(number: int, averaged=None):
        state = TrainingState(step=number, progress=DataState(), version=1, run_ids=("r",), samples=9, config={})
        copies = {"ema": averaged} if averaged else {}
        return take_snapshot(BlockPlan(ALONE), TwoTowers(model), tokenizer, optimizer, state, copies=copies)

    step.model, step.optimizer, step.snapshot = model, optimizer, snapshot
    step()
    return step


def test_training_may_go_on_while_a_checkpoint_is_written(run, tmp_path, monkeypatch):
    may_write = threading.Event()

    def save_later(*arguments, **keys):
        assert may_write.wait(60)
        save(*arguments, **keys)

    monkeypatch.setattr("training.engine.background_save.save", save_later)
    saver = CheckpointSaver(ALONE, tmp_path, keep=3, background=True)
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    moment = run.optimizer.state[run.model.visual_projection.weight]["exp_avg"].clone()
    saver.save(run.snapshot(1))
    run()
    assert checkpoint.find(tmp_path) is None
    may_write.set()
    saver.wait()
    folder = checkpoint.find(tmp_path)
    assert all(torch.equal(value, weights[name]) for name, value in load_file(folder / "model.safetensors").items())
    assert not torch.equal(run.model.visual_projection.weight, weights["visual_projection.weight"])
    moments = load_file(folder / "optimizer" / "rank-00000.safetensors")
    assert torch.equal(moments["visual_projection.weight.exp_avg"], moment)


@pytest.mark.parametrize("background", [True, False])
def test_a_failed_save_is_raised_once_and_the_next_one_works(run, tmp_path, monkeypatch, background):
    saver = CheckpointSaver(ALONE, tmp_path, keep=3, background=background)

    def fail(*_, **__):
        raise InputError("output: cannot save")

    with monkeypatch.context() as patch:
        patch.setattr("training.engine.background_save.save", fail)
        with pytest.raises(InputError, match="cannot save"):  # noqa: PT012 - either call may raise
            saver.save(run.snapshot(1))
            saver.wait()
    saver.save(run.snapshot(2))
    saver.wait()
    assert checkpoint.find(tmp_path).name == "step-00000002"


def test_a_run_ends_only_after_its_background_save_and_reports_its_own_error(run, tmp_path, monkeypatch, caplog):
    written = []

    def save_slowly(*_, **__):
        time.sleep(0.3)
        written.append(True)
        raise InputError("output: cannot save")

    monkeypatch.setattr("training.engine.background_save.save", save_slowly)

    def train_with_bug():
        with CheckpointSaver(ALONE, tmp_path, keep=3, background=True) as saver:
            saver.save(run.snapshot(1))
            raise KeyError

    with pytest.raises(KeyError):
        train_with_bug()
    assert written
    assert caplog.messages == ["output: cannot save"]
    with (
        pytest.raises(InputError, match="cannot save"),
        CheckpointSaver(ALONE, tmp_path, keep=3, background=True) as saver,
    ):
        saver.save(run.snapshot(1))


def test_the_average_follows_its_formula_and_is_a_model_of_its_own(run, tmp_path):
    average = WeightAverage(run.model, 0.75)
    expected = run.model.visual_projection.weight.detach().double()
    for _ in range(5):
        run()
        average.update()
        expected = 0.75 * expected + 0.25 * run.model.visual_projection.weight.detach().double()
    assert torch.allclose(average.weights["visual_projection.weight"].double(), expected, atol=1e-6)
    save(ALONE, tmp_path, run.snapshot(1, average.weights), keep=1)
    folder = checkpoint.find(tmp_path)
    averaged, _ = checkpoint.load_model(folder / "ema")
    assert torch.equal(averaged.visual_projection.weight, average.weights["visual_projection.weight"])
    assert not torch.equal(averaged.visual_projection.weight, run.model.visual_projection.weight)
    restored = WeightAverage(run.model, 0.75)
    restored.restore(folder / "ema")
    assert all(torch.equal(restored.weights[name], value) for name, value in average.weights.items())


def test_a_damaged_average_is_one_line(run, tmp_path):
    average = WeightAverage(run.model, 0.75)
    save(ALONE, tmp_path, run.snapshot(1, average.weights), keep=1)
    folder = checkpoint.find(tmp_path) / "ema"
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"resume: .*ema cannot be read \(.*\): set resume to another checkpoint"):
        average.restore(folder)
