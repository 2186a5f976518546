"""Checkpoints: folders that Hugging Face's `from_pretrained` loads, with the state that resuming needs.

    OUTPUT/checkpoints/step-00000100/   config.json model.safetensors tokenizer.json tokenizer_config.json
                                        preprocessor_config.json   training.json manifest.json
                                        optimizer/: the state of the optimizer, one file per rank that saved it
                                        ema/: a second model, the moving average of the weights, if there is one
                                        targets/: the model of targets   heads.safetensors: heads of terms, if any
    OUTPUT/checkpoints/latest           name of the newest complete checkpoint

`training.engine.checkpoint_writer` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import MetaClip2Model

from curation.errors import InputError, UsageError
from curation.io.failures import first_line
from training.data.sample_order import DataState
from training.data.tokenizer import Tokenizer
from training.models.frames import FrameTokens
from training.models.metaclip2 import context_length, read_model
from training.output.checkpoints import CHECKPOINTS, LATEST
from training.output.manifest import DamagedCheckpointError
from training.parallel.tensors import read_into, shapes_of

TEMP_PREFIX = ".unfinished-"
OPTIMIZER_FOLDER = "optimizer"
AVERAGE_FOLDER, TARGETS_FOLDER = "ema", "targets"
WEIGHTS_FILE, HEADS_FILE = "model.safetensors", "heads.safetensors"


class TrainingState(BaseModel):
    """The identity and the state of a run: the content of `training.json`.

    Attributes:
        step: optimizer steps done; it determines the learning rate.
        progress: data state, the start of the next batch.
        version: version of the shards table.
        run_ids: ids of the runs that wrote those shards.
        samples: number of samples to train on.
        config: the configuration of the run that saved the checkpoint.
        seen_pairs_by_language: pairs trained on by the language of their text.
        code_version: version of the program that saved the checkpoint; empty in older ones.
        phase: number of the phase that the optimizer belongs to.
        makers: by kind of annotations that were read, what made them; empty in older ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    progress: DataState
    version: int
    run_ids: tuple[str, ...]
    samples: int
    config: dict[str, Any]
    seen_pairs_by_language: dict[str, int] = {}
    code_version: str = ""
    phase: int = 0
    makers: dict[str, dict[str, Any]] = {}

    @classmethod
    def read(cls, checkpoint: Path) -> Self:
        """Read the state of a checkpoint. Raises InputError if it is missing or broken."""
        try:
            return cls.model_validate_json((checkpoint / "training.json").read_bytes())
        except OSError as error:
            raise InputError(f"cannot resume from {checkpoint}: training.json: {error.strerror}") from error
        except ValidationError as error:
            raise InputError(f"{checkpoint / 'training.json'} is broken: {error.errors()[0]['msg']}") from error


class ResumePoint(NamedTuple):
    """A checkpoint to resume from: its folder and its state."""

    folder: Path
    state: TrainingState


def find(path: Path) -> Path | None:
    """Return the path if it is a checkpoint, else the newest checkpoint of this output folder; None without one."""
    if (path / "config.json").exists():
        return path
    pointer = path / CHECKPOINTS / LATEST
    return path / CHECKPOINTS / pointer.read_text(encoding="utf-8") if pointer.exists() else None


def load_model(checkpoint: Path) -> tuple[MetaClip2Model, Tokenizer]:
    """Load model and tokenizer of a checkpoint. Raises InputError if they cannot be read."""
    try:
        model = read_model(checkpoint)
        tokenizer = Tokenizer.load(checkpoint, context_length(model))
    except (OSError, ValueError, SafetensorError, UsageError) as error:
        raise InputError(f"{checkpoint} is not a readable checkpoint: {first_line(error)}") from error
    return model, tokenizer


def restore_heads(checkpoint: Path, heads: nn.Module) -> None:
    """Read the heads of terms, if there are any. Raises DamagedCheckpointError if they cannot be read."""
    if not heads.state_dict():
        return
    file = checkpoint / HEADS_FILE
    try:
        heads.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DamagedCheckpointError(
            f"resume: {file} cannot be read ({first_line(error)}): set resume to another checkpoint"
        ) from error


def read_frame_tokens(checkpoint: Path) -> FrameTokens | None:
    """Return what the image encoder of a checkpoint needs to read frames, if it has that; None for other models.

    Raises DamagedCheckpointError if it cannot be read.
    """
    file = checkpoint / HEADS_FILE
    if not file.exists():
        return None
    try:
        heads = load_file(file)
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(
            f"checkpoint: {file} cannot be read ({first_line(error)}): choose another checkpoint"
        ) from error
    prefix = "frames."
    weights = {name.removeprefix(prefix): value for name, value in heads.items() if name.startswith(prefix)}
    return FrameTokens.of(weights) if weights else None


def restore(checkpoint: Path, parameters: Mapping[str, nn.Parameter], optimizer: Optimizer) -> None:
    """Restore the state of the optimizer of named parameters; every rank reads the parts that it stores.

    The hyper-parameters of the optimizer stay those it was made with, so the configuration determines them. There is no
    random generator to restore, because every step seeds it.

    Raises DamagedCheckpointError if the state cannot be read or belongs to another model.
    """
    folder = checkpoint / OPTIMIZER_FOLDER
    try:
        moments: dict[str, Tensor] = {}
        for key, shape in shapes_of(folder).items():
            parameter = parameters[key.rpartition(".")[0]]
            is_whole = shape == parameter.shape  # else it is a number, the count of steps
            moments[key] = torch.zeros_like(parameter) if is_whole else torch.zeros((), dtype=torch.float32)
        read_into(folder, moments)
        optimizer.load_state_dict(_state_of(optimizer, parameters, moments))
    except (OSError, SafetensorError, LookupError, ValueError) as error:
        raise DamagedCheckpointError(
            f"resume: {folder} cannot be read ({first_line(error)}): set resume to another checkpoint in "
            f"{checkpoint.parent}"
        ) from error


def moments_of(parameters: Mapping[str, nn.Parameter], optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the tensors of an optimizer's state by the name of their parameter, a dot, and their own name."""
    states = {name: optimizer.state.get(parameter, {}) for name, parameter in parameters.items()}
    return {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}


def _state_of(
    optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], moments: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the present settings of an optimizer with these moments, as its `load_state_dict` takes them."""
    names = {parameter: name for name, parameter in parameters.items()}
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in moments.items():
        name, _, moment = key.rpartition(".")
        by_name.setdefault(name, {})[moment] = value
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {number: by_name[names[parameter]] for number, parameter in enumerate(trained)}
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
