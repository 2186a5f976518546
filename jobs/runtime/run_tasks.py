"""Run a task function over work units on Spark: one Spark task per work unit, one result per work unit.

A task reads and writes files itself and returns one small typed result. A single `collect()` ends the Spark job, so a
retried or speculative task can leave only files that no commit refers to; `gc` removes them. A user's error travels
back as a result and ends the stage with its own message. A work unit that crashes its worker process twice is run in a
child process, so that one bad input is named instead of failing the job.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import pickle
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from inspect import isroutine
from pathlib import Path
from typing import Any, Self, TypeVar, get_origin, get_type_hints

import msgspec
import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # it has no types
from pyspark import TaskContext
from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from curation import errors
from curation.cli.interruption import interruption_of
from curation.cli.log import shows_progress_bar
from curation.cli.progress import describe_progress
from curation.errors import DamagedLakeError, InputError, WorldcurateError
from curation.io.failures import first_line, storage_full
from curation.redaction import redact, redact_logs
from jobs.runtime.session import silence

log = logging.getLogger(__name__)

CRASHES_BEFORE_ISOLATION = 2
LAST_ATTEMPT = 3  # spark.task.maxFailures is 4
DESCRIBED_LENGTH = 200  # characters of a work unit in messages
ROW = "unit long, result binary, error_class string, error string"
ROW_ARROW = pa.schema(
    [("unit", pa.int64()), ("result", pa.binary()), ("error_class", pa.string()), ("error", pa.string())]
)

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Task = Callable[[int, Unit], Result]


class Answer(msgspec.Struct):
    """The answer to a work unit: its encoded result, or an error with the name of its class (empty for a bug)."""

    result: bytes = b""
    error_class: str | None = None
    error: str | None = None


def run_tasks(
    spark: SparkSession,
    name: str,
    units: Sequence[Unit],
    task: Task[Unit, Result],
    *,
    progress_s: float = 10.0,
    on_crash: Task[Unit, Result] | None = None,
    at_once: int | None = None,
) -> list[Result]:
    """Run `task(index, unit)` for every work unit and return the results in the order of the units.

    Results are sent as JSON and decoded to the return type that the task declares. At most `at_once` work units
    run at the same time, on all machines together; the default is one per core. `on_crash` makes the result of a work
    unit that crashes even a process of its own; without it InputError is raised. Raises the WorldcurateError that a
    task raised, and RuntimeError with the worker's traceback for a bug.
    """
    if not units:
        return []

    def run_task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        _prepare_process()
        for batch in batches:
            for index in batch.column(0).to_pylist():
                answer = msgspec.structs.asdict(_run_unit(task, index, units[index], on_crash))
                yield pa.RecordBatch.from_pylist([{"unit": index, **answer}], schema=ROW_ARROW)

    tasks = min(len(units), at_once or len(units))
    frame = spark.range(0, len(units), 1, tasks).mapInArrow(run_task, ROW)
    with _Progress(spark, name, tasks, progress_s):
        try:
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


def result_type(task: Callable[..., Any]) -> Any:
    """Return the type that a task declares to return; Any if it declares none."""
    function = task if isroutine(task) else type(task).__call__
    return get_type_hints(function).get("return", Any)


def encode_result(result: Any) -> bytes:
    """Encode a task's result: structs, data classes and plain data.

    The format is JSON in ASCII, because samples of dropped records may contain lone surrogates, which UTF-8 cannot.
    """
    return json.dumps(msgspec.to_builtins(result)).encode("ascii")


def decode_result(data: bytes, kind: Any) -> Any:
    """Decode a task's result to the type that the task declares."""
    return msgspec.convert(json.loads(data), kind, dec_hook=_decode_counter)


def _decode_counter(kind: Any, value: Any) -> Any:
    """Decode a `Counter`, which is encoded as a dictionary."""
    if (get_origin(kind) or kind) is Counter:
        return Counter(value)
    raise NotImplementedError(f"results of type {kind}")


@cache
def _prepare_process() -> None:
    """Redact the logs of a worker, and exclude loaded modules from garbage collection.

    PySpark collects after every task, which took 30 ms each time.
    """
    redact_logs()
    gc.freeze()


def _run_unit(task: Task[Any, Any], index: int, unit: Any, on_crash: Task[Any, Any] | None) -> Answer:
    context = TaskContext.get()
    attempt = context.attemptNumber() if context else 0
    try:
        if attempt >= CRASHES_BEFORE_ISOLATION:
            return _run_in_child(task, index, unit, on_crash)
        return Answer(encode_result(task(index, unit)))
    except DamagedLakeError as error:  # another attempt would read the same bytes
        return _failure(type(error).__name__, str(error))
    except (InputError, OSError, pa.ArrowException) as error:
        if full := storage_full(error):  # another attempt would fill it again
            return _failure(type(full).__name__, f"{full} (work unit {index}: {_described(unit)})")
        if context is not None and attempt < LAST_ATTEMPT:
            # a temporary storage error: Spark logs it and retries the work unit
            raise InputError(redact(traceback.format_exc())) from None
        message = str(error)
        if not isinstance(error, InputError):
            times = "once" if attempt == 0 else f"{attempt + 1} times"
            message = f"work unit {index} ({_described(unit)}) failed {times}: {first_line(error)}"
        return _failure(InputError.__name__, message)
    except WorldcurateError as error:
        return _failure(type(error).__name__, str(error))
    except Exception:
        return _failure("", traceback.format_exc())


def _described(unit: Any) -> str:
    """Return the start of a work unit's text; secrets are removed first, as a part of one is not recognized."""
    return redact(_in_words(unit))[:DESCRIBED_LENGTH]


def _in_words(unit: Any) -> str:
    """Return a text for a work unit: its own, its path, or that of the first of several units and their number."""
    if type(unit).__str__ is object.__str__:  # type: ignore[comparison-overlap]  # it is, if not defined
        if path := getattr(unit, "path", None):
            return str(path)
        if isinstance(unit, list | tuple) and unit:
            return f"{_in_words(unit[0])} and {len(unit) - 1} more" if len(unit) > 1 else _in_words(unit[0])
    return str(unit)


def _failure(error_class: str, message: str) -> Answer:
    """Return the answer of a failed work unit, without secrets; lone surrogates in the message are escaped."""
    return Answer(error_class=error_class, error=redact(message).encode("utf-8", "backslashreplace").decode())


def _run_in_child(task: Task[Any, Any], index: int, unit: Any, on_crash: Task[Any, Any] | None) -> Answer:
    """Run a work unit in a process of its own, so that a crash ends nothing else."""
    from pyspark import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer"
        work = cloudpickle.dumps((task, index, unit))  # type: ignore[no-untyped-call]  # not annotated there
        child = multiprocessing.get_context("spawn").Process(target=_child, args=(work, str(path)))
        child.start()
        child.join()
        if path.exists():
            return msgspec.msgpack.decode(path.read_bytes(), type=Answer)
        if on_crash is not None:
            return Answer(encode_result(on_crash(index, unit)))
        raise InputError(
            f"work unit {index} ({_described(unit)}) crashes its worker process (exit code {child.exitcode})"
        )


def _child(work: bytes, path: str) -> None:
    task, index, unit = pickle.loads(work)  # noqa: S301 - written by our own parent
    partial = Path(path + ".partial")
    partial.write_bytes(msgspec.msgpack.encode(_run_unit(task, index, unit, None)))
    partial.rename(path)


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
