"""Run the nights of a world on a cluster, or locally, with kills and full disks, and judge the lake that they leave."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from chaos.cluster import WORKER, Cluster
from chaos.content import differences, read_contents
from chaos.disks import SmallDisk
from chaos.kills import Killer, process_victim
from chaos.ports import HOST
from chaos.processes import MARK, kill_all
from chaos.s3_server import BUCKET, S3Server
from chaos.scheduler import FailedNightError, Scheduler
from chaos.world import World
from curation.io.cache_dir import cache_folder
from curation.io.storage import Storage
from curation.lake.lake import Lake

DISK_MB = 512
FULL_S = 20.0
START_S = 15.0  # of a night that starts Spark, in addition to the time of one that does not
EXECUTOR = "CoarseGrainedExecutorBackend"
PYTHON = r"-m (pyspark\.daemon|jobs\.runtime\.spark_daemon)"  # starts and runs the Python tasks of an executor
JVM = r"org\.apache\.spark\.deploy\.SparkSubmit"  # of the driver
CLUSTER_CONF = {
    "spark.driver.host": HOST,
    "spark.driver.bindAddress": HOST,
    "spark.executor.memory": "512m",
    "spark.ui.enabled": "false",
}


@dataclass(frozen=True)
class Result:
    """How the nights of a seed went; without `problems` the lake is what undisturbed nights leave."""

    seed: int
    nights: int
    kills: Mapping[str, int]
    full_disks: int
    codes: Mapping[int, int]
    reruns: int
    minutes: float
    problems: list[str]


def run_disturbed(world: World, out: Path, seed: int, *, local: bool) -> Result:
    """Run all nights of a world, disturbed as a seed decides, in a new folder."""
    mark = uuid.uuid4().hex
    try:
        with ExitStack() as stack:
            return _run(world, out, seed, mark, stack, local=local)
    finally:
        kill_all(mark)


def _run(world: World, out: Path, seed: int, mark: str, stack: ExitStack, *, local: bool) -> Result:
    """Start the services, run the nights and compare the lakes."""
    started, random = time.monotonic(), Random(seed)
    disks = {name: SmallDisk(out / name, DISK_MB) for name in ("s3", "scratch")}
    for disk in disks.values():
        stack.callback(disk.unmount)
    server = stack.enter_context(S3Server(disks["s3"].folder / "data"))
    environment = {**server.environment, **_scratch_variables(disks["scratch"].folder), MARK: mark}
    os.environ |= server.environment
    root = f"s3://{BUCKET}/lake"
    storage = Storage()
    world.copy_empty_lake(root, storage)

    spark: dict[str, Any] = {"master": "local[2]"}
    victims = {"Python process": process_victim(mark, PYTHON), "driver's JVM": process_victim(mark, JVM)}
    revive: dict[str, Callable[[], None]] = {}
    if not local:
        cluster = stack.enter_context(Cluster(out / "cluster", disks["scratch"].folder, environment))
        spark = {"master": cluster.url, "conf": CLUSTER_CONF}
        victims |= {"worker": process_victim(mark, WORKER), "executor": process_victim(mark, EXECUTOR)}
        revive["worker"] = cluster.revive
    config = world.write_config(out.name, {"lake": root, "spark": spark})

    def make_room() -> None:
        for disk in disks.values():
            disk.make_room()

    def kill_server(_random: Random) -> bool:
        server.kill()
        return True

    def start_server() -> None:
        server.start()
        server.wait()

    scheduler = Scheduler(out / "nights.log", environment, make_room)
    victims |= {"driver": scheduler.kill, "S3 server": kill_server}
    revive["S3 server"] = start_server
    killer = Killer(seed, victims, revive, world.night_s + START_S)
    stack.callback(killer.close)
    full = dict(zip(random.sample(world.nights, len(disks)), disks.values(), strict=True))
    reruns, problems = 0, list[str]()
    try:
        for night in world.nights:
            killer.resume()
            if night in full:
                full[night].fill()
                threading.Timer(FULL_S, full[night].make_room).start()
            reruns += scheduler.run("jobs.nightly", "--config", str(config), "--batch", night)
        killer.pause()
        reruns += scheduler.run("jobs.nightly", "--config", str(config), "--catch_up")
        scheduler.run("jobs.verify", "--config", str(config))
        undisturbed = world.contents
        problems = [f"differs: {name}" for name in differences(undisturbed, read_contents(Lake(root, storage)))]
    except FailedNightError as error:
        problems = [str(error)]
    minutes = (time.monotonic() - started) / 60
    codes, kills = dict(scheduler.codes), dict(killer.kills)
    return Result(seed, len(world.nights), kills, len(full), codes, reruns, minutes, problems)


def _scratch_variables(scratch: Path) -> dict[str, str]:
    """Return variables that put the temporary files and copies of a night on a disk; models stay where they are."""
    cache, known = scratch / "cache", cache_folder()
    cache.mkdir()
    for path in known.iterdir():
        if path.name != "files":
            (cache / path.name).symlink_to(path)
    (scratch / "tmp").mkdir()
    return {"WORLDCURATE_CACHE": str(cache), "TMPDIR": str(scratch / "tmp")}
