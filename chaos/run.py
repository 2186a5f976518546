"""`make chaos`: nights on a loopback cluster whose processes are killed and whose disks are full, and what they leave.

    python -m chaos.run --out build/chaos --seed 0 --seeds 3 --nights 10

Ten nights of a synthetic web are run undisturbed on this machine, then once per seed on a standalone Spark cluster (a
master and two workers, all processes of this machine) with the lake on an S3 server. Meanwhile workers, executors, the
driver, Python daemons and the S3 server are killed (SIGKILL) at seeded moments, and two disks are full for a while.
Nights are repeated by their exit codes, as a scheduler does. At the end `jobs.verify` has to be clean, and all tables
but `runs` and `ledger` have to equal those of the undisturbed nights. `--local` runs without a cluster.

Needs Linux, and the right to mount file systems in memory: root, or user namespaces.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.disks import enter_mount_namespace
from chaos.disturbed import Result, run_disturbed
from chaos.world import World
from curation.cli.interruption import raise_on_sigterm
from demo.server import SiteServer, preferred_port

console = Console(width=110)


def main(argv: list[str] | None = None) -> int:
    """Run chaos from the command line; return 0 if every seed ends like undisturbed nights."""
    parser = argparse.ArgumentParser(prog="python -m chaos.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of the kills (default 0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after another (default 1)")
    parser.add_argument("--nights", type=int, default=10, help="nights (default 10)")
    parser.add_argument("--local", action="store_true", help="a local Spark instead of a cluster")
    arguments = parser.parse_args(argv)
    if arguments.out.exists() and any(arguments.out.iterdir()):
        parser.error(f"--out: {arguments.out} is not empty: choose a new or empty folder")
    enter_mount_namespace("chaos.run", sys.argv[1:] if argv is None else argv)
    out = arguments.out.resolve()
    (out / "world" / "site").mkdir(parents=True)
    with raise_on_sigterm(), SiteServer(out / "world" / "site", preferred_port(0), delay_s=0.2) as site:
        started = time.monotonic()
        world = World(out / "world", arguments.nights, site)
        console.print(f"{arguments.nights} undisturbed nights: {(time.monotonic() - started) / 60:.1f} min")
        results = []
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            results.append(run_disturbed(world, out / f"seed-{seed}", seed, local=arguments.local))
            console.print(_table(results))
    return int(any(result.problems for result in results))


def _table(results: list[Result]) -> Table:
    table = Table("seed", "nights", "kills", "full disks", "exit codes", "reruns", "minutes", "result")
    for result in results:
        kills = ", ".join(f"{count} {kind}" for kind, count in sorted(result.kills.items()))
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(result.codes.items()))
        verdict = "[red]" + "\n".join(result.problems) if result.problems else "verified, equal"
        counts = (str(result.nights), f"{sum(result.kills.values())} ({kills})", str(result.full_disks))
        table.add_row(str(result.seed), *counts, codes, str(result.reruns), f"{result.minutes:.1f}", verdict)
    return table


if __name__ == "__main__":
    sys.exit(main())
