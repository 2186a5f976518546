"""Checkpoints: folders that Hugging Face's `from_pretrained` loads, with the state that resuming needs.

    OUTPUT/checkpoints/step-00000100/   config.json model.safetensors tokenizer.json tokenizer_config.json
                                        preprocessor_config.json   training.json optimizer.pt manifest.json
                                        ema/: a second model, the moving average of the weights, if there is one
    OUTPUT/checkpoints/latest           name of the newest complete checkpoint

`training.engine.checkpoint_writer` writes them.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch.optim import Optimizer
from transformers import MetaClip2Model

from curation.errors import InputError, UsageError
from curation.io.failures import first_line
from training.data.sample_order import DataState
from training.data.tokenizer import Tokenizer
from training.models.metaclip2 import context_length, read_model
from training.output.checkpoints import CHECKPOINTS, LATEST
from training.output.manifest import DamagedCheckpointError
from training.parallel.tensors import share_out

TEMP_PREFIX = ".unfinished-"
OPTIMIZER_FILE = "optimizer.pt"
AVERAGE_FOLDER = "ema"


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


def restore(checkpoint: Path, optimizer: Optimizer) -> None:
    """Restore the state of the optimizer.

    The hyper-parameters of the optimizer stay those it was made with, so the configuration determines them. There is no
    random generator to restore, because every step seeds it.

    Raises DamagedCheckpointError if the file cannot be read or belongs to another model.
    """
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    try:
        saved = torch.load(checkpoint / OPTIMIZER_FILE, map_location="cpu", weights_only=True)["optimizer"]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moments = {
            number: {key: share_out(value, parameters[number]) for key, value in values.items()}
            for number, values in saved["state"].items()
        }
        optimizer.load_state_dict(saved | {"state": moments})
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, pickle.UnpicklingError) as error:
        raise DamagedCheckpointError(
            f"resume: {checkpoint / OPTIMIZER_FILE} cannot be read ({first_line(error)}): set resume to another "
            f"checkpoint in {checkpoint.parent}"
        ) from error
    for group, values in zip(optimizer.param_groups, settings, strict=True):
        group.update(values)
