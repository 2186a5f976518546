from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from curation.balance.sampling import held_out_mask
from curation.cli.run import run_command
from curation.errors import InputError, OutputError, UsageError
from curation.lake.tombstones import add_tombstones
from support import shards
from support.shards import ShardLake, draw, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.engine import checkpoint, trainer
from training.engine.checkpoint import TrainingState
from training.engine.optimizer import build_optimizer
from training.evaluation.embed import StoredImage, embed_images, embed_texts
from training.evaluation.encoder import trained_encoder
from training.evaluation.held_out import read_pairs
from training.losses.contrastive import contrastive_loss
from training.models.towers import TwoTowers
from training.optimizers.schedules import scheduled_rate
from training.train import main, train

ALONE = World(0, 1, torch.device("cpu"))
ROWS, STEPS = 50, 6
SMALL = shards.SMALL | {"steps": STEPS, "save_every": 3}


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("training") / "lake"
    ShardLake(root).publish([shard_row(n) for n in range(ROWS)])
    return root


@pytest.fixture
def config(lake, tmp_path):
    def make(**keys) -> TrainConfig:
        return TrainConfig(**({"lake": str(lake), "output": str(tmp_path / "out")} | SMALL | keys))

    return make


@pytest.fixture(scope="module")
def whole_run(lake, tmp_path_factory):
    """An uninterrupted run of one process: its output folder and summary."""
    output = tmp_path_factory.mktemp("whole")
    return output, train(TrainConfig(lake=str(lake), output=str(output), **SMALL), ALONE)


def scalars(output: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(output / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def embeddings(folder: Path) -> torch.Tensor:
    model, tokenizer = checkpoint.load_model(folder)
    towers, pairs = TwoTowers(model).eval(), [draw(n) for n in range(24)]
    encoder = trained_encoder(towers, tokenizer)
    images = embed_images(encoder, [StoredImage(text, image) for image, text in pairs])
    return torch.cat([images, embed_texts(encoder, [text for _, text in pairs])])


def test_a_run_reports_what_it_did(whole_run):
    output, summary = whole_run
    assert (summary["steps"], summary["seen_pairs"], summary["processes"]) == (6, 96, 1)
    assert (summary["epoch"], summary["position"]) == (1, 48), "50 pairs are 3 batches of 16 per epoch"
    assert summary["checkpoint"] == str(output / "checkpoints" / "step-00000006")
    assert sorted(p.name for p in (output / "checkpoints").glob("step-*")) == ["step-00000003", "step-00000006"]
    losses = scalars(output, "loss")
    assert [step for step, _ in losses] == list(range(1, 7))
    assert losses[-1][1] == pytest.approx(summary["loss"])
    assert losses[0][1] == pytest.approx(math.log(16), abs=1.0)
    expected = [scheduled_rate(step, peak=4e-4, warmup=0, total=6) for step in range(6)]
    assert [value for _, value in scalars(output, "lr")] == pytest.approx(expected)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(whole_run, config, tmp_path):
    output, summary = whole_run
    resumed = train(config(resume=str(output / "checkpoints" / "step-00000003")), ALONE)
    assert resumed["loss"] == summary["loss"]
    ours, theirs = (load_file(Path(run["checkpoint"]) / "model.safetensors") for run in (resumed, summary))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert scalars(tmp_path / "out", "loss") == scalars(output, "loss")[3:]


def test_two_processes_train_as_one_does_and_one_process_can_resume_their_run(whole_run, config, two_processes):
    output, summary = whole_run
    both = two_processes["published"]
    assert [both.summary[key] for key in ("processes", "steps", "seen_pairs")] == [2, 6, 96]
    alone = dict(scalars(output, "loss"))
    losses = scalars(both.output, "loss")
    assert [step for step, _ in losses] == list(alone)
    for step, loss in losses:
        assert loss == pytest.approx(alone[step], abs=2e-4)
    reference = embeddings(Path(summary["checkpoint"]))
    assert torch.allclose(embeddings(Path(both.summary["checkpoint"])), reference, atol=2e-3)
    middle = str(both.output / "checkpoints" / "step-00000003")
    resumed = train(config(resume=middle, lake=str(both.lake)), ALONE)
    assert torch.allclose(embeddings(Path(resumed["checkpoint"])), reference, atol=2e-3)


def test_resume_true_continues_from_the_newest_checkpoint_or_starts_a_new_run(config, caplog):
    first = train(config(resume=True, steps=2), ALONE)
    assert first["steps"] == 2
    more = train(config(resume=True, steps=4), ALONE)
    assert (more["steps"], more["seen_pairs"]) == (4, 64)
    with caplog.at_level("INFO"):
        again = train(config(resume=True, steps=4), ALONE)
    assert "nothing to do: 4 steps are done" in caplog.text
    assert f"resuming from {more['checkpoint']}: 4 steps are done" in caplog.text
    assert again["checkpoint"] == more["checkpoint"]
    with pytest.raises(UsageError, match=r"output: .* already contains a run: set resume: true"):
        train(config(), ALONE)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"version": 0}, "version: .* was trained on version 1 of the table and cannot continue with version 0"),
        ({"seed": 4}, r"trained with other settings \(seed 3 -> 4\)"),
        (
            {"validation_share": 0.5, "preset": "vit_b_32"},
            r"\(preset 'tiny' -> 'vit_b_32', validation_share 0.0 -> 0.5\)",
        ),
    ],
)
def test_a_run_is_not_resumed_on_other_samples_or_another_model(whole_run, config, keys, line):
    with pytest.raises(UsageError, match=line):
        train(config(resume=str(whole_run[0]), **keys), ALONE)


def test_the_configuration_wins_over_the_saved_optimizer(whole_run, config, caplog, monkeypatch):
    keys = {"lr": 1e-5, "weight_decay": 0.3, "betas": (0.8, 0.9), "steps": 4, "warmup_steps": 0}
    made = []

    def build_and_note(*arguments):
        made.append(build_optimizer(*arguments))
        return made[0]

    monkeypatch.setattr("training.engine.phases.build_optimizer", build_and_note)
    train(config(resume=str(whole_run[0] / "checkpoints" / "step-00000003"), **keys), ALONE)
    assert "lr 0.0004 -> 1e-05" in caplog.text
    groups = made[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert all(tuple(group["betas"]) == (0.8, 0.9) for group in groups)
    assert groups[0]["lr"] == pytest.approx(scheduled_rate(3, peak=1e-5, warmup=0, total=4))


def test_a_resumed_run_stays_on_its_version_of_the_table(shard_lake, config):
    keys = {"lake": str(shard_lake.root), "resume": True}
    shard_lake.publish([shard_row(n) for n in range(ROWS)])
    first = train(config(**keys, steps=2), ALONE)
    shard_lake.publish([shard_row(n) for n in range(20)], run="r2")
    more = train(config(**keys, steps=4), ALONE)
    assert more["table_version"] == first["table_version"] == 1
    assert (more["epoch"], more["position"]) == (1, 16), "still 50 pairs per epoch"


def test_a_resumed_run_applies_new_tombstones_and_logs_the_change(shard_lake, config, caplog):
    keys = {"lake": str(shard_lake.root), "resume": True}
    shard_lake.publish([shard_row(n) for n in range(ROWS)])
    train(config(**keys, steps=2), ALONE)
    add_tombstones(shard_lake.lake, image_ids=[shard_row(n)["image_id"] for n in range(10)], reason="asked")
    more = train(config(**keys, steps=4), ALONE)
    assert "40 pairs to train on, 50 when the checkpoint was saved: tombstones have changed" in caplog.text
    assert (more["epoch"], more["position"]) == (1, 32), "40 pairs are 2 batches of 16 per epoch"


def test_another_lake_of_the_same_version_is_refused(whole_run, shard_lake, config):
    shard_lake.publish([shard_row(n) for n in range(ROWS)], run="r9")
    with pytest.raises(UsageError, match="was written by r9, but the checkpoint was trained on r1: use that lake"):
        train(config(lake=str(shard_lake.root), resume=str(whole_run[0])), ALONE)


def test_settings_that_do_not_fit_are_refused(config):
    with pytest.raises(UsageError, match="batch_size: 64 is more than the 50 pairs to train on"):
        train(config(batch_size=64), ALONE)
    with pytest.raises(UsageError, match="batch_size: 16 is not a multiple of the 3 processes"):
        train(config(), World(0, 3, torch.device("cpu")))
    with pytest.raises(SystemExit) as other_rank:
        train(config(), World(1, 3, torch.device("cpu")))
    assert other_rank.value.code == 2, "only rank 0 reports it"
    with pytest.raises(InputError, match="resume: nowhere contains no checkpoint"):
        train(config(resume="nowhere"), ALONE)
    with pytest.raises(UsageError, match=r"tokenizer: cannot read absent\.json"):
        train(config(tokenizer="absent.json"), ALONE)


def test_a_version_without_shards_of_the_recipe_is_named_with_those_that_exist(config):
    for version, line in ((0, r"version 0 of .*/shards has no shards of recipe 'default'"), (99, "has no version 99")):
        with pytest.raises(UsageError, match=line):
            train(config(version=version), ALONE)
    with pytest.raises(UsageError, match=r"version: .*/shards has no version 7: choose one of its versions 0 to 1"):
        train(config(version=7), ALONE)
    assert train(config(version=1, steps=1), ALONE)["table_version"] == 1


def test_a_step_that_is_not_finite_ends_the_run_before_its_update(config, tmp_path):
    with pytest.raises(OutputError, match=r"loss: loss nan .* in step 2: lower lr.*last checkpoint is .*step-00000001"):
        train(config(lr=1e30, warmup_steps=0, log_every=100, save_every=1), ALONE)
    folder = checkpoint.find(tmp_path / "out")
    assert TrainingState.read(folder).step == 1
    assert all(value.isfinite().all() for value in load_file(folder / "model.safetensors").values())


def test_a_gradient_that_is_not_finite_ends_the_run_although_its_loss_is(config, monkeypatch, tmp_path):
    calls = []

    def loss_with_a_gradient_of_infinity(images, *arguments, **keys):
        calls.append(1)
        loss = contrastive_loss(images, *arguments, **keys)
        return loss + (images * 0).sum().abs().sqrt() if len(calls) == 3 else loss  # the square root of 0 has no slope

    monkeypatch.setattr("training.engine.term_losses.contrastive_loss", loss_with_a_gradient_of_infinity)
    with pytest.raises(OutputError, match=r"loss: loss \d.* and gradient norm (nan|inf) in step 3"):
        train(config(log_every=100, save_every=1), ALONE)
    assert TrainingState.read(checkpoint.find(tmp_path / "out")).step == 2


def test_clipping_bounds_the_update(config, tmp_path):
    train(config(steps=1, max_grad_norm=1e-12), ALONE)  # far below AdamW's eps, so the update almost vanishes
    assert scalars(tmp_path / "out", "grad_norm")[0][1] > 1e-3, "the norm is that before clipping"
    saved = load_file(checkpoint.find(tmp_path / "out") / "optimizer" / "rank-00000.safetensors")
    norm = torch.stack([value.norm() for name, value in saved.items() if name.endswith(".exp_avg")]).norm()
    assert norm == pytest.approx(1e-12 * (1 - 0.9), rel=1e-3)


@pytest.mark.parametrize(("keys", "tolerance"), [({"precision": "bf16"}, 0.05), ({"grad_checkpointing": True}, 1e-4)])
def test_saving_memory_changes_the_loss_little(whole_run, config, tmp_path, keys, tolerance):
    train(config(**keys, steps=2), ALONE)  # the loss of the second step depends on the gradients of the first
    for (_, loss), (_, whole) in zip(scalars(tmp_path / "out", "loss"), scalars(whole_run[0], "loss")[:2], strict=True):
        assert loss == pytest.approx(whole, abs=tolerance)


def test_retrieval_is_measured_on_the_held_out_pairs_which_are_read_once(config, tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(trainer, "read_pairs", lambda *keys: (reads.append(keys), read_pairs(*keys))[1])
    summary = train(config(validation_share=0.3, batch_size=8, validation_pairs=7), ALONE)
    assert summary["held_out_pairs"] == 7
    assert 0 <= summary["image_to_text_recall"] <= 1
    assert [step for step, _ in scalars(tmp_path / "out", "text_to_image_recall")] == [3, 6]
    assert len(reads) == 1


def test_held_out_pictures_that_cannot_be_read_are_counted_and_left_out(shard_lake, config):
    held_out = np.flatnonzero(held_out_mask(pa.array([f"{n:024x}" for n in range(ROWS)]), 0.3)).tolist()
    bad = held_out[:2]
    shard_lake.publish([shard_row(n) | ({"image": b"no image"} if n in bad else {}) for n in range(ROWS)])
    keys = {"lake": str(shard_lake.root), "validation_share": 0.3, "batch_size": 8, "steps": 1}
    summary = train(config(**keys), ALONE)
    assert (summary["held_out_pairs"], summary["held_out_unreadable"]) == (len(held_out) - 2, 2)
    shard_lake.publish([shard_row(n) | ({"image": b""} if n in held_out else {}) for n in range(ROWS)], run="r2")
    summary = train(config(**keys, output=f"{shard_lake.root}-out"), ALONE)
    assert (summary["held_out_pairs"], summary["held_out_unreadable"]) == (0, len(held_out))
    assert "image_to_text_recall" not in summary


def test_a_tokenizer_file_is_used_and_saved(config, tokenizer, tmp_path):
    (tmp_path / "t.json").write_text(tokenizer.to_json())
    summary = train(config(tokenizer=str(tmp_path / "t.json"), steps=1), ALONE)
    model, saved = checkpoint.load_model(Path(summary["checkpoint"]))
    assert saved.vocab_size == model.config.text_config.vocab_size == tokenizer.vocab_size
    assert model.config.text_config.eos_token_id == tokenizer.eos_id


def test_the_command_prints_a_summary_and_ends_with_the_documented_code(train_yaml, lake, tmp_path, capsys):
    path = train_yaml(**(SMALL | {"steps": 1}), lake=str(lake), output=str(tmp_path / "out"))
    assert run_command(main, ["--config", str(path)]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["steps"] == 1
    assert "step 1 of 1" in output.err
    assert run_command(main, ["--config", str(path)]) == 2
    assert run_command(main, ["--config", str(path), "--output", str(tmp_path / "o2"), "--recipe", "none"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "error: recipe: 'none' was never used in" in output.err


def test_the_logit_scale_is_clamped(config):
    summary = train(config(lr=5.0, warmup_steps=0, steps=3), ALONE)
    assert 1.0 <= summary["logit_scale"] <= 100.001


def losses_of(output: Path) -> dict[int, float]:
    """Return the loss of every step in the complete lines of a run's metrics."""
    path = output / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    metrics = [json.loads(line) for line in lines if line.endswith("\n")]
    return {line["step"]: line["loss"] for line in metrics if "loss" in line}


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "parallel"), [(1, "ddp"), (2, "ddp"), (2, "fsdp")])
def test_a_killed_run_resumes_to_the_same_result(train_yaml, lake, tmp_path, processes, parallel):
    keys = SMALL | {"steps": 80, "save_every": 5, "resume": True, "lake": str(lake), "parallel": parallel}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]

    def start(output: str) -> subprocess.Popen[str]:
        path = train_yaml(f"{output}.yaml", **keys, output=str(tmp_path / output))
        command = [sys.executable, *launcher, "-m", "training.train", "--config", str(path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    for step in (random.Random(processes).randrange(6, 20), 31):  # any, and one whose checkpoint is being written
        killed = start("killed")
        while max(losses_of(tmp_path / "killed"), default=0) < step:
            assert killed.poll() is None
            time.sleep(0.02)
        ranks = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
        for process in (*map(int, ranks), killed.pid):
            os.kill(process, signal.SIGKILL)
        killed.communicate()
        newest = checkpoint.find(tmp_path / "killed")
        assert newest is None or TrainingState.read(newest).step < 80, "killed too late to prove anything"
    weights = {}
    for output in ("killed", "whole"):
        stdout, _ = start(output).communicate()
        summary = json.loads(stdout)
        assert summary["steps"] == 80
        weights[output] = load_file(Path(summary["checkpoint"]) / "model.safetensors")
    losses, expected = losses_of(tmp_path / "killed"), losses_of(tmp_path / "whole")
    assert losses.keys() == set(range(1, 81))
    assert losses == pytest.approx(expected, abs=1e-6)
    assert all(torch.equal(weights["killed"][name], weights["whole"][name]) for name in weights["whole"])


def test_the_streams_of_the_first_start_are_stored_and_used_by_every_resumed_run(config, caplog):
    keys = {"shuffle_streams": None, "resume": True}
    first = train(config(**keys, steps=2), ALONE)
    assert TrainingState.read(Path(first["checkpoint"])).config["shuffle_streams"] == 1
    second = train(config(**keys, steps=4, num_workers=2), ALONE)
    assert TrainingState.read(Path(second["checkpoint"])).config["shuffle_streams"] == 1
    with pytest.raises(UsageError, match="shuffle_streams 1 -> 2"):
        train(config(**keys | {"shuffle_streams": 2}, steps=4), ALONE)
