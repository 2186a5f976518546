"""Every work unit is one task with one typed result, and work survives whatever kills a worker."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from pyspark import TaskContext

from curation.cli.interruption import Terminated
from curation.errors import InputError, UsageError
from curation.io.backend import FileStat
from curation.lake.files import DataFile, WrittenFile
from curation.occurrence import Counters
from jobs.runtime.run_tasks import run_tasks
from jobs.runtime.work_unit import decode_result, encode_result, is_isolated, result_type, run_unit
from jobs.tasks.images.splits import Slice
from jobs.tasks.ingest.sources import InputFile

pytestmark = pytest.mark.spark


class Typed(msgspec.Struct):
    files: list[WrittenFile]
    counters: Counters
    langs: dict[str, int]
    range: tuple[str, int]
    error: str | None = None


@dataclass(frozen=True)
class TypedTask:
    path: str

    def __call__(self, index: int, unit: str) -> Typed:
        files = [WrittenFile(f"{self.path}/{unit}", index, 1, "0", {"lang": unit})]
        counters = Counters(read=2, kept=1, drops=Counter(empty=1), samples={"empty": ["x"]})
        return Typed(files, counters, Counter(en=index), ("a", 1))


def test_every_unit_is_one_task_and_results_come_in_unit_order(spark):
    def task(index, unit):
        return [TaskContext.get().partitionId(), unit]

    results = run_tasks(spark, "test", ["a", "b", "c", "d", "e"], task)
    assert [unit for _, unit in results] == ["a", "b", "c", "d", "e"]
    assert len({task for task, _ in results}) == 5


def test_a_result_arrives_with_the_type_that_the_task_declares(spark):
    task = TypedTask("p")
    assert run_tasks(spark, "test", ["x", "y"], task) == [task(0, "x"), task(1, "y")]
    assert result_type(task) is Typed


def test_a_result_of_another_type_than_declared_is_refused():
    with pytest.raises(msgspec.ValidationError):
        decode_result(encode_result({"files": "none"}), Typed)


def test_lone_surrogates_travel_in_results_and_do_not_hide_errors(spark):
    def task(index, unit):
        if unit == "bad":
            raise UsageError("cannot read ftp:\ud800")
        return Typed([], Counters(samples={"scheme": ["ftp:\ud800"]}), {"\udfff": 1}, ("\ud800", 1))

    [result] = run_tasks(spark, "test", ["good"], task)
    assert result["counters"]["samples"] == {"scheme": ["ftp:\ud800"]}
    assert decode_result(encode_result(task(0, "good")), Typed) == task(0, "good")
    with pytest.raises(UsageError, match=r"cannot read ftp:\\ud800"):
        run_tasks(spark, "test", ["bad"], task)


def test_without_units_nothing_runs(spark):
    assert run_tasks(spark, "test", [], lambda index, unit: None) == []


def test_a_users_mistake_comes_back_as_itself_with_its_own_line(spark):
    def task(index, unit):
        raise UsageError(f"unit {unit} has no column `url`")

    with pytest.raises(UsageError, match=r"^unit x has no column `url`$"):
        run_tasks(spark, "test", ["x"], task)


def test_a_bug_comes_back_with_the_workers_traceback(spark):
    def task(index, unit):
        return 1 // unit

    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_tasks(spark, "test", [0], task)


def test_a_temporary_storage_error_is_retried_and_a_lasting_one_names_the_unit(spark, tmp_path):
    def task(index, unit):
        mark = Path(unit)
        if not mark.exists():
            mark.touch()
            raise OSError("connection reset")
        return "done"

    def away(index, unit):
        raise OSError("connection reset")

    assert run_tasks(spark, "test", [str(tmp_path / "a")], task) == ["done"]
    with pytest.raises(InputError, match=r"\(x\) failed 4 times: .*connection reset"):
        run_tasks(spark, "test", ["x"], away)


def test_the_third_attempt_waits_and_the_fourth_twice_as_long(spark, tmp_path):
    def task(index, unit):
        with Path(unit).open("a") as file:
            file.write(f"{time.time()}\n")
        raise InputError("the server is away")

    with pytest.raises(InputError, match=r"^the server is away \(it failed 4 times\)$"):
        run_tasks(spark, "test", [str(tmp_path / "times")], task, backoff_s=1.0)
    times = [float(line) for line in (tmp_path / "times").read_text().splitlines()]
    assert len(times) == 4
    assert times[2] - times[1] >= 1.0
    assert times[3] - times[2] >= 2.0


def test_a_worker_killed_once_is_retried_and_counts_once(spark, tmp_path):
    def task(index, unit):
        mark = Path(unit)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return index

    assert run_tasks(spark, "test", [str(tmp_path / name) for name in "ab"], task) == [0, 1]


def test_only_a_unit_that_has_crashed_twice_is_isolated(spark):
    def task(index, unit):
        if unit == "crashes in a worker" and not is_isolated():
            os.kill(os.getpid(), signal.SIGKILL)
        return is_isolated()

    assert run_tasks(spark, "test", ["good"], task) == [False]
    assert run_tasks(spark, "test", ["crashes in a worker"], task) == [True]


def test_a_unit_that_kills_every_worker_is_named_and_the_others_finish(spark):
    def task(index, unit):
        if unit == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return f"done {unit}"

    results = run_tasks(spark, "test", ["good", "poison"], task, on_crash=lambda index, unit: f"crashed {unit}")
    assert results == ["done good", "crashed poison"]
    with pytest.raises(InputError, match="poison"):
        run_tasks(spark, "test", ["poison"], task)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (Slice("l/a.parquet", 3, 9), "rows 3 to 9 of l/a.parquet"),
        ([Slice("l/a.parquet", 0, 9), Slice("l/b.parquet", 0, 2)], "rows 0 to 9 of l/a.parquet and 1 more"),
        (InputFile(FileStat("in/a.gz", 7, "tag")), "in/a.gz"),
        ([DataFile("l/b.parquet", 5, 1, {})], "l/b.parquet"),
        ("bucket", "bucket"),
        (3, "3"),
    ],
)
def test_a_full_disk_ends_the_stage_at_once_and_the_work_unit_is_named_in_words(unit, words):
    def task(index, unit):
        raise OSError(errno.ENOSPC, "no room", "l/c.parquet")

    answer = run_unit(task, 4, unit, None)
    assert answer.error_class == "StorageFullError"
    assert answer.error == (
        f"cannot write l/c.parquet: No space left on device: make room, then run again (work unit 4: {words})"
    )


@pytest.mark.parametrize("after", [None, OSError("the connection is gone")])
def test_spark_says_nothing_more_after_an_interruption_even_if_its_connection_fails_too(spark, monkeypatch, after):
    def collect(_):
        try:
            raise Terminated
        finally:
            if after:
                raise after

    silenced = []
    monkeypatch.setattr(type(spark.range(1)), "collect", collect)
    monkeypatch.setattr("jobs.runtime.run_tasks.silence", silenced.append)
    with pytest.raises(type(after) if after else Terminated):
        run_tasks(spark, "test", ["x"], TypedTask("p"))
    assert silenced == [spark]
