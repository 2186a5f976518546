"""The sink runs a unit a task, brings every result back once, and survives what kills a worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from pyspark import TaskContext

from curation.errors import InputError, UsageError
from jobs.runtime.run_tasks import Result, run_tasks

pytestmark = pytest.mark.spark


def test_every_unit_is_one_task_and_results_come_in_unit_order(spark):
    def process(index, unit):
        yield Result("task", stats={"task": TaskContext.get().partitionId(), "unit": unit})
        yield Result("second")

    results = run_tasks(spark, "test", ["a", "b", "c", "d", "e"], process)
    tasks = [result for result in results if result.kind == "task"]
    assert [result.stats["unit"] for result in tasks] == ["a", "b", "c", "d", "e"]
    assert len({result.stats["task"] for result in tasks}) == 5
    assert [result.unit for result in results if result.kind == "second"] == [0, 1, 2, 3, 4]


def test_without_units_nothing_runs(spark):
    assert run_tasks(spark, "test", [], lambda index, unit: []) == []


def test_a_users_mistake_comes_back_as_itself_with_its_own_line(spark):
    def process(index, unit):
        raise UsageError(f"unit {unit} has no column `url`")

    with pytest.raises(UsageError, match=r"^unit x has no column `url`$"):
        run_tasks(spark, "test", ["x"], process)


def test_a_bug_comes_back_with_the_workers_traceback(spark):
    def process(index, unit):
        return [Result("never")] * (1 // unit)

    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_tasks(spark, "test", [0], process)


def test_storage_that_fails_for_a_moment_is_tried_again_and_named_when_it_stays_away(spark, tmp_path):
    def process(index, unit):
        mark = Path(unit)
        if not mark.exists():
            mark.touch()
            raise OSError("connection reset")
        yield Result("done")

    def away(index, unit):
        raise OSError("connection reset")

    assert [r.kind for r in run_tasks(spark, "test", [str(tmp_path / "a")], process)] == ["done"]
    with pytest.raises(InputError, match=r"'x'.*connection reset"):
        run_tasks(spark, "test", ["x"], away)


def test_a_worker_killed_once_is_retried_and_counts_once(spark, tmp_path):
    def process(index, unit):
        mark = Path(unit)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield Result("done", stats={"unit": index})

    units = [str(tmp_path / name) for name in "ab"]
    assert [r.stats["unit"] for r in run_tasks(spark, "test", units, process)] == [0, 1]


def test_a_unit_that_kills_every_worker_is_named_and_the_others_finish(spark):
    def process(index, unit):
        if unit == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        yield Result("done", stats={"unit": unit})

    def on_crash(index, unit):
        return Result("crashed", stats={"unit": unit})

    results = run_tasks(spark, "test", ["good", "poison"], process, on_crash=on_crash)
    assert [(r.kind, r.stats["unit"]) for r in results] == [("done", "good"), ("crashed", "poison")]
    with pytest.raises(InputError, match="poison"):
        run_tasks(spark, "test", ["poison"], process)
