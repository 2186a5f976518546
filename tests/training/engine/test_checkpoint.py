from __future__ import annotations

import errno
import json
import os
import re
import resource

import pytest
import torch
from torch.optim import AdamW
from transformers import AutoModel, AutoTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from curation.errors import InputError, OutputError, StorageFullError
from support.models import build_model
from training.data.sample_order import DataState
from training.distributed import World
from training.engine import checkpoint
from training.engine.checkpoint import TrainingState
from training.engine.checkpoint_writer import save as save_checkpoint
from training.engine.snapshot import take_snapshot
from training.models.metaclip2 import PRESETS, Tower
from training.models.towers import TwoTowers
from training.output.manifest import DamagedCheckpointError, check_manifest
from training.output.tensor_file import write_tensors
from training.parallel.blocks import BlockPlan

ALONE = World(0, 1, torch.device("cpu"))
OPTIMIZER = "optimizer/rank-00000.safetensors"
SMALL = PRESETS["tiny"]._replace(
    image_size=16, context_length=16, embedding=8, vision=Tower(8, 1, 2), text=Tower(8, 1, 2)
)


@pytest.fixture
def saved(tokenizer, tmp_path):
    model = build_model(SMALL, tokenizer)
    optimizer = AdamW(model.parameters(), fused=True)

    def save(step: int, keep: int = 3):
        state = TrainingState(
            step=step, progress=DataState(1, 2 * step), version=4, run_ids=("r",), samples=9, config={"lr": 0.1}
        )
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.01 * step)
        optimizer.step()
        snapshot = take_snapshot(BlockPlan(ALONE), TwoTowers(model), tokenizer, optimizer, state)
        save_checkpoint(ALONE, tmp_path, snapshot, keep=keep)
        return checkpoint.find(tmp_path)

    save.model, save.optimizer, save.output = model, optimizer, tmp_path
    return save


def same_weights(one, other) -> bool:
    return all(torch.equal(one.state_dict()[name], other.state_dict()[name]) for name in one.state_dict())


def test_a_checkpoint_restores_everything(saved, tokenizer):
    folder = saved(7)
    assert checkpoint.find(saved.output) == checkpoint.find(folder) == folder
    model, words = checkpoint.load_model(folder)
    assert same_weights(model, saved.model)
    assert torch.equal(words(["a red circle"]), tokenizer(["a red circle"]))
    state = TrainingState.read(folder)
    assert (state.step, state.progress, state.version, state.run_ids) == (7, DataState(1, 14), 4, ("r",))
    assert state.config == {"lr": 0.1}
    optimizer = AdamW(model.parameters(), fused=True)
    checkpoint.restore(folder, dict(model.named_parameters()), optimizer)
    expected, restored = saved.optimizer.state_dict(), optimizer.state_dict()
    assert restored["param_groups"] == expected["param_groups"]
    for number, moments in expected["state"].items():
        assert all(torch.equal(restored["state"][number][key], value) for key, value in moments.items())


def test_hugging_face_loads_a_checkpoint(saved, tokenizer):
    folder = saved(1)
    assert same_weights(AutoModel.from_pretrained(folder), saved.model)
    encoded = AutoTokenizer.from_pretrained(folder)("a red circle")["input_ids"]
    assert encoded == [number for number in tokenizer(["a red circle"])[0].tolist() if number != tokenizer.pad_id]
    assert CLIPImageProcessorPil.from_pretrained(folder).crop_size == {"height": 16, "width": 16}


def test_the_newest_checkpoints_are_kept(saved):
    for step in (1, 2, 3, 4):
        saved(step, keep=2)
    assert sorted(p.name for p in (saved.output / "checkpoints").glob("step-*")) == ["step-00000003", "step-00000004"]
    saved(3, keep=2)  # resumed from an earlier step: abandoned checkpoints are removed first, and none is overwritten
    saved(3, keep=2)
    assert sorted(p.name for p in (saved.output / "checkpoints").glob("step-*")) == [
        "step-00000003-2",
        "step-00000003-3",
    ]
    assert checkpoint.find(saved.output).name == "step-00000003-3"


def test_an_old_checkpoint_that_cannot_be_removed_is_only_named(saved, monkeypatch, caplog):
    saved(1)

    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("training.engine.checkpoint_writer.shutil.rmtree", fail)
    saved(2, keep=1)
    assert checkpoint.find(saved.output).name == "step-00000002"
    assert re.search(r"output: cannot remove the old checkpoint .*step-00000001 \(.*denied\)", caplog.text)


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "at",
    [
        "tokenizer.save",
        "Path.write_text",
        "write_tensors",
        "write_manifest",
        "sync_path",
        "Path.rename",
        "write_latest",
        "Path.replace",
    ],
)
@pytest.mark.parametrize("step", [5, 6])
def test_a_killed_save_leaves_the_earlier_checkpoint_usable(saved, monkeypatch, at, step):
    first = saved(5)
    before, weights = TrainingState.read(first), checkpoint.load_model(first)[0]

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        target = {
            "tokenizer.save": "training.data.tokenizer.Tokenizer.save",
            "Path.replace": "training.output.checkpoints.Path.replace",
        }
        patch.setattr(target.get(at, f"training.engine.checkpoint_writer.{at}"), killed)
        with pytest.raises(Killed):
            saved(step)
    assert checkpoint.find(saved.output) == first
    assert TrainingState.read(first) == before
    assert same_weights(checkpoint.load_model(first)[0], weights)
    again = saved(6)
    assert checkpoint.find(saved.output) == again
    assert TrainingState.read(again).step == 6
    assert not list((saved.output / "checkpoints").glob(".unfinished-*"))


def test_a_broken_checkpoint_is_named_in_the_error(saved, tmp_path):
    assert checkpoint.find(tmp_path / "nowhere") is None
    folder = saved(1)
    (folder / "training.json").write_text(json.dumps({"step": 1}))
    with pytest.raises(InputError, match=r"training\.json is broken: Field required"):
        TrainingState.read(folder)
    (folder / "training.json").unlink()
    with pytest.raises(InputError, match=r"cannot resume from .*step-00000001: training\.json: No such file"):
        TrainingState.read(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="is not a readable checkpoint: tokenizer: cannot read"):
        checkpoint.load_model(folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="is not a readable checkpoint"):
        checkpoint.load_model(folder)


def test_weights_that_are_not_finite_are_not_saved(saved):
    first = saved(1)
    saved.model.visual_projection.weight.data[0, 0] = torch.nan
    with pytest.raises(OutputError, match=r"output: visual_projection\.weight of model\.safetensors is not finite"):
        saved(2)
    assert checkpoint.find(saved.output) == first
    assert list((saved.output / "checkpoints").glob("*step-*")) == [first]


@pytest.mark.parametrize("file", ["model.safetensors", OPTIMIZER])
def test_a_file_that_reads_back_differently_is_never_the_latest(saved, monkeypatch, file):
    first = saved(1)

    def write_and_damage(path, *arguments):
        digest = write_tensors(path, *arguments)
        if path.as_posix().endswith(f"{first.name[:-1]}2/{file}"):
            with path.open("r+b") as damaged:
                damaged.seek(-200, os.SEEK_END)
                damaged.write(bytes(range(100)))
        return digest

    monkeypatch.setattr("training.engine.checkpoint_writer.write_tensors", write_and_damage)
    with pytest.raises(OutputError, match=rf"output: .*/{file} differs from what was written: check the disk"):
        saved(2)
    assert checkpoint.find(saved.output) == first
    check_manifest(first)


@pytest.mark.parametrize("file", ["model.safetensors", OPTIMIZER, "training.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_a_damaged_file_of_a_checkpoint_is_named(saved, file, damage):
    folder = saved(1)
    path = folder / file
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[:-9] if damage == "truncated" else data[:-9] + bytes(9))
    with pytest.raises(DamagedCheckpointError, match=f"resume: .* is damaged: {re.escape(file)} .*: set resume to"):
        check_manifest(folder)
    if file == OPTIMIZER and damage != "changed":
        with pytest.raises(DamagedCheckpointError, match=r"resume: .*/optimizer cannot be read \(.*\): set resume to"):
            checkpoint.restore(folder, dict(saved.model.named_parameters()), saved.optimizer)


def test_a_folder_without_a_manifest_is_no_complete_checkpoint(saved):
    folder = saved(1)
    (folder / "manifest.json").unlink()
    with pytest.raises(DamagedCheckpointError, match="was never completed"):
        check_manifest(folder)


def test_a_full_disk_is_one_line_and_keeps_the_earlier_checkpoints(saved):
    first = saved(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (first / "model.safetensors").stat().st_size
    for limit in (2000, size // 2, size + 100):  # a small file, the weights, and the optimizer do not fit
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(
                StorageFullError, match=r"output: cannot save .*step-00000002 \(.*\): check the space"
            ) as caught:
                saved(2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(caught.value)
        assert checkpoint.find(saved.output) == first
        assert list((saved.output / "checkpoints").glob("*step-*")) == [first]
        check_manifest(first)


def test_the_configuration_wins_over_the_hyper_parameters_of_the_saved_optimizer(saved):
    folder = saved(1)
    parameters = saved.model.parameters()
    changed = AdamW(parameters, lr=0.5, betas=(0.1, 0.2), eps=1e-3, weight_decay=0.7, fused=True)
    checkpoint.restore(folder, dict(saved.model.named_parameters()), changed)
    (group,) = changed.param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.5, (0.1, 0.2), 1e-3, 0.7)
    assert len(changed.state_dict()["state"]) == len(group["params"])
