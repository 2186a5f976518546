"""Train a model on the shards of a recipe: `python -m training.train --config t.yaml`, or under torchrun.

    torchrun --nproc-per-node 2 -m training.train --config t.yaml

Progress goes to stderr and to TensorBoard files in the output folder, a JSON summary to stdout at the end. The exit
codes are those of every command (0 done, 1 bug, 2 usage or config, 3 input); torchrun itself ends with 1 whenever one
of its processes failed, and prints their codes.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from curation.balance.sampling import DrawKey
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError, UsageError
from curation.lake.lake import Lake
from training.config import TrainConfig
from training.data.shard_index import Split, build_index
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer
from training.distributed import World, join
from training.engine import checkpoint
from training.engine.checkpoint import TrainingState
from training.engine.trainer import Trainer
from training.models.metaclip2 import PRESETS, build_model

log = logging.getLogger(__name__)

TOKENIZER_TEXTS = 1_000_000  # shards are in hashed order, so the first texts are a fair sample

# Keys that decide which sample comes when and what the weights mean; a run cannot be resumed under others.
ORDER_KEYS = ("recipe", "batches", "draw", "validation_share", "seed", "shuffle_streams", "shuffle_window")
FIXED_KEYS = (*ORDER_KEYS, "batch_size", "preset", "image_size")


def main(argv: Sequence[str]) -> None:
    """Read the configuration, train, and print the summary."""
    config = load_config(
        TrainConfig,
        argv,
        prog="python -m training.train",
        description="train a MetaClip2 model on the shards of a recipe",
        required=("lake", "output"),
    )
    with join() as world:
        if not world.is_main:
            logging.getLogger().setLevel(logging.WARNING)
        summary = train(config, world)
    if world.is_main:
        sys.stdout.write(json.dumps(summary) + "\n")


def train(config: TrainConfig, world: World) -> dict[str, Any]:
    """Train to the configured number of steps and return the summary of the run.

    Raises UsageError when the configuration does not fit the checkpoint or the data, InputError when shards or a
    checkpoint cannot be read, OutputError when the loss is not finite. Checkpoints saved before stay usable.
    """
    if config.batch_size % world.size:
        raise UsageError(f"batch_size: {config.batch_size} is not a multiple of the {world.size} processes")
    folder, state = world.broadcast_from_main(lambda: _resumed(config))
    split = world.broadcast_from_main(lambda: _index(config, state))
    if folder:
        model, tokenizer = checkpoint.load_model(folder)
    else:
        tokenizer = world.broadcast_from_main(lambda: _tokenizer(config, split))
        model = build_model(PRESETS[config.preset], tokenizer, side=config.image_size, seed=config.seed)
    trainer = Trainer(config, world, split, model, tokenizer, state)
    if folder:
        checkpoint.restore(folder, trainer.optimizer)
    return trainer.run()


def _resumed(config: TrainConfig) -> tuple[Path | None, TrainingState | None]:
    """Return the checkpoint to go on from and its state, or two Nones for a new run."""
    source = Path(config.resume) if isinstance(config.resume, str) else config.output_folder
    folder = checkpoint.find(source)
    if folder is None:
        if isinstance(config.resume, str):
            raise InputError(f"resume: {source} holds no checkpoint")
        return None, None
    if not config.resume:
        raise UsageError(f"output: {source} holds a run already: set resume: true to go on, or choose another folder")
    state = TrainingState.read(folder)
    if config.version not in (None, state.version):
        raise UsageError(
            f"version: {folder} was trained on version {state.version} of the shards table and cannot go on with "
            f"version {config.version}: leave the key out, or start a new run in another output folder"
        )
    now = config.model_dump(mode="json")
    then = {key: state.config.get(key, TrainConfig.model_fields[key].default) for key in FIXED_KEYS}
    changed = [key for key in FIXED_KEYS if now[key] != then[key]]
    if changed:
        changes = ", ".join(f"{key} {then[key]!r} -> {now[key]!r}" for key in changed)
        raise UsageError(f"resume: {folder} was trained with other settings ({changes}): start a new run for these")
    return folder, state


def _index(config: TrainConfig, state: TrainingState | None) -> Split:
    assert config.lake is not None, "checked when the config was read"
    lake = Lake(config.lake, config.open_storage())
    split = build_index(
        lake,
        config.recipe,
        batches=config.batches,
        version=state.version if state else config.version,
        validation_share=config.validation_share,
        online=config.draw == "online",
    )
    index = split.train
    if state and index.run_ids != state.run_ids:
        raise UsageError(
            f"resume: version {index.version} of the shards in {lake.root} was written by {', '.join(index.run_ids)}, "
            f"but the checkpoint was trained on {', '.join(state.run_ids)}: this is another lake"
        )
    if state and index.samples != state.samples:
        log.warning(
            "%d pairs to train on, %d when the checkpoint was saved: tombstones came or went, and the order of the "
            "samples is another one from here on",
            index.samples,
            state.samples,
        )
    if index.samples < config.batch_size:
        raise UsageError(f"batch_size: {config.batch_size} is more than the {index.samples} pairs to train on")
    kind = "matched images to draw pairs from" if config.draw == "online" else "pairs to train on"
    log.info("%d %s, %d pairs held out", index.samples, kind, split.validation.samples)
    return split


def _tokenizer(config: TrainConfig, split: Split) -> Tokenizer:
    context_length = PRESETS[config.preset].context_length
    if config.tokenizer != "train":
        return Tokenizer.read(config.tokenizer, context_length)
    key = DrawKey(config.seed, 0) if config.draw == "online" else None
    texts = islice(ShardReader(split.train, config.open_storage()).texts(key), TOKENIZER_TEXTS)
    return Tokenizer.train(texts, vocab_size=config.vocab_size, context_length=context_length)


if __name__ == "__main__":
    sys.exit(run_command(main))
