"""Checkpoints: a folder that Hugging Face's `from_pretrained` loads, with what training needs to go on beside it.

    OUTPUT/checkpoints/step-00000100/   config.json model.safetensors tokenizer.json tokenizer_config.json
                                        preprocessor_config.json   training.json optimizer.pt
    OUTPUT/checkpoints/latest           name of the newest finished one

A checkpoint is written aside, synced and renamed, and `latest` follows last: a save that is killed leaves the earlier
checkpoint as it was, and what it left behind goes with the next save.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch.optim import Optimizer
from transformers import MetaClip2Model
from transformers.utils import logging as transformers_logging

from curation.errors import InputError, UsageError
from curation.io.storage import first_line
from training.data.sample_order import Progress
from training.data.tokenizer import Tokenizer
from training.data.transforms import processor_config
from training.models.metaclip2 import context_length, image_size

LATEST = "latest"
ASIDE = ".unfinished-"

# its bars over one file would break up the log lines
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


class TrainingState(BaseModel):
    """What a run is, and how far it has come: the content of `training.json`.

    Attributes:
        step: optimizer steps done; the learning rate follows from it.
        progress: where the next batch begins.
        version: version of the shards table.
        run_ids: the runs that wrote those shards.
        samples: how many pairs there were to train on.
        config: the whole configuration of the run that saved this.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    progress: Progress
    version: int
    run_ids: tuple[str, ...]
    samples: int
    config: dict[str, Any]

    @classmethod
    def read(cls, checkpoint: Path) -> Self:
        """Read a checkpoint's state. Raises InputError when it is missing or broken."""
        try:
            return cls.model_validate_json((checkpoint / "training.json").read_bytes())
        except OSError as error:
            raise InputError(f"cannot resume from {checkpoint}: training.json: {error.strerror}") from error
        except ValidationError as error:
            raise InputError(f"{checkpoint / 'training.json'} is broken: {error.errors()[0]['msg']}") from error


def save(
    output: Path, model: MetaClip2Model, tokenizer: Tokenizer, optimizer: Optimizer, state: TrainingState, *, keep: int
) -> Path:
    """Write a checkpoint, point `latest` at it, remove all but the `keep` newest, and return its folder."""
    folder = output / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{ASIDE}*"):
        shutil.rmtree(leftover)
    final = _free(folder / f"step-{state.step:08d}")
    aside = folder / f"{ASIDE}{final.name}"
    model.save_pretrained(aside)
    tokenizer.save(aside)
    processor = json.dumps(processor_config(image_size(model)), indent=1)
    (aside / "preprocessor_config.json").write_text(processor, encoding="utf-8")
    (aside / "training.json").write_text(state.model_dump_json(indent=1), encoding="utf-8")
    torch.save({"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}, aside / "optimizer.pt")
    for file in aside.iterdir():
        _sync(file)
    aside.rename(final)
    _sync(folder)
    _point(folder / LATEST, final.name)
    # by time, not by step: after resuming from an earlier step, the abandoned later ones are the older ones
    for old in sorted(folder.glob("step-*"), key=lambda path: path.stat().st_mtime_ns)[:-keep]:
        shutil.rmtree(old)
    return final


def _free(folder: Path) -> Path:
    """Return the name, or the name with a number where a resumed or killed run has saved the same step before."""
    names = (folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000)))
    return next(name for name in names if not name.exists())


def _point(pointer: Path, name: str) -> None:
    aside = pointer.with_name(f".{LATEST}")
    aside.write_text(name, encoding="utf-8")
    _sync(aside)
    aside.replace(pointer)
    _sync(pointer.parent)


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def find(path: Path) -> Path | None:
    """Return the checkpoint a path means: itself, or the newest of a run's output folder; None when it has none."""
    if (path / "config.json").exists():
        return path
    pointer = path / "checkpoints" / LATEST
    return path / "checkpoints" / pointer.read_text(encoding="utf-8") if pointer.exists() else None


def load_model(checkpoint: Path) -> tuple[MetaClip2Model, Tokenizer]:
    """Load model and tokenizer of a checkpoint. Raises InputError when they cannot be read."""
    try:
        model = MetaClip2Model.from_pretrained(checkpoint, local_files_only=True)
        tokenizer = Tokenizer.read(checkpoint / "tokenizer.json", context_length(model))
    except (OSError, ValueError, SafetensorError, UsageError) as error:
        raise InputError(f"{checkpoint} is not a readable checkpoint: {first_line(error)}") from error
    return model, tokenizer


def restore(checkpoint: Path, optimizer: Optimizer) -> None:
    """Load the optimizer's state and the random generator's.

    Nothing in training draws from the generator; it is restored so that a model with dropout would resume exactly too.
    """
    saved = torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["rng"])
