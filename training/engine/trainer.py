"""The training loop of one process: step, log, save."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from transformers import MetaClip2Model

from curation import __version__
from curation.errors import OutputError
from curation.hashing import u64
from curation.redaction import redact_values
from training.config import TrainConfig
from training.data.epochs.samples import EpochSamples
from training.data.loader import load_batches
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import Batch, LoaderConfig, ShardDataset
from training.data.tokenizer import Tokenizer
from training.distributed import RunInterruptedError, World, peak_memory
from training.engine import checkpoint
from training.engine.background_save import CheckpointSaver
from training.engine.checkpoint import ResumePoint, TrainingState
from training.engine.dry_run import MEASURED_STEPS, Parameters, describe_run
from training.engine.languages import SeenLanguages
from training.engine.objective import Objective
from training.engine.optimizer import build_optimizer, learning_rate, set_learning_rate
from training.engine.run_log import RunLog
from training.engine.snapshot import take_snapshot
from training.engine.step_times import StepTimes
from training.engine.stop_signals import StopSignals
from training.engine.trackers import Trackers
from training.engine.weight_average import WeightAverage
from training.evaluation.encoder import trained_encoder
from training.evaluation.held_out import held_out_retrieval, read_pairs
from training.evaluation.in_training import evaluate
from training.methods.phase import clamp_scale, freeze
from training.models.metaclip2 import TwoTowers, enable_activation_checkpointing, image_size
from training.output.s3_copy import logs_uploaded
from training.parallel.shards import parallelize

log = logging.getLogger(__name__)

LOGGED_LANGUAGES = 8  # the most frequent ones; the files of metrics have all


class RunStart(NamedTuple):
    """The start of a run: model (on the CPU), tokenizer, and the checkpoint to resume from; None for a new run."""

    model: MetaClip2Model
    tokenizer: Tokenizer
    resume: ResumePoint | None


class StepResult(NamedTuple):
    """Loss of the global batch, norm of its gradient before clipping, and whether a rank was asked to stop."""

    loss: float
    grad_norm: float
    stop: bool


class Trainer:
    """Trains a model up to the configured number of steps.

    Args:
        config: the configuration of the run.
        world: this process among all ranks; rank 0 logs, evaluates and saves.
        samples: the samples.
        start: the model, the tokenizer and the state to start from.
    """

    def __init__(self, config: TrainConfig, world: World, samples: EpochSamples, start: RunStart) -> None:
        self._config, self._world, self._samples, self._tokenizer = config, world, samples, start.tokenizer
        self._model = start.model.train()
        freeze(self._model, config.phase)
        if config.compile:
            # in place, so the names of the weights stay; the text encoder sees other shapes in every batch
            self._model.vision_model.compile()
            self._model.text_model.compile(dynamic=True)
        if config.grad_checkpointing:
            enable_activation_checkpointing(self._model)
        self._towers = TwoTowers(self._model)
        self._parallel = parallelize(self._towers, world, config.parallel)
        self._objective = Objective(config.loss, config.group, world, config.precision)
        self._optimizer = build_optimizer(self._model, config)
        self._step, self._data_state = 0, DataState()
        if start.resume:
            self._step, self._data_state = start.resume.state.step, start.resume.state.progress
            checkpoint.restore(start.resume.folder, self._model, self._optimizer)
        self._average: WeightAverage | None = None
        if (world.is_main or self._parallel.is_sharded) and config.ema_decay is not None:
            self._average = WeightAverage(self._model, config.ema_decay)
            if start.resume and (folder := start.resume.folder / checkpoint.AVERAGE_FOLDER).exists():
                self._average.restore(folder)
        self._saver = CheckpointSaver(
            world,
            config.output_folder,
            keep=config.keep_checkpoints,
            background=config.save_in_background,
            s3_copy=config.s3_copy(),
        )
        self._log_of_run: RunLog | None = None
        self._index = samples.all  # the samples of the current epoch
        self._held_out = cache(partial(read_pairs, samples.validation, config.open_storage(), config.validation_pairs))
        self._seen = SeenLanguages(world, start.resume.state.seen_pairs_by_language if start.resume else {})
        self._times = StepTimes()
        self._stop_signals = StopSignals()

    def run(self) -> dict[str, Any]:
        """Run the remaining steps and return the summary of the run."""
        config, started = self._config, time.monotonic()
        self._world.broadcast_from_main(self._open_log)
        if self._step >= config.total_steps:
            log.info("nothing to do: %d steps are done", self._step)
        s3_copy = config.s3_copy() if self._log_of_run else None
        run_log, unwatched = self._log_of_run or nullcontext(), self._world.unwatched_after_error()
        with self._stop_signals, logs_uploaded(s3_copy), run_log, self._saver, unwatched:
            for batch in self._times.batches(self._remaining_batches()):
                result = self._train_on(batch)
                self._times.end_step()
                self._finish_step(result)
        return {
            "steps": self._step,
            "seen_pairs": self._step * config.batch_size,
            **self._data_state._asdict(),
            **(self._log_of_run.metrics if self._log_of_run else {}),
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "processes": self._world.size,
            "seconds": round(time.monotonic() - started, 1),
            "table_version": self._samples.all.version,
            "checkpoint": self._saver.newest() if self._world.is_main else None,
        }

    def _open_log(self) -> None:
        config = self._config
        trackers = Trackers(config, redact_values(config.model_dump(mode="json")))
        self._log_of_run = RunLog(config.output_folder, self._step, config.total_steps, config.batch_size, trackers)

    def dry_run(self, languages: Counter[str]) -> dict[str, Any]:
        """Train a few steps without writing anything, and return the plan of the run (`describe_run`)."""
        for number, batch in enumerate(self._times.batches(islice(self._remaining_batches(), MEASURED_STEPS + 1))):
            self._train_on(batch)
            self._times.end_step()
            if number == 0:  # it also allocates memory and fills caches
                self._times.take()
        return describe_run(
            self._config,
            self._world,
            parameters=Parameters.of(self._model),
            samples=self._index.samples,
            languages=languages,
            times=self._times.take(),
            peak_memory=max(self._world.all_gather(lambda: peak_memory(self._world.device))),
        )

    def _remaining_batches(self) -> Iterator[Batch]:
        """Yield the batches of the remaining steps."""
        config = self._config
        if not self._samples.differ:
            yield from self._batches(config.total_steps - self._step)
            return
        while (remaining := config.total_steps - self._step) > 0:
            epoch, position = self._data_state
            self._index = self._samples.index(epoch)
            yield from self._batches(min(remaining, (self._index.samples - position) // config.batch_size))
            if self._step < config.total_steps:
                self._data_state = DataState(epoch + 1)

    def _finish_step(self, result: StepResult) -> None:
        """Log, save and evaluate if due. If a rank was asked to stop, save, and end all with RunInterruptedError."""
        config, last = self._config, self._step == self._config.total_steps
        if self._log_of_run:
            self._log_of_run.advance(self._step)
        if last or self._step % config.log_every == 0:
            self._log(result)
        if last or result.stop or self._step % config.save_every == 0:
            self._save(wait=last or result.stop)
        if result.stop and not last:  # a scheduler does not wait long after its signal
            done = f"stopped after step {self._step} of {config.total_steps}, which is saved"
            self._world.fail(RunInterruptedError(f"signal: {done}: continue with resume: true"))
        # after the save, so that a run which is killed in an evaluation resumes from this step
        if last or self._step % (config.evaluate_every or config.save_every) == 0:
            self._evaluate()

    def _batches(self, steps: int) -> Iterator[Batch]:
        """Yield `steps` batches of the samples in the current index."""
        config = self._config
        assert config.shuffle_streams is not None, "train() sets it"
        loader = LoaderConfig(
            order=SampleOrder(config.seed, config.shuffle_streams, config.shuffle_window),
            image_size=image_size(self._model),
            batch_size=config.batch_size,
            rank=self._world.rank,
            world_size=self._world.size,
            num_workers=config.num_workers,
            pin_memory=self._world.device.type == "cuda",
            cache_bytes=config.loader_cache_bytes,
            on_bad_row=config.on_bad_row,
            transform=config.crop.transform,
            text=config.text.transform,
        )
        storage, start = config.open_storage(), self._data_state
        return load_batches(ShardDataset(self._index, storage, self._tokenizer, loader, start=start, steps=steps))

    def _train_on(self, batch: Batch) -> StepResult:
        """Run one optimizer step. If loss or gradient are not finite, all ranks end before the update."""
        config = self._config
        rate = learning_rate(self._step, config)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad(set_to_none=True)
        torch.manual_seed(u64(config.seed, "dropout", str(self._step), str(self._world.rank)))
        loss = self._objective.backward(self._parallel.module, batch.images, batch.tokens)
        norm = self._parallel.end_backward()
        asked = torch.tensor(float(self._stop_signals.received), device=norm.device)
        mean_loss, mean_norm, stop = self._world.means(torch.stack([loss, norm, asked]))
        self._check_finite(mean_loss, mean_norm)
        if config.max_grad_norm is not None:
            self._parallel.clip_gradients(norm, config.max_grad_norm)
        self._optimizer.step()
        clamp_scale(self._model, config.phase.scale)
        if self._average:
            self._average.update()
        self._step += 1
        self._seen.add(batch.languages)
        state = self._data_state.batch_start(config.batch_size, self._index.samples)
        self._data_state = state.advance(config.batch_size)
        return StepResult(mean_loss, mean_norm, stop > 0)

    def _check_finite(self, loss: float, norm: float) -> None:
        """End all ranks with OutputError if a number is not finite; the mean over ranks is finite only if all are."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            saved = self._world.broadcast_from_main(self._saver.newest)
            self._world.fail(
                OutputError(
                    f"loss: loss {loss:g} and gradient norm {norm:g} in step {self._step + 1}: "
                    f"lower lr, lengthen the warm-up or set max_grad_norm; the last checkpoint is {saved}"
                )
            )

    def _log(self, result: StepResult) -> None:
        """Log the result of this step and the times of the steps since the last line."""
        metrics = {
            "loss": result.loss,
            "grad_norm": result.grad_norm,
            "lr": max(group["lr"] for group in self._optimizer.param_groups),
            "logit_scale": float(self._model.logit_scale.detach().exp()),
            **self._times.take(),
            "peak_memory_bytes": peak_memory(self._world.device),
            "epoch_pairs": self._index.samples,
        }
        if self._log_of_run:
            self._log_of_run.write_step(self._step, self._data_state.epoch, metrics)

    def _evaluate(self) -> None:
        """Measure the held-out pairs and the evaluation sets."""
        sets, has_held_out = self._config.evaluations, self._samples.validation.samples > 0
        if not has_held_out and not sets:
            return
        encoder = trained_encoder(self._towers, self._tokenizer, self._config.precision)
        held_out = (lambda: held_out_retrieval(encoder, self._held_out())) if has_held_out else None
        self._towers.eval()
        with self._parallel.whole():
            found = evaluate(encoder, self._world, sets, held_out, survives=not self._parallel.is_sharded)
        self._towers.train()
        if self._log_of_run:
            self._log_of_run.write_evaluation(self._step, self._data_state.epoch, found)

    def _save(self, *, wait: bool) -> None:
        """Save a checkpoint; return when it is complete, or when writing has started."""
        shares = self._seen.exchange()
        state = TrainingState(
            step=self._step,
            progress=self._data_state,
            version=self._samples.all.version,
            run_ids=self._samples.all.run_ids,
            samples=self._samples.all.samples,
            seen_pairs_by_language=dict(self._seen.total),
            config=redact_values(self._config.model_dump(mode="json")),
            code_version=__version__,
        )
        copies = {checkpoint.AVERAGE_FOLDER: self._average.weights} if self._average else {}
        snapshot = take_snapshot(self._saver.plan, self._model, self._tokenizer, self._optimizer, state, copies=copies)

        def write_logs() -> None:
            if log_of_run := self._log_of_run:
                log_of_run.write(self._step, state.progress.epoch, shares, shown=[*shares][:LOGGED_LANGUAGES])
                log_of_run.write_page(state)

        self._world.broadcast_from_main(write_logs)
        self._saver.save(snapshot, wait=wait)
