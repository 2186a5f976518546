"""Run a task function over work units on Spark: one Spark task per work unit, one result per work unit.

A task reads and writes files itself and returns one small typed result. A single `collect()` ends the Spark job, so a
retried or speculative task can leave only files that no commit refers to; `gc` removes them. A user's error travels
back as a result and ends the stage with its own message. A work unit that crashes its worker process twice is run in a
child process, so that one bad input is named instead of failing the job.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Self, TypeVar

import msgspec
import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # it has no types
from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from curation import errors
from curation.cli.interruption import interruption_of
from curation.cli.log import shows_progress_bar
from curation.cli.progress import describe_progress
from curation.redaction import redact_logs
from jobs.runtime.lost_spark import named_loss
from jobs.runtime.session import silence
from jobs.runtime.work_unit import back_off, decode_result, result_type, run_unit

log = logging.getLogger(__name__)

ROW = "unit long, result binary, error_class string, error string"
ROW_ARROW = pa.schema(
    [("unit", pa.int64()), ("result", pa.binary()), ("error_class", pa.string()), ("error", pa.string())]
)

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Task = Callable[[int, Unit], Result]


def run_tasks(
    spark: SparkSession,
    name: str,
    units: Sequence[Unit],
    task: Task[Unit, Result],
    *,
    progress_s: float = 10.0,
    on_crash: Task[Unit, Result] | None = None,
    at_once: int | None = None,
    backoff_s: float = 0.0,
) -> list[Result]:
    """Run `task(index, unit)` for every work unit and return the results in the order of the units.

    Results are sent as JSON and decoded to the return type that the task declares. At most `at_once` work units
    run at the same time, on all machines together; the default is one per core. `on_crash` makes the result of a work
    unit that crashes even a process of its own; without it InputError is raised. The third attempt of a work unit waits
    `backoff_s` seconds, the fourth twice as long. Raises the WorldcurateError that a
    task raised, LostSparkError if Spark itself fails, and RuntimeError with the worker's traceback for a bug.
    """
    if not units:
        return []

    def run_task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        _prepare_process()
        for batch in batches:
            for index in batch.column(0).to_pylist():
                back_off(index, units[index], backoff_s)
                answer = msgspec.structs.asdict(run_unit(task, index, units[index], on_crash))
                yield pa.RecordBatch.from_pylist([{"unit": index, **answer}], schema=ROW_ARROW)

    tasks = min(len(units), at_once or len(units))
    try:
        with named_loss():
            frame = spark.range(0, len(units), 1, tasks).mapInArrow(run_task, ROW)
            with _Progress(spark, name, tasks, progress_s):
                rows = sorted(frame.collect(), key=lambda row: int(row["unit"]))
    except BaseException as error:
        if interruption_of(error):  # also if py4j failed on the way out
            silence(spark)
        raise
    for row in rows:
        if row["error"] is not None:
            _raise(row["error_class"], row["error"])
    kind = result_type(task)
    return [decode_result(bytes(row["result"]), kind) for row in rows]


@cache
def _prepare_process() -> None:
    """Redact the logs of a worker, and exclude loaded modules from garbage collection.

    PySpark collects after every task, which took 30 ms each time.
    """
    redact_logs()
    gc.freeze()


def _raise(error_class: str, message: str) -> None:
    kind = getattr(errors, error_class, None) if error_class else None
    if kind is None:
        raise RuntimeError(f"a worker failed:\n{message}")
    raise kind(message)


class _Progress(threading.Thread):
    """Shows how many tasks are done while Spark works, the rate and the remaining time.

    It is a bar on a terminal, otherwise a log line every `seconds`.
    """

    def __init__(self, spark: SparkSession, name: str, tasks: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._tracker = spark.sparkContext.statusTracker()
        self._name, self._tasks, self._seconds = name, tasks, seconds
        self._stop_requested = threading.Event()
        self._since = time.monotonic()

    def run(self) -> None:
        if not shows_progress_bar():
            while not self._stop_requested.wait(self._seconds):
                log.info("%s: %s", self._name, self._describe(self._done()))
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self._name, total=self._tasks, status="")
            while not self._stop_requested.wait(0.5):
                done = self._done()
                bar.update(task, completed=done, status=self._describe(done))

    def _describe(self, done: int) -> str:
        return describe_progress(done, self._tasks, time.monotonic() - self._since)

    def _done(self) -> int:
        try:
            stages = [self._tracker.getStageInfo(stage) for stage in self._tracker.getActiveStageIds()]
        except (Py4JError, OSError):  # the JVM has ended, which `run_tasks` reports
            return 0
        return sum(stage.numCompletedTasks for stage in stages if stage)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_requested.set()
        self.join()
