"""Jobs as `make dist` packs them run on a cluster of hosts that share no files of the package, and survive kills.

A host is a mount namespace in which the checkout is hidden and the same folder is another copy of the unpacked
environment. Java, Python's own files and the loopback network are those of this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
import yaml

from chaos.cluster import WORKER, Cluster
from chaos.content import differences, read_contents
from chaos.disturbed import CLUSTER_CONF, EXECUTOR, PYTHON
from chaos.kills import process_victim
from chaos.processes import MARK, find_processes, kill_all
from chaos.scheduler import Scheduler
from curation.io.cache_dir import cache_folder
from jobs.runtime.context import Context
from support.nights import publish_metadata

ROOT = Path(__file__).resolve().parents[2]
# which process is killed while a job works
VICTIMS = {"ingest": EXECUTOR, "match": WORKER, "balance": PYTHON, "fetch_images": EXECUTOR}
ENTER = 'mount -t tmpfs tmpfs "$1" && mount --bind "$2" "$3" && shift 3 && cd / && exec "$@"'

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000), pytest.mark.spark]


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """The archive of `make dist`."""
    folder = tmp_path_factory.mktemp("dist")
    prefix = Path(sys.executable).parents[1]
    options = [f"VENV={prefix}", f"PYTHON={sys._base_executable}", f"DIST={folder}/dist", f"PACKED={folder}/packed"]
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    for path in filter(lambda path: (ROOT / path).exists(), listed):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, source / path)
    made = subprocess.run(
        ["make", "-o", f"{prefix}/ready", "dist", *options], cwd=source, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr[-3000:]
    shutil.rmtree(folder / "packed")
    return folder / "dist" / "worldcurate-env.tar.gz"


@pytest.fixture
def hosts(packed, tmp_path) -> tuple[Path, list[Sequence[str]]]:
    """The folder of the environment, and the words that start a program on each of two hosts."""
    shared = tmp_path / "opt"
    shared.mkdir()
    hosts: list[Sequence[str]] = []
    for number in range(2):
        own = tmp_path / f"host-{number}"
        own.mkdir()
        subprocess.run(["tar", "xzf", packed, "-C", own], check=True)
        hosts.append(["unshare", "--mount", "sh", "-c", ENTER, "sh", str(ROOT), str(own), str(shared)])
    return shared, hosts


@pytest.fixture
def mark() -> Iterator[str]:
    made = uuid.uuid4().hex
    yield made
    kill_all(made)


def kill_when_it_works(mark: str, pattern: str, stop: threading.Event, killed: list[str]) -> None:
    """Kill one process as soon as Python tasks run."""
    while not stop.wait(0.05):
        if find_processes(mark, PYTHON) and process_victim(mark, pattern)(Random(0)):
            killed.append(pattern)
            return


@pytest.mark.skipif(os.geteuid() != 0, reason="hosts are mount namespaces, which only root makes here")
def test_packed_jobs_that_lose_processes_on_two_hosts_make_the_lake_of_a_local_run(
    night_done, hosts, s3, mark, tmp_path
):
    folder, words = hosts
    config = night_done.config.model_copy(update={"lake": "s3://lake/packed"})
    remote = Context(config, "packed")
    publish_metadata(remote)
    python = str(folder / "bin" / "python")
    environment = {MARK: mark, "PYSPARK_PYTHON": python, "PYTHONPATH": "", "WORLDCURATE_CACHE": str(cache_folder())}
    home = next((tmp_path / "host-0").glob("lib/python*/site-packages/pyspark")).relative_to(tmp_path / "host-0")
    with Cluster(tmp_path / "cluster", tmp_path / "scratch", environment, words, folder / home) as cluster:
        keys = config.model_dump(mode="json", exclude_none=True)
        keys["spark"] = {"master": cluster.url, "conf": CLUSTER_CONF}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(keys))
        scheduler = Scheduler(tmp_path / "jobs.log", environment, python=[*words[0], python])
        for job, victim in VICTIMS.items():
            stop, killed = threading.Event(), list[str]()
            killer = threading.Thread(target=kill_when_it_works, args=(mark, victim, stop, killed))
            killer.start()
            scheduler.run(f"jobs.{job}", "--config", str(tmp_path / "config.yaml"))
            stop.set()
            killer.join()
            assert killed, f"{job} ended before anything was killed"
            cluster.revive()
        scheduler.run("jobs.report", "--config", str(tmp_path / "config.yaml"))
        scheduler.run("jobs.verify", "--config", str(tmp_path / "config.yaml"))
    assert not differences(read_contents(night_done.lake), read_contents(remote.lake))
