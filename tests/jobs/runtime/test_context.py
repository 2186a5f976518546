from __future__ import annotations

from jobs.runtime.config import Config
from jobs.runtime.context import Context


def test_a_job_without_work_units_does_not_start_spark():
    context = Context(Config(spark={"master": "no such master"}), "test")
    assert context.run_tasks("nothing", [], lambda index, unit: None) == []
    assert "spark" not in vars(context)
