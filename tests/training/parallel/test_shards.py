"""Runs of two ranks that store a share of the model each (FSDP2), beside those that store all of it (DDP)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from support.models import build_model
from support.ranks import call_on_ranks
from support.shards import SMALL, ShardLake, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.models.metaclip2 import PRESETS
from training.models.towers import TwoTowers
from training.parallel.shards import Shards
from training.parallel.tensors import local
from training.train import train

CPU = torch.device("cpu")
KEYS = SMALL | {
    "steps": 6,
    "save_every": 3,
    "ema_decay": 0.5,
    "max_grad_norm": 1.0,
    "group": {"accumulate": 2},
    "validation_share": 0.1,
    "phase": {"freeze": ["vision_model.embeddings.*"], "layer_decay": 0.9},
    "lr": 3e-3,
}
OTHER_OPTIMIZER = {"phase": {"optimizer": "adabelief", "adaptive_clip": 0.01}, "steps": 3}
RUNS = {
    "ddp": {},
    "fsdp": {"parallel": "fsdp"},
    "ddp-to-fsdp": {"parallel": "fsdp", "resume": "ddp", "grad_checkpointing": True},
    "fsdp-to-ddp": {"resume": "fsdp"},
    "ddp-adabelief": OTHER_OPTIMIZER,
    "fsdp-adabelief": {"parallel": "fsdp", **OTHER_OPTIMIZER},
    "fsdp-to-fsdp": {"parallel": "fsdp", "resume": "fsdp", "save_in_background": False, "precision": "bf16"},
    "fsdp-to-s3": {"parallel": "fsdp", "resume": "fsdp", "output": "s3://lake/sharded", "save_every": 1},
    "s3-to-ddp": {"resume": "s3://lake/sharded/checkpoints/step-00000005"},
}


def config_of(name: str, lake: str, folder: Path, run: dict[str, object]) -> TrainConfig:
    keys = {"lake": lake, "output": str(folder / name)} | KEYS | run
    if run.get("resume") in RUNS:
        keys["resume"] = str(folder / str(run["resume"]) / "checkpoints" / "step-00000003")
    return TrainConfig(**keys)


def train_all(rank: int, size: int, lake: str, folder: Path, tokenizer) -> tuple[float, int]:
    """Train every run, one after another.

    Return the share of the parameters that this rank stores, and how often a batch gathers a layer of the text encoder.
    """
    world = World(rank, size, CPU)
    for name, run in RUNS.items():
        train(config_of(name, lake, folder, run), world)
    model = build_model(PRESETS["tiny"], tokenizer)
    total = sum(p.numel() for p in model.parameters())
    towers, calls = Shards(TwoTowers(model), world).module, []
    share = sum(local(p).numel() for p in model.parameters()) / total
    model.text_model.encoder.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    images = torch.zeros(64, 64, 64, 3, dtype=torch.uint8)
    towers({"image": images, "text": tokenizer(["a red circle", "a bar"] * 32)})
    return share, len(calls)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tokenizer, s3) -> Path:
    """The output folders of all runs, and of one that a single process resumed from a run of two."""
    folder = tmp_path_factory.mktemp("parallel")
    ShardLake(folder / "lake").publish([shard_row(n) for n in range(60)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLDCURATE_CACHE", str(folder / "cache"))
        shares, gathered = zip(*call_on_ranks(train_all, 2, str(folder / "lake"), folder, tokenizer), strict=True)
        assert shares == pytest.approx([0.5, 0.5], abs=0.01)
        assert gathered == (1, 1)
        train(config_of("fsdp-to-one", str(folder / "lake"), folder, {"resume": "fsdp"}), World(0, 1, CPU))
        return folder


def metrics_of(output: Path, name: str) -> dict[int, float]:
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line[name] for line in lines if name in line}


def weights_of(output: Path, part: str = "") -> dict[str, torch.Tensor]:
    return load_file(output / "checkpoints" / "step-00000006" / part / "model.safetensors")


def test_the_losses_of_a_sharded_run_are_those_of_a_replicated_one(runs):
    for metric in ("loss", "grad_norm", "logit_scale", "image_to_text_recall"):
        one, other = (metrics_of(runs / name, metric) for name in ("ddp", "fsdp"))
        assert one.keys() == other.keys() != set()
        assert list(other.values()) == pytest.approx(list(one.values()), abs=1e-5, rel=1e-5)


def test_another_optimizer_clips_and_updates_shares_as_it_does_the_whole(runs):
    one, other = (metrics_of(runs / f"{name}-adabelief", "loss") for name in ("ddp", "fsdp"))
    assert list(other.values()) == pytest.approx(list(one.values()), rel=1e-5)
    assert list(one.values()) != list(metrics_of(runs / "ddp", "loss").values())[:3]


@pytest.mark.parametrize("name", ["ddp-to-fsdp", "fsdp-to-ddp", "fsdp-to-one"])
def test_a_run_resumes_in_another_form_and_with_another_number_of_ranks(runs, name):
    expected, losses = metrics_of(runs / "ddp", "loss"), metrics_of(runs / name, "loss")
    assert losses.keys() == {4, 5, 6}
    assert losses == pytest.approx({step: expected[step] for step in losses}, abs=2e-5)
    for part in ("", "ema"):
        ours, theirs = weights_of(runs / name, part), weights_of(runs / "ddp", part)
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[key], theirs[key], atol=2e-4) for key in ours)


def test_two_ranks_resume_from_s3(runs):
    assert metrics_of(runs / "s3-to-ddp", "loss") == pytest.approx({6: metrics_of(runs / "ddp", "loss")[6]}, abs=2e-5)


def test_a_sharded_run_in_bf16_stays_near_the_one_in_fp32(runs):
    expected, losses = metrics_of(runs / "ddp", "loss"), metrics_of(runs / "fsdp-to-fsdp", "loss")
    assert losses == pytest.approx({step: expected[step] for step in losses}, abs=0.05)


def test_a_checkpoint_of_a_sharded_run_is_a_whole_model(runs):
    folder = runs / "fsdp" / "checkpoints" / "step-00000006"
    for part in (folder, folder / "ema"):
        loaded = AutoModel.from_pretrained(part).state_dict()
        saved = load_file(part / "model.safetensors")
        assert loaded.keys() == saved.keys()
        assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    assert not torch.equal(saved["visual_projection.weight"], weights_of(runs / "fsdp")["visual_projection.weight"])


def test_compiling_whole_encoders_is_refused_with_shards():
    with pytest.raises(ValueError, match="works with parallel: ddp"):
        TrainConfig(steps=1, parallel="fsdp", compile=True)
