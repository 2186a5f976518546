"""Failures of Spark itself end a job with a line and an exit code that allow another run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from py4j.protocol import Py4JNetworkError
from pyspark.errors import PySparkException

from curation.errors import LostSparkError, StorageFullError
from jobs.runtime.lost_spark import lost_spark, named_loss

ABORTED = """org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, most
recent failure: Lost task 0.3: ExecutorLostFailure (executor 3 exited caused by one of the running tasks) Reason: lost
Driver stacktrace:"""
# Asks Spark for work whose first task kills the JVM.
KILLED_JVM = """
import os, signal, sys
from curation.cli.run import run_command
from jobs.runtime.config import SparkSection
from jobs.runtime.run_tasks import run_tasks
from jobs.runtime.session import start

def main(_):
    spark = start("test", SparkSection(master="local[1]"))
    jvm = spark.sparkContext._gateway.proc.pid
    if sys.argv[1] == "before its first work":
        os.kill(jvm, signal.SIGKILL)
        spark.sparkContext._gateway.proc.wait()
    run_tasks(spark, "test", [jvm], lambda _, pid: os.kill(pid, signal.SIGKILL))

sys.exit(run_command(main, []))
"""


def test_lost_processes_are_no_bug():
    for error in (
        PySparkException(ABORTED),
        Py4JNetworkError("Answer from Java side is empty"),
        ConnectionRefusedError(111, "x"),
    ):
        lost = lost_spark(error)
        assert isinstance(lost, LostSparkError)
        assert str(lost).startswith("spark: ")
        assert "\n" not in str(lost)


def test_a_full_disk_of_spark_asks_for_room():
    assert isinstance(lost_spark(PySparkException("java.io.IOException: No space left on device")), StorageFullError)


@pytest.mark.parametrize(
    "error", [PySparkException("NullPointerException"), ValueError("Connection reset"), KeyError("x")]
)
def test_other_errors_are_bugs(error):
    assert lost_spark(error) is None


def fail_on_the_way_out() -> None:
    try:
        raise KeyboardInterrupt
    finally:
        raise Py4JNetworkError("Error while sending or receiving")


def test_what_an_interruption_led_to_is_no_loss():
    with pytest.raises(Py4JNetworkError), named_loss():
        fail_on_the_way_out()


@pytest.mark.parametrize("when", ["at work", "before its first work"])
def test_a_job_whose_jvm_is_killed_says_so_in_one_line(when):
    done = subprocess.run([sys.executable, "-c", KILLED_JVM, when], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == LostSparkError.exit_code, done.stderr
    assert [error[:14] for error in errors] == ["error: spark: "], done.stderr
