"""Runs with other losses, frozen parameters and batches in parts, through the whole trainer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from curation.errors import UsageError
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("methods") / "lake"
    ShardLake(root).publish([shard_row(n) for n in range(50)])
    return root


@pytest.fixture
def run(lake, tmp_path):
    """Train with some keys; return the losses of all steps and the weights."""

    def start(name: str = "out", **keys):
        output = tmp_path / name
        config = TrainConfig(**(SMALL | {"steps": 4, "save_every": 2, "lake": str(lake), "output": str(output)} | keys))
        summary = train(config, ALONE)
        events = EventAccumulator(str(output / "tensorboard")).Reload()
        losses = {event.step: event.value for event in events.Scalars("loss")}
        return losses, load_file(Path(summary["checkpoint"]) / "model.safetensors")

    return start


@pytest.mark.parametrize("loss", ["info_nce", "sigmoid"])
def test_a_run_in_parts_has_the_losses_of_a_run_at_once(run, loss):
    whole, _ = run("whole", loss=loss)
    parts, _ = run("parts", loss=loss, group={"accumulate": 5})
    assert parts.keys() == whole.keys() == {1, 2, 3, 4}
    assert [parts[step] for step in whole] == pytest.approx(list(whole.values()), abs=2e-4)


METHOD = {
    "loss": "sigmoid",
    "group": {"accumulate": 2},
    "phase": {"freeze": ["vision_model.*", "*token_embedding*"], "layer_decay": 0.7, "scale": {"max": 12}},
}


def test_a_resumed_run_with_every_part_of_a_method_equals_an_uninterrupted_one(run, tmp_path):
    losses, weights = run("whole", **METHOD, lr=0.01)
    rest, again = run("rest", **METHOD, lr=0.01, resume=str(tmp_path / "whole" / "checkpoints" / "step-00000002"))
    assert rest == {step: losses[step] for step in (3, 4)}
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert weights["logit_bias"].item() != -10.0
    assert weights["logit_scale"].item() <= math.log(12) + 1e-6


OTHER_SETTINGS = {
    "crop": {"area": (0.5, 1), "augment": "moco"},
    "text": {"edits": ["swap", "delete"]},
    "betas": (0.9, 0.999),
    "phase": {"optimizer": "adabelief", "adaptive_clip": 0.01, "schedule": "linear", "warmup_from_zero": True},
}


def test_a_resumed_run_with_other_views_and_another_optimizer_equals_an_uninterrupted_one(run, tmp_path):
    losses, weights = run("whole", **OTHER_SETTINGS, lr=0.01, warmup_steps=1)
    _, with_adamw = run("adamw", lr=0.01, warmup_steps=1)
    middle = str(tmp_path / "whole" / "checkpoints" / "step-00000002")
    rest, again = run("rest", **OTHER_SETTINGS, lr=0.01, warmup_steps=1, resume=middle)
    assert rest == {step: losses[step] for step in (3, 4)}
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["text_projection.weight"], with_adamw["text_projection.weight"])


def test_frozen_parameters_stay_and_all_others_move(run, tmp_path):
    _, after = run("out", **METHOD, lr=0.01)
    before = load_file(tmp_path / "out" / "checkpoints" / "step-00000002" / "model.safetensors")
    frozen = {name for name in after if name.startswith("vision_model.") or "token_embedding" in name}
    assert {name for name in after if torch.equal(before[name], after[name])} == frozen


def test_a_run_whose_patterns_match_nothing_ends_before_training(run, tmp_path):
    with pytest.raises(UsageError, match=r"phase\.freeze: no parameter matches 'vision'"):
        run("out", phase={"freeze": ["vision"]})
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_fixed_scale_is_that_of_the_configuration(run):
    _, weights = run("out", phase={"scale": {"initial": 20, "learned": False}}, lr=0.01)
    assert weights["logit_scale"].exp().item() == pytest.approx(20)


def test_the_context_length_is_that_of_the_configuration(run):
    _, weights = run("out", context_length=9, steps=1)
    assert weights["text_model.embeddings.position_embedding.weight"].shape[0] == 9
