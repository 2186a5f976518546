"""Runs one work unit in a worker: an error becomes a result or a new attempt, and crashes are isolated."""

from __future__ import annotations

import json
import logging
import multiprocessing
import pickle
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from inspect import isroutine
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import msgspec
import pyarrow as pa
from pyspark import TaskContext

from curation.errors import DamagedLakeError, InputError, WorldcurateError
from curation.io.failures import first_line, storage_full
from curation.redaction import redact

log = logging.getLogger(__name__)

CRASHES_BEFORE_ISOLATION = 2
BACKOFF_FROM = 2  # attempts that failed before the first one that waits
LAST_ATTEMPT = 3  # spark.task.maxFailures is 4
DESCRIBED_LENGTH = 200  # characters of a work unit in messages

AnyTask = Callable[[int, Any], Any]


class Answer(msgspec.Struct):
    """The answer to a work unit: its encoded result, or an error with the name of its class (empty for a bug)."""

    result: bytes = b""
    error_class: str | None = None
    error: str | None = None


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


def back_off(index: int, unit: Any, backoff_s: float) -> None:
    """Wait before the third and the fourth attempt of a work unit, and log how often it has failed."""
    attempt = _attempt() or 0
    if attempt >= BACKOFF_FROM and backoff_s:
        wait = backoff_s * 2 ** (attempt - BACKOFF_FROM)
        log.warning("work unit %d (%s) failed %d times: next attempt in %g s", index, _described(unit), attempt, wait)
        time.sleep(wait)


def _attempt() -> int | None:
    """Return how often Spark has tried the current task before; None outside Spark."""
    context = TaskContext.get()
    return context.attemptNumber() if context else None


def is_isolated() -> bool:
    """Return whether this process runs one work unit only, which crashed or failed in a worker."""
    return multiprocessing.parent_process() is not None  # Spark forks its workers without this module


def run_unit(task: AnyTask, index: int, unit: Any, on_crash: AnyTask | None) -> Answer:
    """Run a work unit in this process, or in one of its own after two attempts that failed or crashed."""
    attempt = _attempt()
    try:
        if attempt is not None and attempt >= CRASHES_BEFORE_ISOLATION:
            return _run_in_child(task, index, unit, attempt, on_crash)
    except InputError as error:
        return _failure(InputError.__name__, str(error))
    return _run_here(task, index, unit, attempt)


def _run_here(task: AnyTask, index: int, unit: Any, attempt: int | None) -> Answer:
    """Run a work unit. Raises _RetryError for an error that another attempt may not meet, if there is one."""
    try:
        return Answer(encode_result(task(index, unit)))
    except DamagedLakeError as error:  # another attempt would read the same bytes
        return _failure(type(error).__name__, str(error))
    except (InputError, OSError, pa.ArrowException) as error:
        if full := storage_full(error):  # another attempt would fill it again
            return _failure(type(full).__name__, f"{full} (work unit {index}: {_described(unit)})")
        if attempt is not None and attempt < LAST_ATTEMPT:
            # a temporary storage error: Spark logs it and retries the work unit
            raise _RetryError(redact(traceback.format_exc())) from None
        message = f"{error} (it failed {attempt + 1} times)" if attempt else str(error)
        if not isinstance(error, InputError):
            times = f"{attempt + 1} times" if attempt else "once"
            message = f"work unit {index} ({_described(unit)}) failed {times}: {first_line(error)}"
        return _failure(InputError.__name__, message)
    except WorldcurateError as error:
        return _failure(type(error).__name__, str(error))
    except Exception:
        return _failure("", traceback.format_exc())


class _RetryError(Exception):
    """An attempt failed with an error that the next one may not meet; the text is its traceback."""


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


def _run_in_child(task: AnyTask, index: int, unit: Any, attempt: int, on_crash: AnyTask | None) -> Answer:
    """Run a work unit in a process of its own, so that a crash ends nothing else.

    Raises _RetryError as `_run_here` does, and InputError if the process crashes.
    """
    from pyspark import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer"
        work = cloudpickle.dumps((task, index, unit, attempt))  # type: ignore[no-untyped-call]  # not annotated there
        child = multiprocessing.get_context("spawn").Process(target=_child, args=(work, str(path)))
        child.start()
        child.join()
        if path.exists():
            answer = msgspec.msgpack.decode(path.read_bytes(), type=Answer)
            if answer.error_class == _RetryError.__name__:
                raise _RetryError(answer.error)
            return answer
        if on_crash is not None:
            return Answer(encode_result(on_crash(index, unit)))
        raise InputError(
            f"work unit {index} ({_described(unit)}) crashes its worker process (exit code {child.exitcode})"
        )


def _child(work: bytes, path: str) -> None:
    task, index, unit, attempt = pickle.loads(work)  # noqa: S301 - written by our own parent
    try:
        answer = _run_here(task, index, unit, attempt)
    except _RetryError as error:
        answer = Answer(error_class=_RetryError.__name__, error=str(error))
    partial = Path(path + ".partial")
    partial.write_bytes(msgspec.msgpack.encode(answer))
    partial.rename(path)
