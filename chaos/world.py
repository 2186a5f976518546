"""Prepare what every seed shares: a synthetic web with a page of it per night, its metadata, and undisturbed nights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from chaos.content import Contents, read_contents
from curation.io.storage import Storage
from curation.lake.lake import Lake
from demo.server import SiteServer
from demo.world import config as demo_config
from demo.world import write_world

FIRST = date(2024, 5, 31)
PICTURES_PER_NIGHT = 60
LANGUAGES = ["de", "en", "ja"]  # with lists of their own, which few keep the build short
SEED = 0  # of the web; the seeds of a run of chaos decide when what is killed


class World:
    """A web in a folder, served on the loopback interface, and what undisturbed nights make of it.

    Attributes:
        nights: the names of the nights, in order.
        contents: what is in the tables after the undisturbed nights.
        night_s: how many seconds each of them took.
    """

    def __init__(self, folder: Path, nights: int, site: SiteServer) -> None:
        self._folder = folder
        self.nights = [str(FIRST + timedelta(days=number)) for number in range(nights)]
        shares = dict.fromkeys(self.nights, 1 / nights)
        write_world(folder, SEED, site.base_url, PICTURES_PER_NIGHT * nights, shares=shares)
        local = self.write_config("undisturbed", {"lake": str(folder / "lake"), "spark": {"master": "local[2]"}})
        log = folder / "undisturbed.log"
        _run(["jobs.build_metadata", "--config", str(local)], log)
        shutil.copytree(folder / "lake", folder / "empty-lake")
        started = time.monotonic()
        _run(["jobs.nightly", "--config", str(local), "--catch_up"], log)
        self.night_s = (time.monotonic() - started) / nights
        self.contents: Contents = read_contents(Lake(str(folder / "lake"), Storage()))

    def write_config(self, name: str, keys: Mapping[str, Any]) -> Path:
        """Write a configuration of the jobs for any night of this web, with these keys; return its path."""
        config = demo_config(self._folder.resolve(), SEED, "{batch}")
        del config["batch"]
        config["metadata"] |= {"languages": LANGUAGES, "limits": {"default": config["metadata"]["limits"]["default"]}}
        config["ingest"] |= {"bucket_bytes": 20_000}
        config["balance"] |= {"bucket_bytes": 4_000}
        config["images"] |= {"shard_bytes": 40_000, "assumed_image_bytes": 4_000, "timeout_s": 60.0}
        path = self._folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**config, **keys}), encoding="utf-8")
        return path

    def copy_empty_lake(self, root: str, storage: Storage) -> None:
        """Make a lake with the metadata of this web, and without nights."""
        source = self._folder / "empty-lake"
        for path in sorted(source.rglob("*")):
            if path.is_file():
                storage.write_bytes(f"{root}/{path.relative_to(source)}", path.read_bytes())


def _run(arguments: list[str], log: Path) -> None:
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-m", *arguments], stderr=file, check=True)
