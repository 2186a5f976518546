"""Train a model on the shards of a recipe: `python -m training.train --config t.yaml`, or under torchrun.

    torchrun --nproc-per-node 2 -m training.train --config t.yaml

Progress goes to stderr and to TensorBoard files in the output folder, a JSON summary to stdout at the end. The exit
codes are those of every command (0 done, 1 bug, 2 usage or config, 3 input); torchrun itself ends with 1 whenever one
of its processes failed, and prints their codes.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.utils.tensorboard import SummaryWriter
from transformers import MetaClip2Model

from curation import cli
from curation.errors import UsageError
from curation.lake import Lake
from training import checkpoint
from training.checkpoint import TrainingState
from training.config import TrainConfig
from training.dataset import Batch, ShardDataset, load_batches
from training.distributed import World, join
from training.evaluate import held_out_retrieval
from training.index import Split, build_index
from training.loss import contrastive_loss
from training.model import PRESETS, TwoTowers, build_model
from training.order import Progress, SampleOrder
from training.tokenizer import Tokenizer, train_tokenizer

log = logging.getLogger(__name__)

MAX_LOG_SCALE = math.log(100)  # CLIP's bound on the logit scale (arXiv 2103.00020, section 2.5)

# Keys that decide which sample comes when and what the weights mean; a run cannot be resumed under others.
FIXED_KEYS = ("recipe", "batches", "validation_share", "seed", "shuffle_streams", "shuffle_window", "preset", "image_size")


def main(argv: Sequence[str]) -> None:
    """Read the configuration, train, and print the summary."""
    config = cli.load_config(
        TrainConfig, argv, prog="python -m training.train", description=__doc__ or "", required=("lake", "output")
    )
    with join() as world:
        if not world.leads:
            logging.getLogger().setLevel(logging.WARNING)
        summary = train(config, world)
    if world.leads:
        sys.stdout.write(json.dumps(summary) + "\n")


def train(config: TrainConfig, world: World) -> dict[str, Any]:
    """Train to the configured number of steps and return the summary of the run.

    Raises UsageError when the configuration does not fit the checkpoint or the data, InputError when shards or a
    checkpoint cannot be read, OutputError when the loss is not finite. Checkpoints saved before stay usable.
    """
    if config.batch_size % world.size:
        raise UsageError(f"batch_size: {config.batch_size} is not a multiple of the {world.size} processes")
    folder, state = world.from_lead(lambda: _resumed(config))
    split = world.from_lead(lambda: _index(config, state))
    if folder:
        model, tokenizer = checkpoint.load_model(folder)
    else:
        tokenizer = world.from_lead(lambda: _tokenizer(config, split))
        model = build_model(PRESETS[config.preset], tokenizer, image_size=config.image_size, seed=config.seed)
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
    changed = [key for key in FIXED_KEYS if now[key] != state.config[key]]
    if changed:
        changes = ", ".join(f"{key} {state.config[key]!r} -> {now[key]!r}" for key in changed)
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
    )
    index = split.train
    if state and index.run_ids != state.run_ids:
        raise UsageError(
            f"resume: version {index.version} of the shards in {lake.root} was written by {', '.join(index.run_ids)}, "
            f"but the checkpoint was trained on {', '.join(state.run_ids)}: this is another lake"
        )
    if index.samples < config.batch_size:
        raise UsageError(f"batch_size: {config.batch_size} is more than the {index.samples} pairs there are to train on")
    log.info("%d pairs to train on, %d held out", index.samples, split.validation.samples)
    return split


def _tokenizer(config: TrainConfig, split: Split) -> Tokenizer:
    context_length = PRESETS[config.preset].context_length
    if config.tokenizer != "train":
        return Tokenizer.read(config.tokenizer, context_length)
    texts = islice(ShardReader(split.train, config.open_storage()).texts(), TOKENIZER_TEXTS)
    return Tokenizer.train(texts, vocab_size=config.vocab_size, context_length=context_length)


def learning_rate(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Return the learning rate of a step (counted from 0): linear warm-up, then half a cosine down to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) / 2


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters for AdamW: matrices decay; vectors (biases, norms) and the logit scale do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


class Trainer:
    """The training loop of one process.

    Args:
        config: the run.
        world: this process among the others.
        split: the samples.
        model: the model, on the CPU.
        tokenizer: its tokenizer.
        state: where to go on from; None for a new run.
    """

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        split: Split,
        model: MetaClip2Model,
        tokenizer: Tokenizer,
        state: TrainingState | None,
    ) -> None:
        self.config, self.world, self.split, self.tokenizer = config, world, split, tokenizer
        self.model = model.to(world.device).train()
        if config.grad_checkpointing:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.towers = TwoTowers(self.model)
        self.parallel = DistributedDataParallel(self.towers, broadcast_buffers=False) if world.size > 1 else self.towers
        groups = parameter_groups(self.model, config.weight_decay)
        self.optimizer = AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
        self.first_step = self.step = state.step if state else 0
        self.progress = state.progress if state else Progress()
        self.saved: Path | None = None

    def run(self) -> dict[str, Any]:
        """Train the steps that are left and return the summary."""
        total, config = self.config.total_steps, self.config
        board = SummaryWriter(config.output_folder / "tensorboard", purge_step=self.step) if self.world.leads else None
        started, logged_at, logged_step, figures = time.monotonic(), time.monotonic(), self.step, {}
        for batch in self._batches():
            loss = self._train_on(batch)
            if self.step % config.log_every == 0 or self.step == total:
                now = time.monotonic()
