"""Which keys may change when a run is resumed: the rules that docs/training.md lists."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from curation.errors import UsageError
from curation.redaction import redact_values
from training.config import TrainConfig
from training.engine.checkpoint import TrainingState
from training.methods.terms import Loss

log = logging.getLogger(__name__)

LOSS: TypeAdapter[Any] = TypeAdapter(Loss)

WHOLE = ("sources", "views", "loss")  # its keys depend on the user, so those left out have no default here

# They determine the order of the samples and the meaning of the weights: another value is refused.
REFUSED = (
    "recipe",
    "batches",
    "dataset",
    "version",
    "draw",
    "languages",
    "language_temperature",
    "max_repeats",
    "preset",
    "image_size",
    "tokenizer",
    "vocab_size",
    "tokenizer_alpha",
    "context_length",
    "views",
    "video",
    "select",
    "loss",
    "terms",
    "phase",
    "phases",
    "targets",
    "sequence",
    "batch_size",
    "seed",
    "shuffle_streams",
    "shuffle_window",
    "validation_share",
)

# They determine later updates: the value of the configuration applies from the checkpoint on, and the log names it.
REPORTED = (
    "steps",
    "seen_pairs",
    "seen_english_pairs",
    "lr",
    "warmup_steps",
    "weight_decay",
    "betas",
    "eps",
    "group",
    "max_grad_norm",
    "ema_decay",
    "on_bad_row",
    "crop",
    "text",
    "precision",
    "compile",
    "deterministic",
)

# They have no effect on the weights.
FREE = (
    "lake",
    "storage",
    "method",
    "start",
    "grad_checkpointing",
    "device",
    "parallel",
    "validation_pairs",
    "evaluations",
    "evaluate_every",
    "num_workers",
    "loader_cache_bytes",
    "output",
    "resume",
    "log_every",
    "wandb_project",
    "mlflow_experiment",
    "save_every",
    "save_in_background",
    "keep_checkpoints",
)


def check_changes(config: TrainConfig, folder: Path, state: TrainingState) -> None:
    """Raise UsageError if a key that may not change differs from the checkpoint's run; report the others."""
    if config.version not in (None, state.version):
        raise UsageError(
            f"version: {folder} was trained on version {state.version} of the table and cannot continue with "
            f"version {config.version}: remove the key, or start a new run in another output folder"
        )
    then, now = _effective(state.config), _effective(redact_values(config.model_dump(mode="json")))
    refused = [key for key in REFUSED if key != "version" and now[key] != then[key]]
    if refused:
        raise UsageError(
            f"resume: {folder} was trained with other settings ({_describe(refused, then, now)}): start a new run to "
            f"change them"
        )
    reported = [key for key in REPORTED if now[key] != then[key]]
    if reported:
        log.warning("settings that change from step %d on: %s", state.step, _describe(reported, then, now))


def check_makers(makers: Mapping[str, Mapping[str, Any]], state: TrainingState) -> None:
    """Raise UsageError if annotations were made by something else than those that a checkpoint was trained on.

    A checkpoint of an earlier release does not say what made them.
    """
    for kind, then in state.makers.items():
        now = makers.get(kind, {})
        if changed := sorted(key for key in {*then, *now} if then.get(key) != now.get(key)):
            key = changed[0]
            raise UsageError(
                f"resume: the checkpoint was trained on {kind} of another maker ({key} {then.get(key)!r} -> "
                f"{now.get(key)!r}): run jobs.annotate with the former one, or start a new run"
            )


def _effective(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all keys, with the number of steps and the warm-up that follow from them.

    A key that the run of a checkpoint did not know has its default.
    """
    defaults = TrainConfig.model_construct().model_dump(mode="json")
    if "loss" in values:  # its kind decides about its keys
        values = values | {"loss": LOSS.validate_python(values["loss"]).model_dump(mode="json")}
    config = TrainConfig.model_construct(**values)
    derived: dict[str, int | None] = {"steps": None, "seen_pairs": None}  # unknown until the languages are counted
    if config.seen_english_pairs is None:
        derived |= {"steps": config.total_steps, "warmup_steps": config.warmup}
    return _filled(values, defaults) | {"betas": list(config.betas)} | derived


def _filled(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return values with the defaults of missing keys, also in sections; a mapping of a user's names is one value."""
    filled = defaults | values
    for key, default in defaults.items():
        if key not in WHOLE and isinstance(default, dict) and isinstance(filled[key], dict):
            filled[key] = _filled(filled[key], default)
    return filled


def _describe(keys: list[str], then: dict[str, Any], now: dict[str, Any]) -> str:
    return ", ".join(f"{key} {then[key]!r} -> {now[key]!r}" for key in keys)
