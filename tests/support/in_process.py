"""Nights whose tasks run in the test's process, without Spark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs import nightly
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.loopback import Loopback, file_server, serving
from support.nights import NIGHT, TEXTS, picture, publish_metadata, run_here, write_night


def without_spark(patch: pytest.MonkeyPatch) -> None:
    """Let contexts run tasks in this process."""
    patch.setattr("jobs.runtime.context.run_tasks", run_here)
    patch.setattr(Context, "spark", SimpleNamespace(conf={}, sparkContext=SimpleNamespace(defaultParallelism=2)))


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


IMAGES = 50


@pytest.fixture(scope="session")
def _site() -> Iterator[Loopback]:
    with serving(file_server({f"/{n}.png": picture(n) for n in range(2 * IMAGES) if n % 7})) as server:
        yield server


@pytest.fixture
def site(_site) -> Loopback:
    """A server of pictures that has had no request; every seventh picture is missing."""
    _site.requests.clear()
    return _site


@pytest.fixture
def crawl(site, in_process, tmp_path) -> Context:
    """A context whose night has images on the server."""
    return prepare_crawl(tmp_path, site)


@pytest.fixture(scope="session")
def _crawled(_site, tmp_path_factory) -> list[Context]:
    folder = tmp_path_factory.mktemp("crawled")
    first = prepare_crawl(folder, _site)
    inputs = [write_crawl(folder / "b2.jsonl", _site, range(IMAGES, 2 * IMAGES))]
    contexts = [first, change(first, batch="b2", ingest={"inputs": inputs})]
    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        for context in contexts:
            nightly.run(context)
    return contexts


@pytest.fixture
def crawled(_crawled, site, in_process, tmp_path) -> list[Context]:
    """Contexts of batches b1, with images 0 to 49, and b2, with 50 to 99, whose nights have been run."""
    lake = shutil.copytree(_crawled[0].config.lake, tmp_path / "lake")
    return [change(context, lake=str(lake)) for context in _crawled]


def prepare_crawl(folder: Path, site: Loopback) -> Context:
    images = {"allow_private_hosts": [site.url.removeprefix("http://")], "shard_bytes": 8000, "retries": 0}
    inputs = [write_crawl(folder / "crawl.jsonl", site, range(IMAGES))]
    # every image is kept: which ones a lower threshold draws depends on their ids, and so on the server's port
    balance = {"t_en": 1000}
    return change(prepare(folder), ingest={"inputs": inputs, "ref_column": None}, images=images, balance=balance)


def write_crawl(path: Path, site: Loopback, numbers: Iterable[int]) -> str:
    """Write a JSONL file with images of the server and two texts for each."""
    rows = [
        {"url": f"{site.url}/{n}.png", "text": [TEXTS[n * n % len(TEXTS)], f"{TEXTS[(n + 3) % len(TEXTS)]} {n}"]}
        for n in numbers
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


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
