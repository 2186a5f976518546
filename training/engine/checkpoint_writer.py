"""Write a checkpoint: to a temporary folder, read back and compared, synced, renamed; `latest` is updated last.

A save that is killed or fails leaves the earlier checkpoints and `latest` unchanged, and the next save removes what is
left of it. Weights that are not finite are never saved.
"""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import MetaClip2Model

from curation.errors import OutputError, StorageFullError
from curation.io.failures import first_line
from curation.io.local_files import sync_path
from training.data.tokenizer import Tokenizer
from training.data.transforms import processor_config
from training.engine.checkpoint import AVERAGE_FOLDER, OPTIMIZER_FILE, TEMP_PREFIX, TrainingState
from training.models.metaclip2 import image_size
from training.output.checkpoints import CHECKPOINTS, PREFIX, old_names, unused_name, write_latest
from training.output.manifest import write_manifest

log = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """All that a checkpoint stores.

    Attributes:
        model: the model; only its class and its configuration are used.
        weights: the weights of the model by name.
        averaged: the moving average of the weights, saved as a second model in the folder `ema`; None without one.
        tokenizer: its tokenizer.
        optimizer: the state of the optimizer.
        state: the state of the run.
    """

    model: MetaClip2Model
    weights: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor] | None
    tokenizer: Tokenizer
    optimizer: Mapping[str, Any]
    state: TrainingState

    def convert(self, change: Callable[[Any], Any]) -> Self:
        """Return a snapshot with changed tensors: `change` gets and returns nested mappings and sequences of them."""
        return self._replace(
            weights=change(self.weights), averaged=change(self.averaged), optimizer=change(self.optimizer)
        )

    @property
    def models(self) -> dict[str, Mapping[str, Tensor]]:
        """The weights to save, by the folder of their model."""
        return {"": self.weights} | ({AVERAGE_FOLDER: self.averaged} if self.averaged else {})


def take_snapshot(
    model: MetaClip2Model,
    tokenizer: Tokenizer,
    optimizer: torch.optim.Optimizer,
    state: TrainingState,
    averaged: Mapping[str, Tensor] | None = None,
) -> Snapshot:
    """Return the present state of a run; it shares the memory of model and optimizer."""
    saved = {"optimizer": optimizer.state_dict()}
    return Snapshot(model, model.state_dict(), averaged, tokenizer, saved, state)


def save(output: Path, snapshot: Snapshot, *, keep: int, taken: Collection[str] = ()) -> Path:
    """Write a checkpoint, set `latest` to it, remove all but the `keep` newest checkpoints, and return its folder.

    It gets a name that no other checkpoint has, in the folder or in `taken`.

    Raises OutputError if a weight or a moment of the optimizer is not finite, or if the files read back differ, and
    StorageFullError if they cannot be written. The earlier checkpoints then stay, and `latest` names the same one.
    """
    _check_finite(snapshot)
    folder = output / CHECKPOINTS
    final = folder / unused_name(snapshot.state.step, taken)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{TEMP_PREFIX}*"):
            shutil.rmtree(leftover)
        final = folder / unused_name(snapshot.state.step, {*_names(folder), *taken})
        temporary = folder / f"{TEMP_PREFIX}{final.name}"
        _write(temporary, snapshot)
        _check_copy(temporary, snapshot)
        write_manifest(temporary)
        for path in (*temporary.rglob("*"), temporary):
            sync_path(path)
        temporary.rename(final)
        sync_path(folder)
        write_latest(folder, final.name)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch and safetensors report a full disk in their way
        for leftover in folder.glob(f"{TEMP_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        raise StorageFullError(
            f"output: cannot save {final} ({first_line(error)}): check the space on the disk, then continue with "
            f"resume: true; earlier checkpoints are unchanged"
        ) from error
    _remove_old(final, keep)
    return final


def _remove_old(newest: Path, keep: int) -> None:
    """Remove all but the `keep` newest checkpoints; one that cannot be removed is only named in the log."""
    for name in old_names(_names(newest.parent), newest.name, keep):
        path = newest.with_name(name)
        try:
            shutil.rmtree(path)
        except OSError as error:
            log.warning("output: cannot remove the old checkpoint %s (%s): remove it by hand", path, first_line(error))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob(f"{PREFIX}*")}


def _write(folder: Path, snapshot: Snapshot) -> None:
    for name, weights in snapshot.models.items():
        snapshot.model.save_pretrained(folder / name, state_dict=dict(weights))
        snapshot.tokenizer.save(folder / name)
        processor = json.dumps(processor_config(image_size(snapshot.model)), indent=1)
        (folder / name / "preprocessor_config.json").write_text(processor, encoding="utf-8")
    (folder / "training.json").write_text(snapshot.state.model_dump_json(indent=1), encoding="utf-8")
    torch.save(dict(snapshot.optimizer), folder / OPTIMIZER_FILE)


def _check_finite(snapshot: Snapshot) -> None:
    moments = {f"optimizer.{name}": value for name, value in _tensors(snapshot.optimizer)}
    for name, value in {**snapshot.weights, **moments}.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise OutputError(
                f"output: {name} is not finite after step {snapshot.state.step}, so it is not saved: lower lr or "
                f"lengthen the warm-up, and continue with resume: true; earlier checkpoints are unchanged"
            )


def _check_copy(folder: Path, snapshot: Snapshot) -> None:
    """Raise OutputError unless the files that training resumes from hold exactly the snapshot."""
    try:
        same = _equals(folder, snapshot)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError):
        same = False  # a file cannot even be read
    if not same:
        raise OutputError(f"output: {folder} differs from what was written: check the disk; `latest` is unchanged")


def _equals(folder: Path, snapshot: Snapshot) -> bool:
    """Return whether the files that training resumes from hold exactly the snapshot."""
    saved = dict(_tensors(torch.load(folder / OPTIMIZER_FILE, map_location="cpu", mmap=True, weights_only=True)))
    expected = dict(_tensors(snapshot.optimizer))
    same = saved.keys() == expected.keys() and all(torch.equal(saved[name], expected[name].cpu()) for name in saved)
    for part, weights in snapshot.models.items():
        names = set()
        for path in (folder / part).glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a dictionary
                    names.add(name)
                    same = same and torch.equal(file.get_tensor(name), weights[name].cpu())
        same = same and names == set(weights)
    return same


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested mappings and sequences, with their dotted names."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _tensors(item, f"{name}.{number}")
