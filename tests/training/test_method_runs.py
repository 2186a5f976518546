"""Every method trains from shards, resumes exactly, and saves a model that plain Hugging Face code loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel

from curation.errors import UsageError
from support.annotations import publish_annotations
from support.method_shards import MAKER, annotation, publish_for_methods
from support.ranks import call_on_ranks
from support.shards import SMALL, ShardLake
from training.config import TrainConfig
from training.data.loader import load_batches
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.distributed import World
from training.engine.start import make_model, make_tokenizer
from training.evaluate import _read_encoder
from training.losses.contrastive import contrastive_loss
from training.methods.catalog import methods
from training.models.towers import TwoTowers
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
KEYS = SMALL | {"context_length": 12, "save_every": 2, "keep_checkpoints": 9}
IN_SEQUENCE = {"cll"}  # tests/training/sequence
EXTRA = {
    "declip": {"heads.safetensors"},
    "tulip": {"heads.safetensors", "targets"},
    "clip_vip": {"heads.safetensors"},
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    return publish_for_methods(tmp_path_factory.mktemp("method-runs") / "lake").root


def run(lake: Path, output: Path, world: World = ALONE, **keys) -> dict[str, float]:
    """Train with some keys and return the losses by name and step."""
    train(TrainConfig(**(KEYS | {"steps": 4, "lake": str(lake), "output": str(output)} | keys)), world)
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return {f"{name} {line['step']}": line[name] for line in lines for name in line if name.startswith("loss")}


def tensors(output: Path, step: int) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint but those of the optimizer."""
    folder = output / "checkpoints" / f"step-{step:08}"
    files = sorted(set(folder.rglob("*.safetensors")) - set((folder / "optimizer").iterdir()))
    return {f"{file.relative_to(folder)} {key}": value for file in files for key, value in load_file(file).items()}


@pytest.mark.parametrize("method", [name for name in methods() if name not in IN_SEQUENCE])
def test_a_method_resumes_bit_for_bit_with_all_its_state_and_saves_a_hugging_face_model(lake, tmp_path, method):
    losses = run(lake, tmp_path / "whole", method=method)
    middle = tmp_path / "whole" / "checkpoints" / "step-00000002"
    assert {path.name for path in middle.iterdir()} >= EXTRA.get(method, set())
    rest = run(lake, tmp_path / "rest", method=method, resume=str(middle))
    assert rest == {name: loss for name, loss in losses.items() if name.endswith((" 3", " 4"))}
    assert len(rest) in (2, 2 * (1 + len(TrainConfig(steps=1, method=method).all_terms)))
    ours, theirs = (tensors(tmp_path / name, 4) for name in ("rest", "whole"))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    loaded = AutoModel.from_pretrained(tmp_path / "whole" / "checkpoints" / "step-00000004").state_dict()
    assert all(torch.equal(value, theirs[f"model.safetensors {name}"]) for name, value in loaded.items())


def test_a_default_run_has_the_bits_of_a_plain_loop(lake, tmp_path):
    losses = run(lake, tmp_path / "out")
    storage = ShardLake(lake).lake
    config = TrainConfig(**KEYS, steps=4, lake=str(lake))
    split = build_index(storage, "default")
    tokenizer = make_tokenizer(config, split)
    model = make_model(config, tokenizer).train()
    towers = TwoTowers(model)
    matrices, others = ([p for p in model.parameters() if (p.ndim > 1) == kind] for kind in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)
    loader = LoaderConfig(SampleOrder(3, 4, config.shuffle_window), 16, 16)
    dataset = ShardDataset(split.train, storage.storage, tokenizer, loader, start=DataState(), steps=4)
    for step, batch in enumerate(load_batches(dataset)):
        for group in optimizer.param_groups:
            group["lr"] = config.planned_phases[0].rate(step)
        optimizer.zero_grad()
        images, texts = towers.embed_images(batch.images), towers.embed_texts(batch.tokens)
        loss = contrastive_loss(images, texts, model.logit_scale.exp())
        loss.backward()
        optimizer.step()
        assert loss.item() == losses[f"loss {step + 1}"]
    saved = tensors(tmp_path / "out", 4)
    assert all(torch.equal(value, saved[f"model.safetensors {name}"]) for name, value in model.state_dict().items())


def test_a_run_is_not_resumed_on_annotations_of_another_maker(tmp_path):
    lake = publish_for_methods(tmp_path / "lake")
    run(lake.root, tmp_path / "out", method="laclip", steps=2)
    publish_annotations(lake, value=annotation, maker=MAKER | {"version": "2"}, run="20300101T000000-a-9")
    line = r"resume: the checkpoint was trained on rewrites of another maker \(version '1' -> '2'\): run jobs\.annotate"
    with pytest.raises(UsageError, match=line):
        run(lake.root, tmp_path / "out", method="laclip", resume=True)
    publish_annotations(lake, value=annotation, maker=MAKER, run="20300101T000000-b-9")
    assert run(lake.root, tmp_path / "out", method="laclip", resume=True)["loss 4"] > 0


PHASES = [
    {"train": ["*_projection.weight"], "optimizer": "adabelief", "scale": {"initial": 20, "learned": False}},
    {"freeze": ["vision_model.*"], "lr": 1e-2, "scale": {"initial": 30}},
]


def changed(output: Path, step: int) -> set[str]:
    """Return the names of the weights that a step changed."""
    before, after = (tensors(output, number) for number in (step - 1, step))
    return {name.split()[1] for name in after if not torch.equal(before[name], after[name])}


def test_each_phase_changes_its_parameters_only_and_resumes_at_any_step(lake, tmp_path):
    keys = {"steps": 5, "phases": [{**PHASES[0], "share": 3}, {**PHASES[1], "share": 2}], "save_every": 1, "lr": 1e-3}
    losses = run(lake, tmp_path / "whole", **keys)
    assert (
        changed(tmp_path / "whole", 2)
        == changed(tmp_path / "whole", 3)
        == {
            "visual_projection.weight",
            "text_projection.weight",
        }
    )
    second = changed(tmp_path / "whole", 5)
    assert {name.split(".")[0] for name in second} == {
        "text_model",
        "visual_projection",
        "text_projection",
        "logit_scale",
    }
    assert tensors(tmp_path / "whole", 3)["model.safetensors logit_scale"].exp().item() == pytest.approx(20)
    for step in (2, 3, 4):
        start = tmp_path / "whole" / "checkpoints" / f"step-{step:08}"
        rest = run(lake, tmp_path / f"from-{step}", **keys, resume=str(start))
        assert rest == {f"loss {number}": losses[f"loss {number}"] for number in range(step + 1, 6)}
        ours, theirs = tensors(tmp_path / f"from-{step}", 5), tensors(tmp_path / "whole", 5)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_mistake_in_a_later_phase_ends_the_run_before_it_starts(lake, tmp_path):
    for phase, line in (
        ({"train": ["visual"]}, r"phases\.1\.train: no parameter matches 'visual'"),
        ({"freeze": ["*"]}, r"phases\.1: no parameter is left to train: shorten phases\.1\.freeze"),
    ):
        with pytest.raises(UsageError, match=line):
            run(lake, tmp_path / "out", phases=[{}, phase])
    assert not (tmp_path / "out" / "checkpoints").exists()


TERMS = {
    "views": {
        "image": {"kind": "image"},
        "image_2": {"kind": "image", "area": [0.5, 1]},
        "text": {"kind": "text", "mask": 0.3},
        "row": {"kind": "key"},
    },
    "terms": [
        {"kind": "info_nce"},
        {"kind": "sigmoid", "between": ["image", "target.image_2"], "scale": "own", "same": "row", "weight": 0.3},
        {"kind": "neighbor", "images": ["image", "image_2"], "size": 40, "weight": 0.2},
        {"kind": "masked_words", "weight": 0.2},
        {"kind": "pull", "between": ["text", "target.text"], "by": "mse", "weight": 0.1},
    ],
    "targets": {"momentum": 0.9},
    "phases": [{}, {"freeze": ["vision_model.*", "heads.words.*"]}],
    "lr": 1e-3,
}


def run_on_rank(rank: int, size: int, lake: Path, output: Path, keys: dict) -> None:
    config = TrainConfig(**(KEYS | {"steps": 4, "lake": str(lake), "output": str(output)} | keys))
    train(config, World(rank, size, torch.device("cpu")))


@pytest.mark.parametrize("parts", [1, 2])
def test_terms_targets_and_phases_of_two_ranks_have_the_losses_of_one(lake, tmp_path, parts):
    losses = run(lake, tmp_path / "one", **TERMS)
    assert len(losses) == 4 * 6
    keys = TERMS | {"group": {"accumulate": parts}}
    call_on_ranks(run_on_rank, 2, lake, tmp_path / "two", keys)
    lines = map(json.loads, (tmp_path / "two" / "metrics.jsonl").read_text().splitlines())
    found = {f"{name} {line['step']}": line[name] for line in lines for name in line if name.startswith("loss")}
    assert found == pytest.approx(losses, rel=2e-4)
    one, two = (tensors(tmp_path / name, 4) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.allclose(one[name], two[name], atol=2e-3)] == []


@pytest.mark.parametrize("parts", [1, 2])
def test_videos_on_two_ranks_have_the_losses_of_one(lake, tmp_path, parts):
    losses = run(lake, tmp_path / "one", method="clip_vip")
    call_on_ranks(
        run_on_rank,
        2,
        lake,
        tmp_path / "two",
        {"method": "clip_vip", "group": {"accumulate": parts}, "deterministic": True},
    )
    lines = map(json.loads, (tmp_path / "two" / "metrics.jsonl").read_text().splitlines())
    assert [line["loss"] for line in lines if "loss" in line] == pytest.approx([*losses.values()], rel=2e-4)


def test_held_out_videos_are_measured_with_the_proxies_that_a_checkpoint_keeps(lake, tmp_path):
    run(lake, tmp_path / "out", method="clip_vip", steps=2, validation_share=0.7, batch_size=4, evaluate_every=2)
    lines = list(map(json.loads, (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()))
    [of_language] = [line for line in lines if line.get("task") == "video_retrieval"]
    assert (of_language["frames"], of_language["pooling"]) == (4, "proxies")
    [figures] = [line for line in lines if "text_to_video_recall" in line]
    assert figures["held_out_pairs"] == of_language["videos"] > 0
    encoder = _read_encoder(tmp_path / "out")
    assert encoder.video_pooling == "proxies"


def test_a_run_starts_from_the_proxies_and_times_of_another_one(lake, tmp_path):
    run(lake, tmp_path / "first", method="clip_vip", lr=0.01, steps=2)
    first = tmp_path / "first" / "checkpoints" / "step-00000002"
    keys = {"method": "clip_vip", "start": {"checkpoint": str(first)}, "steps": 1, "save_every": 1}
    run(lake, tmp_path / "second", **keys, lr=1e-12)
    before, after = tensors(tmp_path / "first", 2), tensors(tmp_path / "second", 1)
    for name in ("added_proxies", "times"):
        file = f"heads.safetensors frames.{name}"
        torch.testing.assert_close(after[file], before[file], rtol=0, atol=1e-9)
        assert before[file].abs().max() > 0
    problem = (
        r"video: .* has \{.*'added_proxies': 3.*\}, not \{.*'added_proxies': 1.*\}: set video\.proxies and video\."
    )
    with pytest.raises(UsageError, match=problem):
        run(lake, tmp_path / "third", **keys, video={"proxies": 2})
