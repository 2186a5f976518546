"""What a person watches: the log, a progress bar on a terminal, TensorBoard files and `metrics.jsonl`.

Each line of `metrics.jsonl` is an object with `step`, `epoch` and metrics, or, with `evaluation` (the name of a set), a
result of that set as `training.evaluate` prints it. A resumed run removes the lines of later steps, as it does in
TensorBoard.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from curation.cli.log import shows_progress_bar
from curation.cli.progress import describe_duration
from curation.io.failures import first_line
from curation.io.local_files import LocalFiles
from training.engine.checkpoint import TrainingState
from training.engine.trackers import Trackers
from training.evaluation.in_training import Evaluated
from training.evaluation.results_table import main_figures
from training.report.metrics_file import METRICS_FILE, read_lines
from training.report.page import write_page
from training.report.run_data import write_examples

log = logging.getLogger(__name__)

SHOWN_METRICS = ("loss", "grad_norm", "lr", "logit_scale", "pairs_per_second", "data_wait_share")


class RunLog:
    """Writes the metrics of rank 0.

    Args:
        output: the output folder of the run.
        step: step to start from; metrics of later steps are removed.
        total: total number of steps.
        batch_size: pairs per step.
        trackers: services that get the metrics, too.
    """

    def __init__(self, output: Path, step: int, total: int, batch_size: int, trackers: Trackers | None = None) -> None:
        self._output, self._total, self._batch_size, self._trackers = output, total, batch_size, trackers
        self._last = (step, time.monotonic())
        self._tensorboard = SummaryWriter(output / "tensorboard", purge_step=step + 1)
        earlier = "".join(line for line, _ in read_lines(output, step))
        LocalFiles().write_bytes(str(output / METRICS_FILE), earlier.encode())  # a kill leaves the old file or this one
        self._jsonl = (output / METRICS_FILE).open("a", encoding="utf-8")
        columns = (TextColumn("step {task.completed:.0f} of {task.total:.0f}"), BarColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not shows_progress_bar())
        self._task = self._bar.add_task("train", total=total, completed=step)
        self._saved: TrainingState | None = None  # with the newest checkpoint
        self.metrics: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._bar.stop()
        self._tensorboard.close()
        self._jsonl.close()
        if self._trackers:
            self._trackers.close(failed=error is not None)

    def advance(self, step: int) -> None:
        """Show on the bar that a step is done."""
        self._bar.update(self._task, completed=step)

    def write_step(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a step with the pairs per second since the last call; the log also has the time left."""
        (last_step, last_time), now = self._last, time.monotonic()
        self._last = (step, now)
        speed = (step - last_step) / max(now - last_time, 1e-9)
        rest = f", about {describe_duration((self._total - step) / speed)} left" if step < self._total else ""
        pairs = {"seen_pairs": step * self._batch_size, "pairs_per_second": round(speed * self._batch_size, 1)}
        self.write(step, epoch, {**metrics, **pairs}, shown=SHOWN_METRICS, rest=rest)

    def write(
        self, step: int, epoch: int, metrics: Mapping[str, float], *, shown: Sequence[str] = (), rest: str = ""
    ) -> None:
        """Write metrics; the log line has those in `shown`, or all of them, and ends with `rest`."""
        self.metrics |= metrics
        values = ", ".join(f"{name} {metrics[name]:.4g}" for name in shown or metrics if name in metrics)
        log.info("step %d of %d, epoch %d: %s%s", step, self._total, epoch, values, rest)
        for name, value in metrics.items():
            self._tensorboard.add_scalar(name, value, step)
        if self._trackers:
            self._trackers.write(step, {"epoch": epoch, **metrics})
        self._write_line({"step": step, "epoch": epoch, **metrics})

    def write_evaluation(self, step: int, epoch: int, found: Evaluated) -> None:
        """Write the figures of the held-out pairs, every result of the evaluation sets, their examples, and the page.

        The log and the summary have the means over the languages of a set, as `SET/TASK/FIGURE`; so has TensorBoard,
        with each language as `SET/TASK/FIGURE/LANGUAGE`.
        """
        labeled = [(name, row) for name, rows in found.results.items() for row in rows]
        values: dict[str, list[float]] = {}
        for name, row in labeled:
            self._write_line({"step": step, "epoch": epoch, "evaluation": name, **row})
            for figure in main_figures(row):
                tag = f"{name}/{row['task']}/{figure.replace('@', '_at_')}"
                values.setdefault(tag, []).append(row[figure])
                if "language" in row:
                    self._tensorboard.add_scalar(f"{tag}/{row['language']}", row[figure], step)
        means = {tag: sum(of_languages) / len(of_languages) for tag, of_languages in values.items()}
        if found.figures or means:
            self.write(step, epoch, {**found.figures, **means})
        write_examples(self._output, found.examples)
        if self._saved:
            self.write_page(self._saved)

    def write_page(self, state: TrainingState) -> None:
        """Write the run's page for a checkpoint, and what TensorBoard has not written yet.

        A failure is logged, because training can do without the page.
        """
        self._saved = state
        try:
            self._tensorboard.flush()
            write_page(self._output, state.model_dump(mode="json"))
        except OSError as error:
            log.warning("output: the run's page cannot be written (%s): check the disk", error.strerror)
        except Exception as error:  # a line of the metrics may have any content
            log.warning("output: the run's page cannot be written (%s): check metrics.jsonl", first_line(error))

    def _write_line(self, values: Mapping[str, Any]) -> None:
        self._jsonl.write(json.dumps(values, ensure_ascii=False) + "\n")
        self._jsonl.flush()
