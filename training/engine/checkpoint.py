"""Checkpoints: folders that Hugging Face's `from_pretrained` loads, with the state that resuming needs.

    OUTPUT/checkpoints/step-00000100/   config.json model.safetensors tokenizer.json tokenizer_config.json
                                        preprocessor_config.json   training.json optimizer.pt
    OUTPUT/checkpoints/latest           name of the newest complete checkpoint

A checkpoint is written to a temporary folder, synced and renamed; `latest` is updated last. A killed save therefore
leaves the previous checkpoint unchanged, and the next save removes its leftovers.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from torch.optim import Optimizer
from transformers import MetaClip2Model
from transformers.utils import logging as transformers_logging

from curation.errors import InputError, UsageError
from curation.io.failures import first_line
from curation.io.local_files import sync_path
from training.data.sample_order import DataState
from training.data.tokenizer import Tokenizer
from training.data.transforms import processor_config
from training.models.metaclip2 import context_length, image_size

LATEST = "latest"
TEMP_PREFIX = ".unfinished-"

# progress bars for a single file would interrupt the log lines
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


class TrainingState(BaseModel):
    """The identity and the state of a run: the content of `training.json`.

    Attributes:
        step: optimizer steps done; it determines the learning rate.
        progress: data state, the start of the next batch.
        version: version of the shards table.
        run_ids: ids of the runs that wrote those shards.
        samples: number of samples to train on.
        config: the configuration of the run that saved the checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    progress: DataState
    version: int
    run_ids: tuple[str, ...]
    samples: int
    config: dict[str, Any]

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


def save(
    output: Path, model: MetaClip2Model, tokenizer: Tokenizer, optimizer: Optimizer, state: TrainingState, *, keep: int
) -> Path:
    """Write a checkpoint, set `latest` to it, remove all but the `keep` newest checkpoints, and return its folder."""
    folder = output / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{TEMP_PREFIX}*"):
        shutil.rmtree(leftover)
    final = _unused_path(folder / f"step-{state.step:08d}")
    temporary = folder / f"{TEMP_PREFIX}{final.name}"
    model.save_pretrained(temporary)
    tokenizer.save(temporary)
    processor = json.dumps(processor_config(image_size(model)), indent=1)
    (temporary / "preprocessor_config.json").write_text(processor, encoding="utf-8")
    (temporary / "training.json").write_text(state.model_dump_json(indent=1), encoding="utf-8")
    torch.save({"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}, temporary / "optimizer.pt")
    for file in temporary.iterdir():
        sync_path(file)
    temporary.rename(final)
    sync_path(folder)
    _write_latest(folder / LATEST, final.name)
    # by time, not by step: after resuming from an earlier step, abandoned later steps are older
    for old in sorted(folder.glob("step-*"), key=lambda path: path.stat().st_mtime_ns)[:-keep]:
        shutil.rmtree(old)
    return final


def _unused_path(folder: Path) -> Path:
    """Return the path, with a number appended if a resumed or killed run has already saved this step."""
    names = (folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000)))
    return next(name for name in names if not name.exists())


def _write_latest(pointer: Path, name: str) -> None:
    temporary = pointer.with_name(f".{LATEST}")
    temporary.write_text(name, encoding="utf-8")
    sync_path(temporary)
    temporary.replace(pointer)
    sync_path(pointer.parent)


def find(path: Path) -> Path | None:
    """Return the path if it is a checkpoint, else the newest checkpoint of this output folder; None without one."""
    if (path / "config.json").exists():
        return path
    pointer = path / "checkpoints" / LATEST
    return path / "checkpoints" / pointer.read_text(encoding="utf-8") if pointer.exists() else None


def load_model(checkpoint: Path) -> tuple[MetaClip2Model, Tokenizer]:
    """Load model and tokenizer of a checkpoint. Raises InputError if they cannot be read."""
    try:
        model = MetaClip2Model.from_pretrained(checkpoint, local_files_only=True)
        tokenizer = Tokenizer.read(checkpoint / "tokenizer.json", context_length(model))
    except (OSError, ValueError, SafetensorError, UsageError) as error:
        raise InputError(f"{checkpoint} is not a readable checkpoint: {first_line(error)}") from error
    return model, tokenizer


def restore(checkpoint: Path, optimizer: Optimizer) -> None:
    """Restore the state of the optimizer and of torch's random generator.

    Training itself draws no random numbers; restoring the generator makes models with dropout resume exactly, too.
    """
    saved = torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["rng"])
