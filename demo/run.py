"""`make demo`: a sample world from nothing to a trained model, and the figures it gave.

    python -m demo.run --out build/demo --seed 0

Draws the world, serves its site on loopback, then runs what a user would run: build_metadata, nightly for two batches,
torchrun training.train, training.evaluate. Their logs go to OUT/logs; the tables and paths printed at the end are read
back from the lake.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.table import Table

from curation.io.storage import Storage
from curation.lake.lake import Lake
from demo.server import SiteServer, preferred_port
from demo.world import write_world

console = Console(width=110)
T = TypeVar("T")

TRAINING = {
    "recipe": "demo",
    "preset": "tiny",
    "image_size": 32,
    "vocab_size": 4000,
    "batch_size": 64,
    "steps": 300,
    "lr": 2e-3,
    "warmup_steps": 40,
    "log_every": 50,
    "save_every": 300,
}
BARELY = 3.0  # times chance that every language must reach


class Demo:
    """One run of the demo in a folder of its own, emptied first."""

    def __init__(self, out: Path, seed: int) -> None:
        self.out, self.seed = out.resolve(), seed
        self.seconds: dict[str, float] = {}

    def run(self) -> int:
        """Do everything; return 0, or 1 when a step failed or a language stayed near chance."""
        self._empty()
        (self.out / "logs").mkdir(parents=True)
        server_port = preferred_port(self.seed)
        world = self.out / "world"
        (world / "site").mkdir(parents=True)
        with SiteServer(world / "site", server_port) as server:
            self._timed("world", lambda: write_world(world, self.seed, server.base_url))
            config = str(world / "config.yaml")
            self._python("build_metadata", "jobs.build_metadata", "--config", config)
            for night, inputs in json.loads((world / "world.json").read_text())["nights"].items():
                paths = [part for path in inputs for part in ("--ingest.inputs", str(world / path))]
                self._python(f"nightly {night}", "jobs.nightly", "--config", config, "--batch", night, *paths)
        self._train(world)
        results = self._evaluate(world)
        self._show(world, results)
        slow = [row["language"] for row in results if row["accuracy"] < BARELY * row["chance"]]
        if slow:
            console.print(f"[red]below {BARELY:g} x chance: {', '.join(slow)}")
        return 1 if slow else 0

    def _empty(self) -> None:
        """Remove an earlier demo, and nothing else."""
        if not self.out.exists() or not any(self.out.iterdir()):
            return
        if not (self.out / "logs").is_dir():
            sys.exit(f"error: {self.out} is not empty and holds no earlier demo: choose another --out")
        shutil.rmtree(self.out)

    def _train(self, world: Path) -> None:
        config = {**TRAINING, "lake": str(world / "lake"), "output": str(self.out / "model"), "seed": self.seed}
        path = self.out / "train.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        self._python(
            "train", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "training.train", "--config", str(path), OMP_NUM_THREADS="1",
        )  # fmt: skip

    def _evaluate(self, world: Path) -> list[dict[str, Any]]:
        labels = world / "heldout" / "labels.jsonl"
        said = self._python(
            "evaluate", "training.evaluate", "--checkpoint", str(self.out / "model"),
            "--images", str(labels), "--classes", str(world / "zeroshot.json"),
        )  # fmt: skip
        return [json.loads(line) for line in said.splitlines()]

    def _python(self, step: str, module: str, *arguments: str, **environment: str) -> str:
        """Run a module as a user would, its log in a file; return what it printed."""
        log = self.out / "logs" / f"{step.replace(' ', '-')}.log"
        command = [sys.executable, "-m", module, *arguments]

        def work() -> str:
            with log.open("w") as sink:
                done = subprocess.run(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=sink,
                    text=True,
                    check=False,
                    env={**os.environ, **environment},
                )
            if done.returncode:
                sys.stderr.write(log.read_text()[-3000:])
                sys.exit(f"error: {' '.join(command)} ended with {done.returncode}; its log is {log}")
            return done.stdout

        return self._timed(step, work)

    def _timed(self, step: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        result = work()
        self.seconds[step] = time.monotonic() - started
        console.print(f"  {step:<24} {self.seconds[step]:6.1f} s")
        return result

    def _show(self, world: Path, results: list[dict[str, Any]]) -> None:
        lake = Lake(str(world / "lake"), Storage())
        console.print(funnel(lake), balance(lake), accuracy(results))
        console.print(f"seed {self.seed}, {sum(self.seconds.values()):.0f} s in all")
        for name, place in {
            "reports": world / "lake" / "reports" / "demo",
            "shards": world / "lake" / "shards",
            "checkpoint": self.out / "model",
        }.items():
            console.print(f"{name:<11}{place}", soft_wrap=True)


def funnel(lake: Lake) -> Table:
    """Return what went in, was dropped and came out, a column a night."""
    runs = lake.rows("runs").to_pylist()
    nights = lake.batches()
    figures: dict[str, dict[str, int]] = {}
    for stage, keys in {
        "ingest": ("read", "images"),
        "match": ("texts_matched", "images_matched"),
        "balance": ("curated",),
        "images": ("fetched",),
        "shards": ("written",),
    }.items():
        for run in (run for run in runs if run["stage"] == stage):
            totals, drops = json.loads(run["totals"]), json.loads(run["drops"])
            if stage == "ingest":
                drops |= {"duplicate": totals["duplicates"], "over the cap": totals["over_cap"]}
            for key in keys:
                figures.setdefault(f"{stage}: {key.replace('_', ' ')}", {})[run["batch"]] = totals[key]
            for reason, count in sorted(drops.items()):
                figures.setdefault(f"  dropped at {stage}: {reason.replace('_', ' ')}", {})[run["batch"]] = count
    shares = {run["batch"]: f"{json.loads(run['totals'])['p']:.4f}" for run in runs if run["stage"] == "balance"}
    table = Table("pairs", *nights, title="From the crawl to the shards")
    table.add_row("p, the share of the tail", *(shares.get(night, "") for night in nights))
    for name, counts in figures.items():
        table.add_row(name, *(str(counts.get(night, 0)) for night in nights))
    return table


def balance(lake: Lake) -> Table:
    """Return p and the threshold of every language after the last night, and what it kept of the matched texts."""
    night = lake.batches()[-1]
    rows = [
        row
        for file in lake.snapshot("thresholds", {"batch": night}).files
        for row in pq.read_table(file.path, partitioning=None).to_pylist()
    ]
    table = Table("language", "p", "t", "matches so far", "entries seen", "matched texts", "curated", title="Balance")
    totals = {stage: _sum_by_lang(lake, stage, key) for stage, key in BY_LANG.items()}
    for row in sorted(rows, key=lambda row: -row["matches"]):
        counts = [str(totals[stage].get(row["lang"], 0)) for stage in BY_LANG]
        table.add_row(
            row["lang"], f"{row['p']:.4f}", str(row["t"]), str(row["matches"]), str(row["entries_seen"]), *counts
        )
    return table


BY_LANG = {"match": "matched_by_lang", "balance": "curated_by_lang"}


def _sum_by_lang(lake: Lake, stage: str, key: str) -> dict[str, int]:
    summed: dict[str, int] = {}
    for run in lake.rows("runs").to_pylist():
        if run["stage"] == stage:
            for lang, count in json.loads(run["totals"])[key].items():
                summed[lang] = summed.get(lang, 0) + count
    return summed


def accuracy(results: list[dict[str, Any]]) -> Table:
    """Return how often held-out pictures are named right, a row a language."""
    table = Table("language", "n", "right", "95% interval", "chance", "x chance", title="Zero-shot, held-out pictures")
    for row in results:
        interval = f"{row['low']:.1%} – {row['high']:.1%}"
        times = f"{row['accuracy'] / row['chance']:.1f}"
        table.add_row(row["language"], str(row["n"]), f"{row['accuracy']:.1%}", interval, f"{row['chance']:.1%}", times)
    return table


def main() -> int:
    """Run the demo from the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.run", description="the demo: a world, two nights, a model")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything; an earlier demo there goes")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws another world (default 0)")
    arguments = parser.parse_args()
    return Demo(arguments.out, arguments.seed).run()


if __name__ == "__main__":
    sys.exit(main())
