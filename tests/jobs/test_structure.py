"""Commands are thin, and whatever crosses from worker to driver has a declared type."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

import jobs
import jobs.tasks
from jobs.runtime.job import Job
from jobs.runtime.work_unit import result_type

MODELS = "jobs.tasks.models."  # called by tasks; their results stay in the worker
TASKS = [
    task
    for module in pkgutil.walk_packages(jobs.tasks.__path__, "jobs.tasks.")
    for _, task in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
    if task.__module__ == module.name and "__call__" in vars(task) and not task.__module__.startswith(MODELS)
]
# What a task returns when its process crashed.
CRASH_RESULTS = [
    function
    for module in pkgutil.walk_packages(jobs.tasks.__path__, "jobs.tasks.")
    for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)
    if function.__module__ == module.name and name == "crashed"
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
    if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)):
        return [part for field in get_type_hints(kind).values() for part in untyped(field)]
    return [kind] if kind in (Any, object, dict, list) else [part for each in get_args(kind) for part in untyped(each)]


def test_data_classes_and_structs_are_searched_for_untyped_parts():
    inner = dataclasses.make_dataclass("Inner", [("drops", dict[str, Any])])
    outer = msgspec.defstruct("Outer", [("inners", list[inner]), ("name", str | None)])
    assert untyped(outer) == [Any]
    assert not untyped(msgspec.defstruct("Typed", [("counts", dict[str, int])]))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.__module__}.{task.__name__}")
def test_a_task_declares_the_type_of_its_result(task):
    kind = result_type(object.__new__(task))
    assert kind is not Any
    assert not untyped(kind)


@pytest.mark.parametrize("function", CRASH_RESULTS, ids=lambda function: function.__module__)
def test_a_crash_has_the_same_type_of_result_as_the_task(function):
    results = {result_type(object.__new__(task)) for task in TASKS if task.__module__ == function.__module__}
    assert result_type(function) in results


def test_tasks_and_jobs_are_found():
    assert len(TASKS) >= 15
    assert len(JOBS) >= 9
    assert len(CRASH_RESULTS) >= 2
