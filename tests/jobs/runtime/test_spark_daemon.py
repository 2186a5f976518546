from __future__ import annotations

import pytest

from jobs.runtime.spark_daemon import print_exception


@pytest.mark.parametrize(
    ("error", "printed"), [(BrokenPipeError(), False), (ConnectionResetError(), False), (ValueError("odd"), True)]
)
def test_only_lost_connections_are_not_printed(capsys, error, printed):
    try:
        raise error
    except Exception:
        print_exception()
    assert ("Traceback" in capsys.readouterr().err) is printed


@pytest.mark.spark
def test_workers_come_from_this_daemon(spark):
    assert spark.conf.get("spark.python.daemon.module") == "jobs.runtime.spark_daemon"

    def parent(_):
        import os
        from pathlib import Path

        yield Path(f"/proc/{os.getppid()}/cmdline").read_text().split("\0")

    assert "jobs.runtime.spark_daemon" in spark.sparkContext.parallelize([0], 1).mapPartitions(parent).collect()[0]
