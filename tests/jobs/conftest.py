"""One Spark session for the whole run, and the config jobs are tested with."""

from __future__ import annotations

import pytest

from curation.config import Config, SparkSection
from jobs import session
from jobs.runner import Context


@pytest.fixture(scope="session")
def spark():
    running = session.start("tests", SparkSection(master="local[2]"))
    yield running
    running.stop()


@pytest.fixture
def context(spark, tmp_path):
    """Make a context over a lake of its own; keys are given as a nested dictionary."""

    def make(name: str = "test", **keys) -> Context:
        return Context(Config(**{"lake": str(tmp_path / "lake"), "batch": "b1", **keys}), name)

    return make
