"""The path of everything in the lake; no other module builds one.

    LAKE/lake.json                                                        marker: here is a lake
    LAKE/<table>/<key=value>/…/<run_id>/<ordinal>.<part>-<uuid>.parquet   data files
    LAKE/recipes/<name>.json                                              frozen specification of a recipe
    LAKE/leases/<recipe>/<n>.json                                         which process runs a night of a recipe
    LAKE/matchers/latest.json                                             the metadata version built last
    LAKE/matchers/<version>/manifest.<release>.json                       entries per language, checksums of matchers
    LAKE/matchers/<version>/<rules>.<release>/<lang>.matcher              compiled matchers
    LAKE/reports/index.html                                               list of all pages
    LAKE/reports/<recipe>/<batch>.html                                    page of a batch
    LAKE/reports/metadata/<version>.html                                  page of a metadata version
    LAKE/reports/metrics/                                                 Prometheus files (default folder)
    LAKE/_staging/<run_id>/                                               working files of one run
    LAKE/_staging/groups/<batch>/                                         grouped input files, cached for reruns

A *release* is `<algorithm>.<format>`: code only reads matchers with its own algorithm and file format numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curation.io.paths import join

GROUPS = "groups"  # the one folder of `_staging` that belongs to no run


@dataclass(frozen=True)
class LakeLayout:
    """The paths of a lake.

    Attributes:
        root: a local folder or `s3://bucket/prefix`.
    """

    root: str

    def _path(self, *parts: str) -> str:
        """Return the location of something in the lake, from its path below the root."""
        return join(self.root, *parts)

    def table(self, name: str) -> str:
        """Return the location of a table."""
        return self._path(name)

    @property
    def marker(self) -> str:
        """File that marks the folder or prefix as a lake."""
        return self._path("lake.json")

    @property
    def recipes(self) -> str:
        """Folder of the frozen recipes."""
        return self._path("recipes")

    def recipe(self, name: str) -> str:
        """Return the path of a frozen recipe."""
        return self._path("recipes", f"{name}.json")

    def lease(self, recipe: str) -> str:
        """Return the folder of the lease of a recipe, which a night holds."""
        return self._path("leases", recipe)

    # Matchers

    @property
    def latest_matchers(self) -> str:
        """File that names the metadata version built last."""
        return self._path("matchers", "latest.json")

    def matchers(self, version: str) -> str:
        """Return the folder of a metadata version's matchers."""
        return self._path("matchers", version)

    def manifest(self, version: str, release: str) -> str:
        """Return the path of a metadata version's manifest."""
        return self._path("matchers", version, f"manifest.{release}.json")

    def matcher(self, version: str, name: str) -> str:
        """Return the path of a compiled matcher named by `matcher_name`."""
        return self._path("matchers", version, name)

    # Reports

    @property
    def reports(self) -> str:
        """Folder of all HTML pages."""
        return self._path("reports")

    @property
    def index_page(self) -> str:
        """HTML page that lists all batches, recipes and metadata versions."""
        return self._path("reports", "index.html")

    @property
    def trends_page(self) -> str:
        """HTML page that draws the figures of all batches."""
        return self._path("reports", "trends.html")

    def batch_page(self, recipe: str, batch: str) -> str:
        """Return the path of a batch's HTML page."""
        return self._path("reports", recipe, f"{batch}.html")

    def metadata_page(self, version: str) -> str:
        """Return the path of a metadata version's HTML page."""
        return self._path("reports", "metadata", f"{version}.html")

    @property
    def metrics(self) -> str:
        """Default folder of the Prometheus files."""
        return self._path("reports", "metrics")

    # Working files

    @property
    def staging(self) -> str:
        """Folder of all working files."""
        return self._path("_staging")

    def run_staging(self, run_id: str) -> str:
        """Return the folder of a run's working files."""
        return self._path("_staging", run_id)

    @property
    def group_caches(self) -> str:
        """Folder of the cached groups of all batches."""
        return self._path("_staging", GROUPS)

    def group_cache(self, batch: str) -> str:
        """Return the folder where the groups of a batch's input files are cached."""
        return self._path("_staging", GROUPS, batch)

    def staging_run_id(self, path: str) -> str | None:
        """Return the run that a file below `staging` belongs to; None for a cached group, and a file in no folder."""
        name, folder, _ = path.removeprefix(f"{self.staging}/").partition("/")
        return name if folder and name != GROUPS else None


def partition_folder(partition: Mapping[str, str]) -> str:
    """Return the folder of a partition below its table, `key=value/…`."""
    return "/".join(f"{key}={value}" for key, value in partition.items())


def data_file_name(ordinal: int, part: int, unique: str) -> str:
    """Return the name of a data file: names of one partition sort by ordinal, then part."""
    return f"{ordinal:06d}.{part:04d}-{unique}.parquet"


def run_id_of(path: str) -> str:
    """Return the run that wrote a data file."""
    return path.split("/")[-2]


def matcher_name(rules: str, release: str, lang: str) -> str:
    """Return the path of a compiled matcher below its metadata version."""
    return f"{rules}.{release}/{lang}.matcher"
