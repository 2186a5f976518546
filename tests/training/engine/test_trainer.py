from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.models import build_model
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.models.metaclip2 import PRESETS, Tower
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
KEYS = SMALL | {"steps": 4, "save_every": 2}


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trainer") / "lake"
    ShardLake(root).publish([shard_row(n) for n in range(50)])
    return root


def metrics_of(output: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "loss" in line]


def test_a_resumed_run_has_the_average_and_the_metrics_of_an_undisturbed_one(lake, tmp_path):
    keys = {"lake": str(lake), "ema_decay": 0.5} | KEYS
    whole = train(TrainConfig(output=str(tmp_path / "whole"), **keys), ALONE)
    middle = tmp_path / "whole" / "checkpoints" / "step-00000002"
    resumed = train(TrainConfig(output=str(tmp_path / "resumed"), resume=str(middle), **keys), ALONE)
    files = [Path(run["checkpoint"]) / "ema" / "model.safetensors" for run in (whole, resumed)]
    one, other = map(load_file, files)
    assert all(torch.equal(one[name], other[name]) for name in one)
    plain = load_file(files[0].parents[1] / "model.safetensors")
    assert not torch.equal(one["visual_projection.weight"], plain["visual_projection.weight"])
    lines = metrics_of(tmp_path / "whole")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines[2:]] == [line["loss"] for line in metrics_of(tmp_path / "resumed")]
    assert all(0 <= line["data_wait_share"] <= 1 and line["peak_memory_bytes"] > 1e7 for line in lines)


def test_a_resumed_run_draws_the_dropout_of_an_undisturbed_one(lake, tmp_path, tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer, side=16)
    losses = {}
    for dropout in (0.0, 0.5):
        model.config.vision_config.attention_dropout = model.config.text_config.attention_dropout = dropout
        start = tmp_path / f"start-{dropout}"
        model.save_pretrained(start)
        tokenizer.save(start)
        keys = {"lake": str(lake), "start": {"checkpoint": str(start)}} | KEYS
        whole = tmp_path / f"whole-{dropout}"
        train(TrainConfig(output=str(whole), **keys), ALONE)
        losses[dropout] = [line["loss"] for line in metrics_of(whole)]
    middle = str(whole / "checkpoints" / "step-00000002")
    train(TrainConfig(output=str(tmp_path / "resumed"), resume=middle, **keys), ALONE)
    assert [line["loss"] for line in metrics_of(tmp_path / "resumed")] == losses[0.5][2:]
    assert losses[0.5] != losses[0.0]


def test_deterministic_mode_allows_only_deterministic_operations_and_repeats_a_run(lake, tmp_path):
    weights = []
    try:
        for name in ("one", "two"):
            keys = KEYS | {"steps": 2, "grad_checkpointing": name == "two"}
            summary = train(TrainConfig(lake=str(lake), output=str(tmp_path / name), deterministic=True, **keys), ALONE)
            assert torch.are_deterministic_algorithms_enabled()
            weights.append(load_file(Path(summary["checkpoint"]) / "model.safetensors"))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_compiled_encoders_give_the_same_losses_and_the_same_names_of_weights(lake, tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # a killed compiler leaves broken files
    layer = Tower(32, 1, 2)
    start = tmp_path / "start"
    build_model(PRESETS["tiny"]._replace(vision=layer, text=layer), tokenizer, side=16).save_pretrained(start)
    tokenizer.save(start)
    keys = KEYS | {"lake": str(lake), "start": {"checkpoint": str(start)}}
    for name, changed in (("eager", {}), ("compiled", {"compile": True, "grad_checkpointing": True})):
        train(TrainConfig(output=str(tmp_path / name), **keys | changed), ALONE)
    losses = [[line["loss"] for line in metrics_of(tmp_path / name)] for name in ("eager", "compiled")]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    weights = [
        load_file(tmp_path / name / "checkpoints" / "step-00000004" / "model.safetensors")
        for name in ("eager", "compiled")
    ]
    assert weights[0].keys() == weights[1].keys()
