"""One Spark session for the whole run, and contexts over a lake of their own."""

from __future__ import annotations

import shutil

import pytest

from jobs import nightly
from jobs.runtime import session
from jobs.runtime.config import Config, SparkSection
from jobs.runtime.context import Context
from support.nights import NIGHT, publish_metadata, write_night


@pytest.fixture(scope="session")
def spark(tls_folder):
    conf = {"spark.executorEnv.SSL_CERT_FILE": str(tls_folder / "cert.pem")}
    running = session.start("tests", SparkSection(master="local[2]", conf=conf))
    yield running
    running.stop()


@pytest.fixture
def context(spark, tmp_path):
    """Make a context over a lake of its own; keys are given as a nested dictionary."""

    def make(name: str = "test", **keys) -> Context:
        return Context(Config(**{"lake": str(tmp_path / "lake"), "create": True, "batch": "b1", **keys}), name)

    return make


@pytest.fixture
def night(context, tmp_path):
    """Make a context whose night is ready to run: metadata published, inputs written."""

    def make(images: int = 120, **keys) -> Context:
        inputs = write_night(tmp_path / "inputs", images)
        merged = {**NIGHT, **keys, "ingest": {**NIGHT["ingest"], "inputs": inputs, **keys.get("ingest", {})}}
        made = context("nightly", **merged)
        publish_metadata(made)
        return made

    return make


@pytest.fixture(scope="session")
def _first_night(spark, tmp_path_factory) -> Context:
    folder = tmp_path_factory.mktemp("first-night")
    ingest = {**NIGHT["ingest"], "inputs": write_night(folder / "inputs", 120)}
    made = Context(
        Config(**{**NIGHT, "lake": str(folder / "lake"), "create": True, "batch": "b1", "ingest": ingest}), "nightly"
    )
    publish_metadata(made)
    nightly.run(made)
    return made


@pytest.fixture
def night_done(_first_night, tmp_path) -> Context:
    """A context over a lake of its own in which the night of batch b1 has been run: a copy, to do anything with."""
    lake = shutil.copytree(_first_night.config.lake, tmp_path / "lake")
    return Context(_first_night.config.model_copy(update={"lake": str(lake)}), "nightly")
