"""Measure how fast shards are written, compacted, verified and exported on one core, and in how much memory.

Two batches are made, the second four times as large as the first: pictures of 256 x 192 pixels as JPEG with noise,
with their curated rows. Each stage runs over the first in this process, without Spark, beside a plain loop that does
the same to the same rows without checksums, bounds and receipts, and beside the least work: to read the rows with
pyarrow, write as many bytes and hash them. All are measured in CPU time. Then each stage runs over either batch in a
process of its own, whose peak of memory is printed: it does not grow with the batch.

    python benchmarks/bench_shards.py [--tiny]
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import REPEATS, ROOT, run, scaled, table
from PIL import Image
from shard_loops import LOOPS, Inputs, read

from curation.hashing import order_hash
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS
from jobs.compact import CompactStage
from jobs.export import ExportOptions, run_export
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.tasks.images.shards_stage import ShardsStage
from jobs.tasks.verify.pictures import check_pictures
from jobs.tasks.verify.tables import check_tables

ROWS, TIMES = scaled(3_000, 120), 4
SHARD_BYTES = scaled(16 << 20, 400_000)
PICTURES = scaled(100, 10)  # different ones, more than a page of Parquet holds
FORMATS = ("webdataset", "hf", "jsonl")
MEGABYTE = 1e6


class Here(Context):
    """A context whose tasks run in this process."""

    def run_tasks(self, _: str, units: Sequence[Any], task: Callable[[int, Any], Any], **__: Any) -> list[Any]:
        """Run the tasks one after another."""
        return [task(index, unit) for index, unit in enumerate(units)]


def context_of(lake: str) -> Here:
    """Return the context of a lake."""
    config = Config(
        lake=lake,
        batch="b1",
        images={"shard_bytes": SHARD_BYTES, "assumed_image_bytes": 24 << 10},
        compact={"shard_bytes": SHARD_BYTES},
    )
    return Here(config, "bench_shards")


def make_lake(folder: Path, rows: int) -> str:
    """Publish the curated rows and the images of a batch, and its shards; return the lake."""
    context = Here(Config(lake=str(folder), batch="b1", create=True), "bench_shards")
    context.lake.freeze_recipe("default", {"seed": 0, "selection": "drawn"})
    pictures = [_picture(seed) for seed in range(PICTURES)]
    ids = sorted((f"{number:024x}" for number in range(rows)), key=lambda each: order_hash(0, each))
    texts = [f"a text of about the usual length, number {number} of many" for number in range(rows)]
    curated = {
        "image_id": ids,
        "image_url": [f"https://example.org/{each}.jpg" for each in ids],
        "source": ["alt"] * rows,
        "text": texts,
        "lang": ["en"] * rows,
        "entry_ids": [[number % 1000] for number in range(rows)],
        "keep_probability": [1.0] * rows,
    }
    _publish(context.lake, "curated", curated, rows)
    images = {
        "bucket": [0] * rows,
        "image_id": ids,
        "status": ["ok"] * rows,
        "image": [pictures[number % PICTURES] + number.to_bytes(8) for number in range(rows)],  # all differ
        "width": [256] * rows,
        "height": [192] * rows,
    }
    per_bucket = max(1, SHARD_BYTES // (24 << 10))
    _publish(context.lake, "images", images, per_bucket)
    ShardsStage(context_of(str(folder))).run()
    return str(folder)


def _picture(seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 9, (192, 256, 3)) + np.linspace(40, 200, 256)[None, :, None]
    sink = io.BytesIO()
    Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def _publish(lake: Lake, name: str, columns: dict[str, list[Any]], rows_per_file: int) -> None:
    """Publish rows as files of some rows each, numbered like the parts of a fetch."""
    rows, written = len(columns["image_id"]), []
    for ordinal, start in enumerate(range(0, rows, rows_per_file)):
        part = {key: values[start : start + rows_per_file] for key, values in columns.items()}
        size = len(part["image_id"])
        arrays = [pa.array(part.get(field.name, [None] * size), field.type) for field in SCHEMAS[name]]
        folder = "recipe=default/batch=b1/20260101T000000-made"
        with PartitionWriter(lake.storage, lake.layout.table(name), folder, ordinal, SCHEMAS[name]) as writer:
            writer.write(pa.Table.from_arrays(arrays, schema=SCHEMAS[name]))
        written += writer.files
    partition = {"recipe": "default", "batch": "b1"}
    lake.publish(name, partition, written, expected=(), metadata={"run_id": "20260101T000000-made"})


# Our stages


def write_shards(context: Here, _: Path) -> None:
    """Join curated rows and images into shards."""
    stage = ShardsStage(context)
    stage.execute(stage._new_run())


def compact(context: Here, _: Path) -> None:
    """Shuffle the shards into a dataset."""
    stage = CompactStage(context)
    run = stage._new_run()
    stage.execute(run)
    run.remove_staging()


def verify(context: Here, _: Path) -> None:
    """Read and check every file."""
    assert not [problem for problem in check_tables(context, read=True).problems if problem.table == "shards"]


def decode(context: Here, _: Path) -> None:
    """Decode every picture."""
    assert not check_pictures(context, context.lake.snapshot("shards").files, 1.0)[1]


def export_as(name: str) -> Callable[[Here, Path], None]:
    """Return the export in a format."""

    def export(context: Here, folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as output:
            run_export(context, ExportOptions(format=name, output=f"{output}/out", shard_bytes=SHARD_BYTES))

    return export


STAGES: dict[str, Callable[[Here, Path], None]] = {
    "write shards": write_shards,
    "compact": compact,
    "verify": verify,
    "verify --decode 1": decode,
    **{f"export {name}": export_as(name) for name in FORMATS},
}


def cpu_seconds(work: Callable[[], None]) -> float:
    """Return the CPU time of some work in this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_speed(lake: str, folder: Path) -> None:
    """Print MB of shards per CPU second of each stage, of its plain loop and of the least work, which take turns."""
    context = context_of(lake)
    files = context.lake.snapshot("shards").files
    paths, size = [file.path for file in files], sum(file.size for file in files)
    images = [file.path for file in context.lake.snapshot("images").files]
    inputs = Inputs(paths, images, [read(path) for path in paths])
    rows, against_loops = [], {}
    for name, stage in STAGES.items():
        works = [lambda _, stage=stage: stage(context, folder), *(partial(loop, inputs) for loop in LOOPS[name])]
        seconds: list[list[float]] = [[] for _ in works]
        for _ in range(min(3, REPEATS)):
            for work, taken in zip(works, seconds, strict=True):
                with tempfile.TemporaryDirectory(dir=folder) as output:
                    taken.append(cpu_seconds(partial(work, Path(output))))
        speeds = [size / MEGABYTE / max(1e-9, statistics.median(each)) for each in seconds]
        ratios = [speeds[0] / speed for speed in speeds[1:]]
        rows.append([name, *(f"{speed:,.0f}" for speed in speeds), *(f"{ratio:.2f}" for ratio in ratios)])
        against_loops[name] = ratios[0]
    title = f"MB of shards per CPU second ({size / MEGABYTE:,.0f} MB in {len(files)} files)"
    columns = ["stage", "ours", "plain loop", "least work", "ours / plain loop", "ours / least work"]
    table(title, columns, rows, name="stages", ratios=against_loops)


def private_peak(stage: str, lake: str, folder: Path) -> float:
    """Return the megabytes by which a stage raises the peak of private memory of a process of its own."""
    command = [sys.executable, __file__, "--stage", stage, lake, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=None, cwd=ROOT)
    return float(done.stdout.splitlines()[-1])


def run_stage(name: str, lake: str, folder: str) -> None:
    """Run one stage in this process and print by how many megabytes it raised the peak of memory."""
    context = context_of(lake)
    context.lake.snapshot("shards")
    before = _peak()
    STAGES[name](context, Path(folder))
    print((_peak() - before) / MEGABYTE)


def _peak() -> int:
    """Return the peak of resident memory of this process in bytes; unlike `ru_maxrss`, not that of its parent."""
    with open("/proc/self/status") as file:  # noqa: PTH123 - a file of the kernel
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def measure_memory(lakes: Sequence[str], folder: Path) -> None:
    """Print the memory of each stage over the small and the large batch."""
    rows = []
    for name in STAGES:
        small, large = (private_peak(name, lake, folder) for lake in lakes)
        rows.append([name, f"{small:,.0f}", f"{large:,.0f}"])
    sizes = (f"{rows_of:,} rows" for rows_of in (ROWS, TIMES * ROWS))
    table("Peak memory of a process, MB above its start", ["stage", *sizes], rows)


def main() -> None:
    """Make both batches and measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lakes = [make_lake(folder / "small", ROWS), make_lake(folder / "large", TIMES * ROWS)]
        measure_speed(lakes[0], folder)
        measure_memory(lakes, folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        run_stage(*sys.argv[2:])
    else:
        run(main)
