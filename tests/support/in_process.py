"""Nights whose tasks run in the test's process, without Spark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs import nightly
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.nights import NIGHT, publish_metadata, run_here, write_night


def without_spark(patch: pytest.MonkeyPatch) -> None:
    """Let contexts run tasks in this process."""
    patch.setattr("jobs.runtime.context.run_tasks", run_here)
    patch.setattr(Context, "spark", SimpleNamespace(conf={}))


@pytest.fixture
def in_process(monkeypatch) -> None:
    """Tasks of this test run in its process."""
    without_spark(monkeypatch)


@pytest.fixture
def new_night(in_process, tmp_path) -> Context:
    """A context over an empty lake with metadata, whose inputs are written."""
    return prepare(tmp_path)


@pytest.fixture(scope="session")
def _night_in_process(tmp_path_factory) -> Context:
    made = prepare(tmp_path_factory.mktemp("night"))
    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        nightly.run(made)
    return made


@pytest.fixture
def night_here(_night_in_process, in_process, tmp_path) -> Context:
    """A context over a copy of a lake in which the night of batch b1 has been run."""
    lake = shutil.copytree(_night_in_process.config.lake, tmp_path / "lake")
    return change(_night_in_process, lake=str(lake))


def prepare(folder: Path) -> Context:
    ingest = {**NIGHT["ingest"], "inputs": write_night(folder / "inputs", 60)}
    made = Context(Config(**{**NIGHT, "lake": str(folder / "lake"), "batch": "b1", "ingest": ingest}), "nightly")
    publish_metadata(made)
    return made


def change(context: Context, *, replace: bool = False, **keys) -> Context:
    """Return a context with other keys; a dictionary changes keys of a section."""
    config = context.config
    update = {
        name: getattr(config, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in keys.items()
    }
    return Context(config.model_copy(update=update), context.name, replace=replace)


def second_night(context: Context, folder: Path, batch: str = "b2", start: int = 1000) -> Context:
    """Run a night of another batch in the same lake; return its context."""
    made = change(context, batch=batch, ingest={"inputs": write_night(folder / batch, 40, start=start)})
    nightly.run(made)
    return made


def files_below(root: str | Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder with its content."""
    for path in sorted(Path(root).rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()
