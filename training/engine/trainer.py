"""The training loop of one process: step, log, save."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from contextlib import nullcontext
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from curation import __version__
from curation.errors import OutputError
from curation.hashing import u64
from curation.redaction import redact_values
from training.config import TrainConfig
from training.data.epochs.samples import EpochSamples
from training.data.sample_order import DataState
from training.data.shard_dataset import Batch
from training.distributed import RunInterruptedError, World, peak_memory
from training.engine import checkpoint
from training.engine.background_save import CheckpointSaver
from training.engine.batches import RunBatches
from training.engine.checkpoint import TrainingState
from training.engine.dry_run import MEASURED_STEPS, Parameters, describe_run
from training.engine.languages import SeenLanguages
from training.engine.method_parts import make_towers, named_terms
from training.engine.objective import Objective
from training.engine.phases import PhaseOfRun
from training.engine.run_log import RunLog
from training.engine.snapshot import take_snapshot
from training.engine.start import RunStart
from training.engine.step_times import StepTimes
from training.engine.stop_signals import StopSignals
from training.engine.targets import TargetModel
from training.engine.trackers import Trackers
from training.engine.weight_average import WeightAverage
from training.evaluation.encoder import trained_encoder
from training.evaluation.held_out import held_out_retrieval, read_pairs
from training.evaluation.in_training import evaluate
from training.models.metaclip2 import image_size
from training.output.s3_copy import logs_uploaded
from training.parallel.replicas import Replicas

log = logging.getLogger(__name__)

LOGGED_LANGUAGES = 8  # the most frequent ones; the files of metrics have all


class StepResult(NamedTuple):
    """Losses of the global batch, norm of its gradient before clipping, and whether a rank was asked to stop."""

    losses: dict[str, float]
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
        terms = named_terms(config.all_terms)
        self._towers, self._targets = make_towers(config, self._model, world.device)
        state, folder = (start.resume.state, start.resume.folder) if start.resume else (None, None)
        if folder:
            checkpoint.restore_heads(folder, self._towers.heads)
        self._step = state.step if state else 0
        self._phase = PhaseOfRun(config, world, self._towers, terms, step=self._step, token_factors=start.token_factors)
        banks = dict(self._towers.heads.banks.items())
        self._objective = Objective(terms, config.group, world, config.precision, banks=banks, targets=self._targets)
        self._average: WeightAverage | None = None
        if (world.is_main or self._parallel.is_sharded) and config.ema_decay is not None:
            self._average = WeightAverage(self._model, config.ema_decay)
        if folder and state:
            self._restore(folder, state)
        self._saver = CheckpointSaver(
            world,
            config.output_folder,
            keep=config.keep_checkpoints,
            background=config.save_in_background,
            s3_copy=config.s3_copy(),
        )
        self._log_of_run: RunLog | None = None
        self._batches = RunBatches(
            config,
            world,
            samples,
            start.tokenizer,
            image_size=image_size(self._model),
            state=state.progress if state else DataState(),
        )
        limits = (config.validation_pairs, config.frames_per_video)
        self._held_out = cache(partial(read_pairs, samples.validation, config.open_storage(), *limits))
        self._seen = SeenLanguages(world, state.seen_pairs_by_language if state else {})
        self._times = StepTimes()
        self._stop_signals = StopSignals()

    def _restore(self, folder: Path, state: TrainingState) -> None:
        """Read the state of a checkpoint; the optimizer's only if it belongs to the phase that goes on."""
        if state.phase == self._phase.number:
            checkpoint.restore(folder, self._towers.parameters_by_name(), self._phase.optimizer)
        for name, copied in self._copies.items():
            if (folder / name).exists():
                copied.restore(folder / name)

    @property
    def _parallel(self) -> Replicas:
        return self._phase.parallel

    @property
    def _copies(self) -> dict[str, WeightAverage | TargetModel]:
        """The other models of this run, by their folder in a checkpoint."""
        copies = {checkpoint.AVERAGE_FOLDER: self._average, checkpoint.TARGETS_FOLDER: self._targets}
        return {name: copied for name, copied in copies.items() if copied is not None}

    def run(self) -> dict[str, Any]:
        """Run the remaining steps and return the summary of the run."""
        config, started = self._config, time.monotonic()
        self._world.broadcast_from_main(self._open_log)
        if self._step >= config.total_steps:
            log.info("nothing to do: %d steps are done", self._step)
        s3_copy = config.s3_copy() if self._log_of_run else None
        run_log, unwatched = self._log_of_run or nullcontext(), self._world.unwatched_after_error()
        with self._stop_signals, logs_uploaded(s3_copy), run_log, self._saver, unwatched:
            for batch in self._times.batches(self._batches.next(config.total_steps - self._step)):
                result = self._train_on(batch)
                self._times.end_step()
                self._finish_step(result)
        return {
            "steps": self._step,
            "seen_pairs": self._step * config.batch_size,
            **self._batches.state._asdict(),
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
        batches = self._batches.next(self._config.total_steps - self._step)
        for number, batch in enumerate(self._times.batches(islice(batches, MEASURED_STEPS + 1))):
            self._train_on(batch)
            self._times.end_step()
            if number == 0:  # it also allocates memory and fills caches
                self._times.take()
        return describe_run(
            self._config,
            self._world,
            parameters=Parameters.of(self._towers),
            samples=self._batches.index.samples,
            languages=languages,
            times=self._times.take(),
            peak_memory=max(self._world.all_gather(lambda: peak_memory(self._world.device))),
        )

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

    def _train_on(self, batch: Batch) -> StepResult:
        """Run one optimizer step. If loss or gradient are not finite, all ranks end before the update."""
        config = self._config
        self._phase.begin_step(self._step)
        self._phase.optimizer.zero_grad(set_to_none=True)
        torch.manual_seed(u64(config.seed, "dropout", str(self._step), str(self._world.rank)))
        losses = self._objective.backward(self._parallel.module, batch.views)
        norm = self._parallel.end_backward()
        asked = torch.tensor(float(self._stop_signals.received), device=norm.device)
        mean_norm, stop, *means = self._world.means(torch.stack([norm, asked, *losses.values()]))
        mean_losses = dict(zip(losses, means, strict=True))
        self._check_finite(mean_losses["loss"], mean_norm)
        if config.max_grad_norm is not None:
            self._parallel.clip_gradients(norm, config.max_grad_norm)
        self._phase.optimizer.step()
        self._phase.end_step()
        if self._average:
            self._average.update()
        if self._targets:
            self._targets.update()
        self._step += 1
        self._seen.add(batch.languages)
        self._batches.advance()
        return StepResult(mean_losses, mean_norm, stop > 0)

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
            **result.losses,
            "grad_norm": result.grad_norm,
            "lr": max(group["lr"] for group in self._phase.optimizer.param_groups),
            "logit_scale": float(self._model.logit_scale.detach().exp()),
            **self._times.take(),
            "peak_memory_bytes": peak_memory(self._world.device),
            "epoch_pairs": self._batches.index.samples,
        }
        if self._log_of_run:
            self._log_of_run.write_step(self._step, self._batches.state.epoch, metrics)

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
            self._log_of_run.write_evaluation(self._step, self._batches.state.epoch, found)

    def _save(self, *, wait: bool) -> None:
        """Save a checkpoint; return when it is complete, or when writing has started."""
        shares = self._seen.exchange()
        state = TrainingState(
            step=self._step,
            progress=self._batches.state,
            version=self._samples.all.version,
            run_ids=self._samples.all.run_ids,
            samples=self._samples.all.samples,
            seen_pairs_by_language=dict(self._seen.total),
            config=redact_values(self._config.model_dump(mode="json")),
            code_version=__version__,
            phase=self._phase.number,
            makers=self._samples.all.makers,
        )
        snapshot = take_snapshot(
            self._saver.plan,
            self._towers,
            self._tokenizer,
            self._phase.optimizer,
            state,
            copies={name: copied.weights for name, copied in self._copies.items()},
        )

        def write_logs() -> None:
            if log_of_run := self._log_of_run:
                log_of_run.write(self._step, state.progress.epoch, shares, shown=[*shares][:LOGGED_LANGUAGES])
                log_of_run.write_page(state)

        self._world.broadcast_from_main(write_logs)
        self._saver.save(snapshot, wait=wait)
