"""A lake is created only by build_metadata or on request; a misspelt path is an error and creates nothing."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import uuid

import pytest

import jobs
from curation.cli.command import Command
from curation.cli.settings import load_config
from curation.errors import UsageError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from support.nights import publish_metadata
from training.config import TrainConfig
from training.distributed import World
from training.train import train

MODULES = [
    importlib.import_module(f"jobs.{info.name}") for info in pkgutil.iter_modules(jobs.__path__) if not info.ispkg
]
READERS = [
    module
    for module in MODULES
    if (isinstance(job := getattr(module, "JOB", None), Job) and "lake" in job.required and not job.creates_lake)
    or (isinstance(command := getattr(module, "COMMAND", None), Command) and "lake" in command.required)
]
OPTIONS = {
    "explain": ["--text", "x"],
    "compare": ["--recipes", "a"],
    "export": ["--format", "jsonl", "--output", "s3://exports/a"],
    "rebalance": ["--from_recipe", "a"],
    "takedown": ["--image_id", "0" * 24, "--reason", "test"],
}


pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("module", READERS, ids=lambda module: module.__name__)
def test_a_command_refuses_a_path_without_a_lake_and_leaves_it_alone(module, tmp_path, capsys, exists):
    lake, name = tmp_path / "laek", module.__name__.rpartition(".")[2]
    if exists:
        lake.mkdir()
    arguments = ["--lake", str(lake), "--batch", "b", "--ingest.inputs", __file__, *OPTIONS.get(name, [])]
    code = main(module.__name__, arguments) if hasattr(module, "JOB") else module.main(arguments)
    said = capsys.readouterr().err.splitlines()[-1]
    assert (code, said.startswith(f"error: lake: there is no lake at {lake}: correct the path")) == (2, True), said
    assert list(tmp_path.rglob("*")) == ([lake] if exists else [])


def test_a_relative_path_without_a_lake_is_shown_as_an_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"there is no lake at {tmp_path}/laek: "):
        Context(Config(lake="laek"), "test").lake  # noqa: B018 - opens it


def test_the_trainer_refuses_a_path_without_a_lake(tmp_path):
    config = TrainConfig(lake=str(tmp_path / "laek"), output=str(tmp_path / "out"), steps=1)
    with pytest.raises(UsageError, match="there is no lake at"):
        train(config, World(0, 1, None))
    assert not (tmp_path / "laek").exists()


def test_the_option_create_and_build_metadata_create_a_lake(tmp_path):
    config = load_config(Config, ["--lake", str(tmp_path / "lake"), "--create"], prog="x", description="")
    assert Context(config, "test").lake.exists()
    assert Context(config.model_copy(update={"create": False}), "test").lake.root == str(tmp_path / "lake")
    assert importlib.import_module("jobs.build_metadata").JOB.creates_lake
    assert main("jobs.build_metadata", ["--lake", str(tmp_path / "other"), "--metadata.languages", "xx"]) == 2
    assert not (tmp_path / "other").exists(), "a build that is refused creates nothing"


@pytest.mark.parametrize("first", ["metadata", "table"])
def test_a_lake_of_an_earlier_version_is_opened_without_a_marker(tmp_path, first):
    made = Context(Config(lake=str(tmp_path / "lake"), create=True), "test")
    if first == "metadata":
        publish_metadata(made)
    else:
        made.lake.append("tombstones", made.lake.rows("tombstones"))
    (tmp_path / "lake" / "lake.json").unlink()
    assert Context(made.config.model_copy(update={"create": False}), "test").lake.exists()
    shutil.rmtree(tmp_path / "lake")
    with pytest.raises(UsageError, match="there is no lake"):
        Lake(made.config.lake, Storage()).check_exists()


def test_a_lake_on_s3_exists_when_it_was_created(s3):
    lake = Lake(f"s3://lake/{uuid.uuid4().hex}", Storage())
    Storage().write_bytes(f"{lake.root}/other/file", b"x")
    with pytest.raises(UsageError, match=f"there is no lake at {lake.root}"):
        lake.check_exists()
    lake.create()
    lake.create()
    lake.check_exists()
    assert lake.batches() == []
