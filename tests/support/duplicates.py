"""Two nights of pictures, some of them copies of others or similar to them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import nightly
from jobs.runtime.context import Context
from jobs.runtime.runs import Outcome
from support.in_process import change, prepare, without_spark
from support.nights import ENTRIES, TEXTS, picture, publish_entries

ON = {"exact": True, "near_radius": 4}


def similar(number: int) -> bytes:
    """The picture of a number, larger and with other bytes."""
    image = Image.open(io.BytesIO(picture(number)))
    stored = io.BytesIO()
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC).save(stored, "PNG")
    return stored.getvalue()


FIRST = {f"{n}.png": picture(n) for n in range(20)}
COPIES = {"copy0.png": picture(0), "copy1.png": picture(1), "again1.png": picture(1)}
SIMILAR = {"large2.png": similar(2), "large3.png": similar(3)}
SECOND = {
    "copy4.png": picture(4),
    "large5.png": similar(5),
    "copy50.png": picture(50),
    **{f"{n}.png": picture(n) for n in range(50, 60)},
}


def first_night(folder: Path, dedup: Mapping[str, Any]) -> Context:
    """Return the context of batch b1 with `FIRST`, `COPIES`, `SIMILAR` and a file that is no picture."""
    inputs = write_pictures(folder / "b1", {**FIRST, **COPIES, **SIMILAR, "bad.png": b"none"})
    return change(prepare(folder), ingest={"inputs": inputs}, balance={"selection": "all"}, dedup=dict(dedup))


def second_night(first: Context, folder: Path) -> Context:
    """Return the context of batch b2 with `SECOND`."""
    return change(first, batch="b2", ingest={"inputs": write_pictures(folder / "b2", SECOND)})


def write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> list[str]:
    """Write pictures by name, and a JSONL file that refers to them; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (name, data) in enumerate(pictures.items()):
        (folder / name).write_bytes(data)
        lines.append(json.dumps({"url": None, "ref": str(folder / name), "text": [TEXTS[number % 3]]}))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return [str(folder / "rows.jsonl")]


def run_night(context: Context) -> dict[str, Outcome]:
    """Run the night of a context; return the outcomes by stage."""
    return {outcome.stage: outcome for outcome in nightly.run(context)}


@pytest.fixture(scope="session")
def nights_run(tmp_path_factory) -> tuple[Context, Context, tuple[dict[str, Outcome], dict[str, Outcome]]]:
    """The contexts of two nights with duplicates, and the outcomes of each."""
    folder = tmp_path_factory.mktemp("duplicates")
    first = first_night(folder, ON)
    publish_entries(first, ENTRIES)
    second = second_night(first, folder)
    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        return first, second, (run_night(first), run_night(second))


@pytest.fixture
def nights(nights_run, in_process, tmp_path) -> list[Context]:
    """The contexts of two nights with duplicates, over a copy of their lake."""
    lake = shutil.copytree(nights_run[0].config.lake, tmp_path / "lake")
    return [change(context, lake=str(lake)) for context in nights_run[:2]]


def rows(context: Context, table: str) -> list[dict[str, Any]]:
    """The rows of a table in the partition of a context."""
    files = context.lake.snapshot(table, {"recipe": "default", "batch": context.batch}).files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def name_of(context: Context) -> dict[str, str]:
    """The name of each image's file, by id, in all batches."""
    files = context.lake.snapshot("pairs").files
    pairs = [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]
    return {row["image_id"]: row["image_ref"].rpartition("/")[2] for row in pairs}


def removed(context: Context) -> dict[str, tuple[str, str]]:
    """By the name of each duplicate, the reason and the name of the image that is kept."""
    names = name_of(context)
    found = [row for row in rows(context, "duplicates") if row["reason"] != "benchmark"]
    return {names[row["image_id"]]: (row["reason"], names[row["duplicate_of"]]) for row in found}


def in_shards(context: Context) -> set[str]:
    """The names of the images in the shards."""
    names = name_of(context)
    return {names[row["image_id"]] for row in rows(context, "shards")}
