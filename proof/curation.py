"""Curate the world of a seed with the jobs: metadata and ingest, then match, balance and fetch per recipe."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from curation.errors import OutputError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from demo.commands import run_module
from demo.server import HOST
from proof.settings import Arm, World
from proof.world import BATCH, write_json

VERSIONS_FILE, INGESTED = "versions.json", "ingested"
ENGLISH = "en"


class Curation:
    """The lake of one seed.

    Attributes:
        folder: the folder of the seed, with `world/`, `lake/` and `logs/`.
    """

    def __init__(self, world: World, folder: Path, seed: int) -> None:
        self.folder = folder.resolve()
        self._world, self._seed = world, seed
        self._config = self.folder / "jobs.yaml"
        self._logs = self.folder / "logs"

    @property
    def lake(self) -> Path:
        """The lake."""
        return self.folder / "lake"

    def prepare(self) -> None:
        """Build the lists of every language, the two merged versions, and read the crawl files."""
        self._logs.mkdir(parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump(self._keys(), sort_keys=False), encoding="utf-8")
        by_language = self._version("by_language", "build_metadata")
        base = ("--metadata.version", by_language)
        for name, languages in (("english_for_all", ENGLISH), ("merged", "all")):
            self._version(name, "merge_metadata", *base, "--metadata.languages", languages)
        if not (self.folder / INGESTED).exists():
            self._job("ingest")
            (self.folder / INGESTED).touch()

    def curate(self, arm: Arm) -> None:
        """Match, balance and fetch under the recipe of an arm, unless that was done."""
        done = self.folder / "curated" / f"{arm.recipe}.json"
        if done.exists():
            return
        version = json.loads((self.folder / VERSIONS_FILE).read_bytes())[arm.metadata]
        keys = ["--recipe", arm.recipe, "--metadata.version", version]
        for key, value in arm.balance.items():
            keys += [f"--balance.{key}", str(value)]
        for job in ("match", "balance", "fetch_images"):
            self._job(job, *keys, log=f"{job}-{arm.recipe}")
        done.parent.mkdir(exist_ok=True)
        write_json(done, self._count(arm))

    def concepts_of(self, arm: Arm) -> dict[str, int]:
        """Return how many pictures of each concept the shards of an arm have."""
        counts: dict[str, int] = json.loads((self.folder / "curated" / f"{arm.recipe}.json").read_bytes())["concepts"]
        return counts

    def _keys(self) -> dict[str, Any]:
        """Return the configuration that all jobs share."""
        world, server = self.folder / "world", f"{HOST}:{self._world.site.port + self._seed}"
        return {
            "lake": str(self.lake),
            "batch": BATCH,
            "seed": self._seed,
            "metadata": {
                "languages": list(self._world.languages),
                "wikipedia": [str(world / "wikipedia" / "{code}wiki-*.json.gz")],
                "pageviews": [str(world / "pageviews" / "*.gz")],
                "wordnet": [str(world / "wordnet")],
                "limits": self._world.metadata.limits,
            },
            "ingest": {"inputs": [str(world / "crawl" / "*.warc.wat.gz")], "format": "wat"},
            "images": {"max_side": self._world.site.side, "connections_per_host": 16, "allow_private_hosts": [server]},
        }

    def _job(self, job: str, *flags: str, log: str = "") -> None:
        run_module(self._logs / f"{log or job}.log", f"jobs.{job}", "--config", str(self._config), *flags)

    def _version(self, name: str, job: str, *flags: str) -> str:
        """Return a metadata version, after running the job that makes it if it is not known yet.

        Every version is noted before the next is made. So a job that was done before, without its version being noted,
        is the last one of its stage.
        """
        path = self.folder / VERSIONS_FILE
        versions: dict[str, str] = json.loads(path.read_bytes()) if path.exists() else {}
        if name not in versions:
            self._job(job, *flags, log=f"{job}-{name}")
            runs = Lake(str(self.lake), Storage()).rows("runs", {"stage": [job]}).to_pylist()
            last = max(runs, key=lambda run: run["finished"])
            versions[name] = json.loads(last["totals"])["version"]
            write_json(path, versions)
        return versions[name]

    def _count(self, arm: Arm) -> dict[str, Any]:
        """Count the shards of an arm by language and concept. Raises OutputError if they have a held-out artist."""
        pictures = read_pictures(self.folder / "world" / "pictures.jsonl")
        held_out = self._held_out_hashes()
        concepts, languages = Counter[str](), Counter[str]()
        for file in Lake(str(self.lake), Storage()).snapshot("shards", {"recipe": arm.recipe}).files:
            for row in pq.read_table(file.path, columns=["image_url", "lang"], partitioning=None).to_pylist():
                picture = pictures[picture_path(row["image_url"])]
                if picture["artist"] in self._world.held_out or picture["artwork_sha256"] in held_out:
                    raise OutputError(f"{row['image_url']}: shows held-out artwork: the world is not separated")
                concepts[picture["concept"]] += 1
                languages[row["lang"]] += 1
        return {"recipe": arm.recipe, "languages": dict(languages), "concepts": dict(concepts)}

    def _held_out_hashes(self) -> set[str]:
        lines = (self.folder / "world" / "heldout" / "labels.jsonl").read_text(encoding="utf-8").splitlines()
        return {json.loads(line)["artwork_sha256"] for line in lines}


def picture_path(url: str) -> str:
    """Return the path of a picture below the site, given its URL."""
    return url.partition("//")[2].partition("/")[2]


def read_pictures(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of pictures.jsonl by path."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {row["path"]: row for row in rows}
