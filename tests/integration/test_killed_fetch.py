"""A fetch killed ten times (SIGKILL, every process of it) ends like an undisturbed one, and asks for nothing twice.

Moments are numbers of requests that the server has seen, so that they fall anywhere within parts of the work, between
them, and before the first is finished.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from curation.cli.config import BalanceSection
from curation.lake.lake import Lake
from jobs import balance, fetch_images, ingest, match
from jobs.runtime.context import Context
from jobs.tasks.images.progress import FOLDER
from support.in_process import change, prepare_crawl, write_crawl
from support.lakes import digests
from support.loopback import Answer, Loopback, Request, file_server, serving
from support.nights import picture
from support.sessions import kill_session

IMAGES = 600
KILLS = 10
MOST_REQUESTS = 60  # of a killed run; ten of them leave pictures for the last one
ROWS_PER_PART = 12


class CountingSite:
    """Answers as a file server does, and sets `reached` at the request of a given number."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._serve = file_server(files)
        self._lock = threading.Lock()
        self._left = 0
        self.reached = threading.Event()

    def expect(self, requests: int) -> None:
        self.reached.clear()
        self._left = requests

    def __call__(self, request: Request) -> Answer:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.reached.set()
        time.sleep(0.01)  # a request is underway for long enough to be killed in it
        return self._serve(request)


def kill_after(site: CountingSite, requests: int, config: Path, *flags: str) -> bool:
    """Start a fetch and kill all of it when it has made some requests; return whether it was still running."""
    site.expect(requests)
    command = [sys.executable, "-m", "jobs.fetch_images", "--config", str(config), "--spark.master", "local[2]", *flags]
    job = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while job.poll() is None:
            if site.reached.wait(0.01):
                return job.poll() is None
        return False
    finally:
        kill_session(job)


def finished_paths(lake: Lake, url_of: dict[str, str]) -> set[str]:
    """Return the paths of the pictures in the parts that killed runs have finished."""
    paths = set()
    for record in Path(lake.layout.staging).rglob(f"{FOLDER}/*.json"):
        for name, *_ in json.loads(record.read_text())["files"]:
            ids = pq.read_table(Path(lake.layout.table("images"), name), columns=["image_id"])["image_id"].to_pylist()
            paths |= {"/" + url_of[image_id].rpartition("/")[2] for image_id in ids}
    return paths


def requests_of(server: Loopback, robot: str) -> list[str]:
    """Return the requested paths of a run; the server may read those of a killed one from its sockets later."""
    return [request.path for request in server.requests if request.headers["User-Agent"] == robot]


def curated_crawl(folder: Path, server: Loopback) -> Context:
    """Return a context whose batch is curated and not fetched."""
    images = {"shard_bytes": ROWS_PER_PART * 1000, "assumed_image_bytes": 1000}
    inputs = [write_crawl(folder / "all.jsonl", server, range(IMAGES))]
    made = prepare_crawl(folder, server)
    made = change(made, ingest={"inputs": inputs}, images=images, balance=BalanceSection(policy="none").model_dump())
    for job in (ingest, match, balance):
        job.run(made)
    return made


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_fetch_killed_at_ten_moments_asks_for_nothing_twice_and_ends_like_any_other(in_process, tmp_path):
    site = CountingSite({f"/{number}.png": picture(number) for number in range(IMAGES) if number % 7})
    with serving(site) as server:
        made = curated_crawl(tmp_path, server)
        url_of = {row["image_id"]: row["image_url"] for row in made.lake.rows("curated").to_pylist()}
        assert len(url_of) > 500
        undisturbed = change(made, lake=str(shutil.copytree(made.config.lake, tmp_path / "undisturbed")))
        fetch_images.run(undisturbed)

        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(made.config.model_dump(mode="json", exclude_none=True)))
        moments, finished, parts_seen = random.Random(20), set[str](), set[int]()
        for number in range(KILLS):
            robot = f"killed-{number}"
            assert kill_after(site, moments.randint(1, MOST_REQUESTS), config, "--images.user_agent", robot)
            assert requests_of(server, robot)
            assert not finished & set(requests_of(server, robot))
            finished = finished_paths(made.lake, url_of)
            parts_seen.add(len(finished))
        assert len(parts_seen) > 3, "kills at different moments of the work"
        fetch_images.run(change(made, images={"user_agent": "last"}))
        last = requests_of(server, "last")
        assert not finished & set(last)
        assert len(last) == len(set(last)) == len(url_of) - len(finished)
        assert {table: digests(made.lake)[table] for table in ("images", "shards")} == {
            table: digests(undisturbed.lake)[table] for table in ("images", "shards")
        }
        assert not fetch_images.run(change(made, images={"user_agent": "after"}))[0].fresh
        assert requests_of(server, "after") == []
