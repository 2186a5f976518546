"""Measure the loader beside webdataset, litData and MosaicML streaming: CPU time, speed and memory, on equal pictures.

The pictures are generated JPEGs of 256 px of 17 KB, like thumbnails of photos. Every loader reads local files in a warm
cache, decodes, crops a random rectangle and resizes it to 224 px. The rivals do so with Pillow, as their examples. Each
measurement is a process of its own, and the loaders take turns; the time to the first batch includes the imports. The
rivals need another environment than worldcurate; `BENCH_PEERS=/path/to/python` names its interpreter (`pip install
webdataset litdata mosaicml-streaming torchdata`). Without it, only ours is measured, beside a bare loop that decodes,
crops and resizes the same bytes.

    python benchmarks/bench_loader.py [PICTURES] [--tiny] [--workers 1 2] [--encoded] [--resume ROWS]

`--encoded` leaves the decoder out: every loader yields bytes and texts. `--resume 10000000` measures instead how long
the first batch takes at half of an epoch of so many rows, beside torchdata's StatefulDataLoader, which reads the rows
before it again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from common import ROOT, run, scaled, table
from loader_peers import SIZE
from PIL import Image

from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS

PICTURES = scaled(20_000, 600)
DISTINCT = scaled(1000, 50)  # pictures that differ; the others repeat them
ROUNDS = scaled(3, 1)
SIDE = 256
OURS = "from loader_ours import main; main()"  # loader processes do not import the main module


def picture(number: int) -> bytes:
    """Draw a smooth picture with edges and noise; return it as a JPEG."""
    rng = np.random.default_rng(number)
    smooth = rng.normal(128, 60, (SIDE // 16, SIDE // 16, 3)).clip(0, 255).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(smooth).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(float)
    pixels += rng.normal(0, 6, (SIDE, SIDE, 1))
    for _ in range(30):
        x, y, w, h = (*rng.integers(0, SIDE - 10, 2), *rng.integers(5, SIDE // 4, 2))
        pixels[y : y + h, x : x + w] = pixels[y : y + h, x : x + w] * 0.6 + rng.integers(0, 255, 3) * 0.4
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def write_pictures(folder: Path, count: int) -> None:
    """Write the same pictures and captions as tars and as a lake of shards."""
    pictures = [picture(number) for number in range(min(count, DISTINCT))]
    lake = Lake(str(folder / "lake"), Storage())
    partition = {"recipe": "default", "batch": "b1"}
    empty = dict.fromkeys(("image_url", "source", "image_sha256", "phash"), "")
    with PartitionWriter(
        lake.storage, lake.layout.table("shards"), "recipe=default/batch=b1/r1", 0, SCHEMAS["shards"]
    ) as writer:
        for start in range(0, count, 1000):
            rows = [
                empty
                | {"image_id": f"{n:024x}", "text": f"a picture, number {n}", "lang": "en", "entry_ids": [1]}
                | {"keep_probability": 1.0, "image": pictures[n % len(pictures)], "width": SIDE, "height": SIDE}
                | {"texts": []}
                for n in range(start, min(count, start + 1000))
            ]
            writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["shards"]))
            with tarfile.open(folder / f"{start:06d}.tar", "w") as tar:
                for row in rows:
                    for end, data in (("jpg", row["image"]), ("txt", row["text"].encode())):
                        member = tarfile.TarInfo(f"{row['image_id']}.{end}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
    metadata = {"run_id": "r1", "run": json.dumps({"run_id": "r1", "totals": "{}"})}
    lake.publish("shards", partition, writer.files, expected=(), metadata=metadata)


def output_of(command: list[str]) -> str:
    """Run a script in a process of its own and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def measured(command: list[str]) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    result: dict[str, float] = json.loads(output_of(command).splitlines()[-1])
    return result


def write_links(folder: Path, rows: int) -> None:
    """Write a lake of so many rows, whose files are links to one file of small pictures."""
    in_file = min(rows, scaled(100_000, 1000))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    lake = Lake(str(folder / "lake"), Storage())
    empty = dict.fromkeys(("image_url", "source", "image_sha256", "phash"), "")
    row = empty | {"text": "a picture", "lang": "en", "entry_ids": [1], "keep_probability": 1.0, "texts": []}
    rows_of_file = [row | {"image_id": f"{n:024x}", "image": buffer.getvalue(), "width": 8} for n in range(in_file)]
    shards, place = lake.layout.table("shards"), "recipe=default/batch=b1/r1"
    with PartitionWriter(lake.storage, shards, place, 0, SCHEMAS["shards"]) as writer:
        for start in range(0, in_file, 1000):
            writer.write(pa.Table.from_pylist(rows_of_file[start : start + 1000], schema=SCHEMAS["shards"]))
    (first,) = writer.files
    files = [first]
    for number in range(1, rows // in_file):
        path = first.path.replace("000000", f"{number:06d}", 1)
        os.link(Path(shards) / first.path, Path(shards) / path)
        files.append(replace(first, path=path))
    metadata = {"run_id": "r1", "run": json.dumps({"run_id": "r1", "totals": "{}"})}
    lake.publish("shards", {"recipe": "default", "batch": "b1"}, files, expected=(), metadata=metadata)


def bare_loop(count: int) -> float:
    """Return the CPU microseconds per picture of decoding, cropping and resizing alone."""
    import torch

    from training.data.random_crop import random_crop

    torch.set_num_threads(1)
    pictures = [picture(number) for number in range(min(count, 200))]
    times, result = [], np.empty((SIZE, SIZE, 3), np.uint8)
    for _ in range(5):
        started = time.process_time()
        for number, data in enumerate(pictures):
            random_crop(data, number, result)
        times.append((time.process_time() - started) / len(pictures) * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure every loader and print the tables."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("pictures", nargs="?", type=int, default=PICTURES)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--encoded", action="store_true")
    parser.add_argument("--resume", type=int, metavar="ROWS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        if options.resume:
            compare_resumes(Path(root), options.resume)
        else:
            write_pictures(Path(root), options.pictures)
            compare(Path(root), options)


def compare(root: Path, options: argparse.Namespace) -> None:
    """Measure every loader with each number of workers."""
    peers = os.environ.get("BENCH_PEERS")
    rivals = ("webdataset", "litdata", "streaming") if peers else ()
    here, encoded = Path(__file__), ["--encoded"] if options.encoded else []
    for name in rivals:
        output_of([str(peers), str(here.with_name("loader_peers.py")), name, str(root), "0"])  # makes its format
    bare, ratios = bare_loop(options.pictures), {}
    for workers in options.workers:
        arguments = [str(root), str(workers), *encoded]
        commands = {"ours": [sys.executable, "-c", OURS, *arguments]}
        for name in rivals:
            commands[name] = [str(peers), str(here.with_name("loader_peers.py")), name, *arguments]
        rounds = [{name: measured(command) for name, command in commands.items()} for _ in range(ROUNDS)]
        result = {
            name: {key: statistics.median(part[name][key] for part in rounds) for key in rounds[0][name]}
            for name in commands
        }
        best = min((result[name]["cpu_us"] for name in rivals), default=result["ours"]["cpu_us"])
        rows = []
        for name, row in result.items():
            speeds = [f"{1e6 / row['cpu_us']:,.0f}", f"{best / row['cpu_us']:.2f}", f"{row['per_s']:,.0f}"]
            memory = [f"{row[key]:,.0f}" for key in ("peak_mb", "pss_mb", "private_mb")]
            rows.append([name, *speeds, f"{row['first_s']:.1f}", *memory])
        if not options.encoded:
            alone = ["decode, crop and resize alone", f"{1e6 / bare:,.0f}", f"{best / bare:.2f}"]
            rows.append([*alone, "", "", "", "", ""])
        table(
            f"{options.pictures:,} pictures of {SIDE} px{', not decoded' * options.encoded}, workers: {workers}",
            [
                *("loader", "samples per CPU s", "× best rival", "samples/s", "first batch s"),
                *("worker: peak MB", "PSS MB", "private MB"),
            ],
            rows,
        )
        ratios[f"{workers} workers"] = bare / result["ours"]["cpu_us"]
    if not options.encoded:
        table(
            "CPU time of the codec alone / of the loader",
            ["workers", "share"],
            [[name, f"{ratio:.2f}"] for name, ratio in ratios.items()],
            name="share of the codec's speed",
            ratios=ratios,
        )


def compare_resumes(root: Path, rows: int) -> None:
    """Measure the first batch at half of an epoch of so many rows, which link one file many times."""
    write_links(root, rows)
    peers = os.environ.get("BENCH_PEERS")
    commands = {"ours": [sys.executable, "-c", OURS, str(root), "1", "--resume"]}
    if peers:
        script = str(Path(__file__).with_name("loader_peers.py"))
        commands["StatefulDataLoader"] = [str(peers), script, "stateful", str(root), "1"]
    seconds = {name: measured(command) for name, command in commands.items()}
    table(
        f"first batch at half of {rows:,} rows, seconds after the imports",
        ["loader", "index", "first batch"],
        [[name, f"{row.get('index_s', 0):.2f}", f"{row['loader_s']:.2f}"] for name, row in seconds.items()],
    )


if __name__ == "__main__":
    run(main)
