"""`make demo`: from a synthetic web to a trained model, with tables of the results.

    python -m demo.run --out build/demo --seed 0

Generates the world, serves its website on loopback, then runs the commands of a user: build_metadata, nightly for two
batches, training.train under torchrun, and training.evaluate. Their logs are in OUT/logs; the tables printed at the end
are read from the lake.
"""

from __future__ import annotations

import argparse
import json
import shutil
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
from demo.commands import run_module
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
MIN_TIMES_CHANCE = 3.0  # minimum accuracy of every language, in multiples of chance


class Demo:
    """One run of the demo in its own folder, which is emptied first."""

    def __init__(self, out: Path, seed: int) -> None:
        self.out, self.seed = out.resolve(), seed
        self.seconds: dict[str, float] = {}

    def run(self) -> int:
        """Run all steps; return 0, or 1 if the accuracy of a language is close to chance. Exit if a step fails."""
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
        low = [row["language"] for row in results if row["accuracy"] < MIN_TIMES_CHANCE * row["chance"]]
        if low:
            console.print(f"[red]accuracy below {MIN_TIMES_CHANCE:g} x chance: {', '.join(low)}")
        return 1 if low else 0

    def _empty(self) -> None:
        """Remove an earlier demo; exit if the folder contains anything else."""
        if not self.out.exists() or not any(self.out.iterdir()):
            return
        if not (self.out / "logs").is_dir():
            sys.exit(f"error: --out: {self.out} is not empty and contains no earlier demo: choose another folder")
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
        output = self._python(
            "evaluate", "training.evaluate", "--checkpoint", str(self.out / "model"),
            "--images", str(labels), "--classes", str(world / "zeroshot.json"),
        )  # fmt: skip
        return [json.loads(line) for line in output.splitlines()]

    def _python(self, step: str, module: str, *arguments: str, **environment: str) -> str:
        """Run a module as a user would, with its log in a file; return its standard output."""
        log = self.out / "logs" / f"{step.replace(' ', '-')}.log"
        return self._timed(step, lambda: run_module(log, module, *arguments, **environment))

    def _timed(self, step: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        result = work()
        self.seconds[step] = time.monotonic() - started
        console.print(f"  {step:<24} {self.seconds[step]:6.1f} s")
        return result

    def _show(self, world: Path, results: list[dict[str, Any]]) -> None:
        lake = Lake(str(world / "lake"), Storage())
        console.print(funnel(lake), balance(lake), accuracy(results))
        console.print(f"seed {self.seed}, {sum(self.seconds.values()):.0f} s in total")
        for name, path in {
            "reports": world / "lake" / "reports" / "demo",
            "shards": world / "lake" / "shards",
            "checkpoint": self.out / "model",
        }.items():
            console.print(f"{name:<11}{path}", soft_wrap=True)


def funnel(lake: Lake) -> Table:
    """Return a table of the rows read, dropped and written by each stage, with one column per night."""
    runs = lake.rows("runs").to_pylist()
    nights = lake.batches()
    counts_by_row: dict[str, dict[str, int]] = {}
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
                counts_by_row.setdefault(f"{stage}: {key.replace('_', ' ')}", {})[run["batch"]] = totals[key]
            for reason, count in sorted(drops.items()):
                counts_by_row.setdefault(f"  dropped at {stage}: {reason.replace('_', ' ')}", {})[run["batch"]] = count
    shares = {run["batch"]: f"{json.loads(run['totals'])['p']:.4f}" for run in runs if run["stage"] == "balance"}
    table = Table("pairs", *nights, title="From the crawl to the shards")
    table.add_row("tail share p", *(shares.get(night, "") for night in nights))
    for name, counts in counts_by_row.items():
        table.add_row(name, *(str(counts.get(night, 0)) for night in nights))
    return table


def balance(lake: Lake) -> Table:
    """Return a table of p, the threshold and the number of matched and curated texts per language."""
    night = lake.batches()[-1]
    rows = [
        row
        for file in lake.snapshot("thresholds", {"batch": night}).files
        for row in pq.read_table(file.path, partitioning=None).to_pylist()
    ]
    table = Table("language", "p", "t", "total matches", "entries seen", "matched texts", "curated", title="Balance")
    totals = {stage: _sum_by_lang(lake, stage, key) for stage, key in COUNTS_BY_LANG.items()}
    for row in sorted(rows, key=lambda row: -row["matches"]):
        counts = [str(totals[stage].get(row["lang"], 0)) for stage in COUNTS_BY_LANG]
        table.add_row(
            row["lang"], f"{row['p']:.4f}", str(row["t"]), str(row["matches"]), str(row["entries_seen"]), *counts
        )
    return table


COUNTS_BY_LANG = {"match": "matched_by_lang", "balance": "curated_by_lang"}


def _sum_by_lang(lake: Lake, stage: str, key: str) -> dict[str, int]:
    summed: dict[str, int] = {}
    for run in lake.rows("runs").to_pylist():
        if run["stage"] == stage:
            for lang, count in json.loads(run["totals"])[key].items():
                summed[lang] = summed.get(lang, 0) + count
    return summed


def accuracy(results: list[dict[str, Any]]) -> Table:
    """Return a table of the zero-shot accuracy on the held-out pictures, with one row per language."""
    columns = ("language", "n", "accuracy", "95% interval", "chance", "x chance")
    table = Table(*columns, title="Zero-shot accuracy on held-out pictures")
    for row in results:
        interval = f"{row['low']:.1%} – {row['high']:.1%}"
        times = f"{row['accuracy'] / row['chance']:.1f}"
        table.add_row(row["language"], str(row["n"]), f"{row['accuracy']:.1%}", interval, f"{row['chance']:.1%}", times)
    return table


def main() -> int:
    """Run the demo from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.run", description="generate a web, curate two nights, train a model"
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder; an earlier demo in it is removed")
    parser.add_argument("--seed", type=int, default=0, help="every seed generates another world (default 0)")
    arguments = parser.parse_args()
    return Demo(arguments.out, arguments.seed).run()


if __name__ == "__main__":
    sys.exit(main())
