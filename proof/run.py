"""`make proof`: curate a small web of real pictures under each policy, train on each, and compare the models.

    python -m proof.run --scale small
    python -m proof.run --scale full --seeds 3
    python -m proof.run --scale small --arm merged --seed 0

Prints the plan with an estimate first. Every finished part is skipped at the next start, so a run that was stopped
continues. With `--arm`, only that arm is run; if it was run before, it is trained again in another folder, and the
command ends with 1 unless model and results are the same, bit for bit.

    OUT/SCALE/seed-K/world, lake, logs         the generated web, and what the jobs made of it
    OUT/SCALE/seed-K/runs/ARM-MODEL            a run: train.yaml, model, result.json, concepts.parquet
    OUT/SCALE/proof.html, results.json         the page, and its figures

exit codes, as in docs/operations.md: 0 done, 1 a repeated arm differs or a bug, 2 usage, 3 a package cannot be fetched
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from curation.cli.log import add_standard_options
from curation.cli.run import run_command
from curation.errors import UsageError
from demo.server import SiteServer
from proof.arm_run import ArmRun, write_tokenizer
from proof.artwork import Gallery, read_gallery
from proof.curation import Curation
from proof.names import Name, read_names
from proof.plan import Part, estimate, plan
from proof.report import write_report
from proof.settings import WORLD_FILE, Arm, Scale, World, read_arm, read_world
from proof.world import base_url, write_json, write_world

WORLD_DONE = "world.json"
AGAIN = "-again"

console = Console(width=110)


class Proof:
    """The proof at one scale, in its own folder."""

    def __init__(self, world: World, scale: Scale, arms: dict[str, Arm], out: Path, processes: int) -> None:
        self.out = out.resolve()
        self._world, self._scale, self._arms, self._processes = world, scale, arms, processes
        self._names: dict[str, dict[str, Name]] = {}
        self._gallery: Gallery | None = None

    def seed_folder(self, seed: int) -> Path:
        """Return the folder of a seed."""
        return self.out / f"seed-{seed}"

    def arm_run(self, part: Part, suffix: str = "") -> ArmRun:
        """Return the run of an arm."""
        folder = self.seed_folder(part.seed)
        return ArmRun(
            self._world,
            self._arms[part.arm],
            model=part.model,
            seen_pairs=self._scale.models[part.model],
            seed=part.seed,
            seed_folder=folder,
            folder=folder / "runs" / f"{part.arm}-{part.model}{suffix}",
        )

    def run(self, parts: Sequence[Part]) -> None:
        """Run all parts that are not done, in their order, model by model and seed by seed."""
        rest = [part for part in parts if not self.arm_run(part).is_done]
        for (model, seed), group in groupby(rest, key=lambda part: (part.model, part.seed)):
            of_seed = list(group)
            self.curate(seed, [self._arms[part.arm] for part in of_seed])
            for part in of_seed:
                self._timed(
                    f"train and measure {part.arm} {model} seed {seed}",
                    partial(self.arm_run(part).run, self._processes),
                )

    def curate(self, seed: int, arms: Sequence[Arm]) -> None:
        """Write the world of a seed, and curate it for some arms."""
        folder = self.seed_folder(seed)
        self._timed(f"world of seed {seed}", lambda: self._write_world(seed, folder))
        curation = Curation(self._world, folder, seed)
        with SiteServer(folder / "world" / "site", self._world.site.port + seed) as server:
            if server.base_url != base_url(self._world, seed):
                raise UsageError(
                    f"site.port: port {self._world.site.port + seed} is in use: stop the program that uses it"
                )
            self._timed(f"metadata and ingest of seed {seed}", curation.prepare)
            # the recipe that keeps most pictures first, so that later ones find its pictures instead of fetching them
            recipes = {arm.recipe: arm for arm in arms}
            for recipe in sorted(recipes, key=lambda recipe: recipes[recipe].balance["policy"] != "none"):
                self._timed(f"curate {recipe} seed {seed}", partial(curation.curate, recipes[recipe]))

    def repeat(self, part: Part) -> bool:
        """Run an arm again and return whether model and results are the same."""
        first, again = self.arm_run(part), self.arm_run(part, AGAIN)
        shutil.rmtree(again.folder, ignore_errors=True)
        self._timed(
            f"train and measure {part.arm} {part.model} seed {part.seed} again", partial(again.run, self._processes)
        )
        console.print(f"first run {first.digest()}\nsecond    {again.digest()}")
        return first.digest() == again.digest()

    def _write_world(self, seed: int, folder: Path) -> None:
        made_from = {
            "parameters": self._world.model_dump_json(exclude={"scales", "claims", "bootstrap", "training"}),
            "pictures": self._scale.pictures,
        }
        done = folder / WORLD_DONE
        if done.exists():
            if json.loads(done.read_bytes()) != made_from:
                raise UsageError(f"--out: {folder} was made with other parameters: choose another folder, or remove it")
            return
        shutil.rmtree(folder / "world", ignore_errors=True)
        (folder / "world").mkdir(parents=True)
        names, gallery = self._artwork()
        write_world(self._world, gallery, names, folder / "world", pictures=self._scale.pictures, seed=seed)
        write_tokenizer(self._world, folder)
        write_json(done, made_from)

    def _artwork(self) -> tuple[dict[str, dict[str, Name]], Gallery]:
        if self._gallery is None:
            self._names = read_names(self._world)
            self._gallery = read_gallery(self._world, set(self._names["en"]))
        return self._names, self._gallery

    def _timed(self, step: str, work: Callable[[], None]) -> None:
        started = time.monotonic()
        work()
        console.print(f"  {step:<70} {time.monotonic() - started:7.1f} s")


def show_plan(parts: Sequence[Part], done: Sequence[bool], scale: Scale) -> None:
    """Print the parts of the run and how long they may take."""
    table = Table("arm", "model", "seed", "about, minutes", title="Plan")
    for part, finished in zip(parts, done, strict=True):
        minutes = "done" if finished else f"{estimate(part, scale) / 60:.0f}"
        table.add_row(part.arm, part.model, str(part.seed), minutes)
    console.print(table)
    rest = [part for part, finished in zip(parts, done, strict=True) if not finished]
    worlds = len({part.seed for part in rest})
    total = sum(estimate(part, scale) for part in rest) + worlds * estimate(None, scale)
    console.print(
        f"{worlds} worlds and {len(rest)} runs: about {total / 60:.0f} minutes on 2 cores that do nothing else"
    )


def main(argv: Sequence[str]) -> None:
    """Run the proof from the command line."""
    parser = argparse.ArgumentParser(prog="python -m proof.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", default="small", help="small or full, or another one of the parameters")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: that of the scale")
    parser.add_argument("--out", type=Path, default=Path("build/proof"), help="output folder")
    parser.add_argument("--world", type=Path, default=WORLD_FILE, help="parameters; default: proof/world.yaml")
    parser.add_argument("--arm", help="run only this arm, a file of proof/arms; again if it was run before")
    parser.add_argument("--seed", type=int, default=0, help="seed of --arm")
    parser.add_argument("--model", help="model of --arm; default: the first one of the scale")
    parser.add_argument("--processes", type=int, default=2, help="training processes (default 2); 1 for one GPU")
    parser.add_argument("--dry_run", action="store_true", help="only print the plan")
    parser.add_argument("--report", action="store_true", help="only write the page of the runs that are done")
    add_standard_options(parser)
    options = parser.parse_args(argv)
    world = read_world(options.world)
    if options.scale not in world.scales:
        raise UsageError(f"--scale: unknown scale {options.scale!r}: use one of {', '.join(world.scales)}")
    scale = world.scales[options.scale]
    parts = plan(scale, options.seeds or scale.seeds)
    if options.model and options.model not in scale.models:
        raise UsageError(
            f"--model: scale {options.scale} has no {options.model!r}: use one of {', '.join(scale.models)}"
        )
    if options.arm:
        parts = [Part(options.arm, options.model or next(iter(scale.models)), options.seed)]
    arms = {part.arm: read_arm(part.arm) for part in parts}
    proof = Proof(world, scale, arms, options.out / options.scale, options.processes)
    done = [proof.arm_run(part).is_done for part in parts]
    show_plan(parts, done, scale)
    if options.dry_run:
        return
    if options.arm and done[0] and not options.report:
        if not proof.repeat(parts[0]):
            sys.exit("error: --arm: the second run differs from the first")
        console.print("the second run is equal to the first, bit for bit")
        return
    if not options.report:
        proof.run(parts)
    console.print(f"report {write_report(world, scale, proof.out)}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
