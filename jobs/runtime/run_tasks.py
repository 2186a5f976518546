"""The one way a stage runs on Spark: a function over a list of units, a task each, one small row back for each result.

A unit's function reads and writes files itself and yields `Result`s. Nothing follows the sink but one `collect()`, so a
retried or speculative task can only leave files nobody refers to; those are removed by `gc`. A failure the user caused
travels back as a result and ends the stage with its own message; a unit that twice takes its worker process down is run
in a child process, so that one poisonous input is named instead of failing the job.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import pickle
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import Progress

from curation import errors
from curation.errors import InputError, WorldcurateError
from curation.io.storage import first_line
from curation.lake.lake import WrittenFile

log = logging.getLogger(__name__)

CRASHES_BEFORE_ISOLATION = 2
LAST_ATTEMPT = 3  # spark.task.maxFailures is 4
ROW = "unit long, kind string, file string, stats string"
ROW_ARROW = pa.schema([("unit", pa.int64()), ("kind", pa.string()), ("file", pa.string()), ("stats", pa.string())])

Unit = TypeVar("Unit")


@dataclass(frozen=True)
class Result:
    """What a unit gives back: figures, a written file, or both; `kind` tells results of one unit apart."""

    kind: str
    file: WrittenFile | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    unit: int = -1


Process = Callable[[int, Any], Iterable[Result]]
RunTasks = Callable[[str, Sequence[Any], Process], list[Result]]  # `run_tasks` for one session


def file_results(kind: str, files: Iterable[WrittenFile], figures: Mapping[str, Any] | None = None) -> Iterator[Result]:
    """Yield a result for each written file; the unit's figures travel with the first, so they are added up once."""
    for place, file in enumerate(files):
        yield Result(kind, file, dict(figures or {}) if place == 0 else {})


def files_of(results: Iterable[Result], kind: str) -> list[WrittenFile]:
    """Return the files of all results of a kind, in their order."""
    return [result.file for result in results if result.kind == kind and result.file]


def run_tasks(
    spark: SparkSession,
    name: str,
    units: Sequence[Unit],
    process: Callable[[int, Unit], Iterable[Result]],
    *,
    progress_s: float = 10.0,
    on_crash: Callable[[int, Unit], Result] | None = None,
    at_once: int | None = None,
) -> list[Result]:
    """Run `process(index, unit)` for every unit and return all results in the order of units.

    At most `at_once` units are at work at the same time, on all machines together; by default one a core.
    `on_crash` makes the result of a unit that crashes even a process of its own; without it InputError is raised.
    Raises the WorldcurateError a unit raised, and RuntimeError with the worker's traceback for a bug.
    """
    if not units:
        return []

    def run_task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        _pass_over_modules()
        for batch in batches:
            for index in batch.column(0).to_pylist():
                rows = [_to_row(index, result) for result in _run_unit(process, index, units[index], on_crash)]
                yield pa.RecordBatch.from_pylist(rows, schema=ROW_ARROW)

    tasks = min(len(units), at_once or len(units))
    frame = spark.range(0, len(units), 1, tasks).mapInArrow(run_task, ROW)
    with _Progress(spark, name, tasks, progress_s):
        rows = frame.collect()
    results = sorted((_from_row(row.asDict()) for row in rows), key=lambda result: result.unit)
    for result in results:
        if result.kind == "error":
            _raise(result.stats)
    return results


@cache
def _pass_over_modules() -> None:
    """Keep what is loaded out of garbage collection, which PySpark asks for after every task: 30 ms each time."""
    gc.freeze()


def _run_unit(process: Process, index: int, unit: Any, on_crash: Any) -> list[Result]:
    context = TaskContext.get()
    attempt = context.attemptNumber() if context else 0
    try:
        if attempt >= CRASHES_BEFORE_ISOLATION:
            return _run_in_child(process, index, unit, on_crash)
        return list(process(index, unit))
    except (InputError, OSError, pa.ArrowException) as error:
        if context is not None and attempt < LAST_ATTEMPT:
            raise  # storage that fails for a moment: Spark tries the unit again
        if isinstance(error, InputError):
            return [Result("error", stats={"class": InputError.__name__, "message": str(error)})]
        message = f"unit {index} ({unit!r:.200}) failed {attempt + 1} times: {first_line(error)}"
        return [Result("error", stats={"class": InputError.__name__, "message": message})]
    except WorldcurateError as error:
        return [Result("error", stats={"class": type(error).__name__, "message": str(error)})]
    except Exception:
        return [Result("error", stats={"class": "", "message": traceback.format_exc()})]


def _run_in_child(process: Process, index: int, unit: Any, on_crash: Any) -> list[Result]:
    """Run a unit where its crash kills nothing else."""
    from pyspark import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "results"
        task = cloudpickle.dumps((process, index, unit))  # type: ignore[no-untyped-call]  # not annotated there
        child = multiprocessing.get_context("spawn").Process(target=_child, args=(task, str(answer)))
        child.start()
        child.join()
        if answer.exists():
            return list(pickle.loads(answer.read_bytes()))  # noqa: S301 - written by our own child
        if on_crash is not None:
            return [on_crash(index, unit)]
        raise InputError(f"unit {index} ({unit!r:.200}) takes its worker process down (exit code {child.exitcode})")


def _child(task: bytes, answer: str) -> None:
    process, index, unit = pickle.loads(task)  # noqa: S301 - written by our own parent
    results = _run_unit(process, index, unit, None)
    partial = Path(answer + ".partial")
    partial.write_bytes(pickle.dumps(results))
    partial.rename(answer)


def _to_row(index: int, result: Result) -> dict[str, Any]:
    file = json.dumps(asdict(result.file)) if result.file else None
    return {"unit": index, "kind": result.kind, "file": file, "stats": json.dumps(result.stats)}


def _from_row(row: dict[str, Any]) -> Result:
    file = WrittenFile(**json.loads(row["file"])) if row["file"] else None
    return Result(row["kind"], file, json.loads(row["stats"]), row["unit"])


def _raise(stats: dict[str, str]) -> None:
    kind = getattr(errors, stats["class"], None) if stats["class"] else None
    if kind is None:
        raise RuntimeError(f"a worker failed:\n{stats['message']}")
    raise kind(stats["message"])


class _Progress(threading.Thread):
    """Shows how many units are done while Spark works: a bar on a terminal, else a line every `seconds`."""

    def __init__(self, spark: SparkSession, name: str, units: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._tracker = spark.sparkContext.statusTracker()
        self._name, self._units, self._seconds = name, units, seconds
        self._stop_asked = threading.Event()

    def run(self) -> None:
        if not sys.stderr.isatty():
            while not self._stop_asked.wait(self._seconds):
                log.info("%s: %d of %d units done", self._name, self._done(), self._units)
            return
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self._name, total=self._units)
            while not self._stop_asked.wait(0.5):
                bar.update(task, completed=self._done())

    def _done(self) -> int:
        stages = [self._tracker.getStageInfo(stage) for stage in self._tracker.getActiveStageIds()]
        return sum(stage.numCompletedTasks for stage in stages if stage)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        self.join()
