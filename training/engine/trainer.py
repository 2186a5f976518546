"""The training loop of one process: step, log, save."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.utils.tensorboard import SummaryWriter
from transformers import MetaClip2Model

from curation.balance.sampling import DrawKey
from curation.errors import OutputError
from training.config import TrainConfig
from training.data.epoch_draw import draw_epoch
from training.data.loader import Batch, ShardDataset, load_batches
from training.data.sample_order import Progress, SampleOrder
from training.data.shard_index import Split
from training.data.tokenizer import Tokenizer
from training.distributed import World
from training.engine import checkpoint
from training.engine.checkpoint import TrainingState
from training.engine.optimizer import learning_rate, parameter_groups
from training.evaluation.retrieval import held_out_retrieval
from training.losses.contrastive import contrastive_loss
from training.models.metaclip2 import TwoTowers

log = logging.getLogger(__name__)

MAX_LOGIT_SCALE = math.log(100)  # on the logarithm, as CLIP bounds it (arXiv 2103.00020, section 2.5)


class Trainer:
    """Trains a model from some state to the configured number of steps.

    Args:
        config: the run.
        world: this process among the others; rank 0 logs, evaluates and saves.
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
        self._config, self._world, self._split, self._tokenizer = config, world, split, tokenizer
        self._model = model.train()
        if config.grad_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
        self._towers = TwoTowers(model).to(world.device)
        self._parallel: nn.Module = self._towers
        if world.size > 1:
            self._parallel = DistributedDataParallel(self._towers)
        groups = parameter_groups(model, config.weight_decay)
        self.optimizer = AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
        self._step = state.step if state else 0
        self._progress = state.progress if state else Progress()
        self._board = (
            SummaryWriter(config.output_folder / "tensorboard", purge_step=self._step) if world.is_main else None
        )
        self._index = split.train  # the samples of the current epoch
        self._figures: dict[str, float] = {}
        self._logged = (self._step, time.monotonic())

    def run(self) -> dict[str, Any]:
        """Train the steps that are left and return the summary of the run."""
        config, started = self._config, time.monotonic()
        if self._step >= config.total_steps:
            log.info("nothing to do: %d steps are done", self._step)
        left = config.total_steps - self._step
        for batch in self._batches(left) if config.draw == "published" else self._drawn_batches():
            loss = self._train_on(batch)
            last = self._step == config.total_steps
            if last or self._step % config.log_every == 0:
                self._log(loss)
            if self._world.is_main and (last or self._step % config.save_every == 0):
                self._save()
        if self._board:
            self._board.close()
        return {
            "steps": self._step,
            "seen_pairs": self._step * config.batch_size,
            **self._progress._asdict(),
            **self._figures,
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "processes": self._world.size,
            "seconds": round(time.monotonic() - started, 1),
            "table_version": self._split.train.version,
            "checkpoint": str(checkpoint.find(config.output_folder)),
        }

    def _drawn_batches(self) -> Iterator[Batch]:
        """Yield the batches that are left, of samples drawn anew at every epoch."""
        config, storage, size = self._config, self._config.open_storage(), self._config.batch_size
        while (left := config.total_steps - self._step) > 0:
            epoch, position = self._progress
            key = DrawKey(config.seed, epoch)
            self._index = draw_epoch(self._split.train, storage, key, self._world, batch_size=size)
            yield from self._batches(min(left, (self._index.samples - position) // size))
            if self._step < config.total_steps:
                self._progress = Progress(epoch + 1)

    def _batches(self, steps: int) -> Iterator[Batch]:
        """Yield so many batches of the index's samples."""
        config = self._config
        dataset = ShardDataset(
            self._index,
            config.open_storage(),
            self._tokenizer,
            SampleOrder(config.seed, config.shuffle_streams, config.shuffle_window),
            image_size=self._model.config.vision_config.image_size,
            batch_size=config.batch_size,
            begin=self._progress,
            steps=steps,
            rank=self._world.rank,
            world=self._world.size,
        )
        return load_batches(dataset, num_workers=config.num_workers, pin=self._world.device.type == "cuda")

    def _train_on(self, batch: Batch) -> Tensor:
        """Take one optimizer step and return this rank's loss."""
        config = self._config
        rate = learning_rate(self._step, peak=config.lr, warmup=config.warmup, total=config.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self._world.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            embeddings = self._parallel(batch.images, batch.tokens)
        loss = contrastive_loss(*embeddings)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer.step()
        with torch.no_grad():
            self._model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        self._step += 1
        self._progress = self._progress.fitting(config.batch_size, self._index.samples).after(config.batch_size)
        return loss.detach()

    def _log(self, loss: Tensor) -> None:
        """Note the global loss and the speed since the last line. Raises OutputError when the loss is not finite."""
        (step, then), now = self._logged, time.monotonic()
        self._logged = (self._step, now)
        figures = {
            "loss": self._world.mean(loss),
            "lr": self.optimizer.param_groups[0]["lr"],
            "logit_scale": float(self._model.logit_scale.detach().exp()),
            "pairs_per_second": round((self._step - step) * self._config.batch_size / (now - then), 1),
        }
        if not math.isfinite(figures["loss"]):
            raise OutputError(f"the loss is {figures['loss']} at step {self._step}: lower lr or lengthen the warm-up")
        self._note(figures)

    def _note(self, figures: dict[str, float]) -> None:
        self._figures |= figures
        said = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        log.info("step %d of %d, epoch %d: %s", self._step, self._config.total_steps, self._progress.epoch, said)
        if self._board:
            for name, value in figures.items():
                self._board.add_scalar(name, value, self._step)

    def _save(self) -> None:
        """Measure retrieval on the held-out pairs and save a checkpoint."""
        config, held_out = self._config, self._split.validation
        if held_out.samples:
            storage = config.open_storage()
            self._note(held_out_retrieval(self._towers, self._tokenizer, held_out, storage, config.validation_pairs))
        state = TrainingState(
            step=self._step,
            progress=self._progress,
            version=self._split.train.version,
            run_ids=self._split.train.run_ids,
            samples=self._split.train.samples,
            config=config.model_dump(mode="json"),
        )
        saved = checkpoint.save(
            config.output_folder, self._model, self._tokenizer, self.optimizer, state, keep=config.keep_checkpoints
        )
        log.info("saved %s", saved)
