"""Commands are thin, and whatever crosses from worker to driver has a declared type."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any, get_args

import msgspec
import pytest

import jobs
import jobs.tasks
from jobs.runtime.job import Job
from jobs.runtime.run_tasks import result_type

TASKS = [
    task
    for module in pkgutil.walk_packages(jobs.tasks.__path__, "jobs.tasks.")
    for _, task in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
    if task.__module__ == module.name and "__call__" in vars(task)
]
JOBS = [
    module
    for info in pkgutil.iter_modules(jobs.__path__, "jobs.")
    if not info.ispkg and isinstance(getattr(module := importlib.import_module(info.name), "JOB", None), Job)
]


@pytest.mark.parametrize("module", JOBS, ids=lambda module: module.__name__)
def test_the_run_function_of_a_job_is_under_30_lines(module):
    assert len(inspect.getsource(module.run).splitlines()) < 30


def untyped(kind: Any) -> list[Any]:
    """The parts of a type that say nothing: Any, and dictionaries and lists of Any."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [part for field in msgspec.structs.fields(kind) for part in untyped(field.type)]
    return [kind] if kind in (Any, object, dict, list) else [part for each in get_args(kind) for part in untyped(each)]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.__module__}.{task.__name__}")
def test_a_task_declares_the_type_of_its_result(task):
    kind = result_type(object.__new__(task))
    assert kind is not Any
    assert not untyped(kind)


def test_tasks_and_jobs_are_found():
    assert len(TASKS) >= 15
    assert len(JOBS) >= 9
