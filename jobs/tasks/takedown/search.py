"""Searches the published tables for the images of a takedown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.cli.counts import count
from curation.io.storage import Storage
from curation.lake.files import DataFile
from curation.lake.parquet_read import find_rows, read_batches
from curation.lake.tombstones import Tombstones
from curation.lake.view import LakeView
from curation.urls import host
from jobs.runtime.context import Context
from jobs.runtime.takedowns import Search

TABLES = ("pairs", "matches", "curated", "compacted")  # those that name every image of a lake


class FoundImages(msgspec.Struct):
    """The number of images of a file that a takedown names, and its names that occur there."""

    images: int
    names: list[str]


@dataclass(frozen=True)
class SearchFile:
    """Searches one file for images by id and, if hosts are named, by the host of their URL."""

    storage: Storage
    tombstones: Tombstones

    def __call__(self, _: int, file: DataFile) -> FoundImages:
        """Return what was found."""
        ids, hosts = sorted(self.tombstones.image_ids), self.tombstones.hosts
        if not hosts:
            found = find_rows(self.storage, file.path, {"image_id": ids}, ["image_id"])["image_id"].to_pylist()
            return FoundImages(len(found), [f"id|{image_id}" for image_id in sorted(set(found))])
        images, names = 0, set[str]()
        for batch in read_batches(self.storage, file.path, ["image_id", "image_url"]):
            found = batch["image_id"].filter(pc.is_in(batch["image_id"], pa.array(ids, pa.string()))).to_pylist()
            named = [f"host|{name}" for url in batch["image_url"].to_pylist() if (name := host(url or "")) in hosts]
            names.update(named, (f"id|{image_id}" for image_id in found))
            images += int(np.count_nonzero(~self.tombstones.keep_mask(batch).to_numpy(zero_copy_only=False)))
        return FoundImages(images, sorted(names))


@dataclass(frozen=True)
class Originals:
    """A file of `duplicates`, and the curated rows of the recipe in which images of a takedown were found."""

    duplicates: DataFile
    curated: Sequence[str]

    def __str__(self) -> str:
        return self.duplicates.path


@dataclass(frozen=True)
class SearchOriginals:
    """Searches the images that are kept in the place of duplicates for those that a takedown names."""

    storage: Storage
    tombstones: Tombstones

    def __call__(self, _: int, originals: Originals) -> list[str]:
        """Return the names of the takedown that occur, sorted."""
        columns = ["reason", "duplicate_of"]
        rows = read_batches(self.storage, originals.duplicates.path, columns)
        found = [batch.filter(pc.not_equal(batch["reason"], "benchmark"))["duplicate_of"] for batch in rows]
        kept = pa.chunked_array(found, pa.string()).unique()
        named = kept.filter(pc.is_in(kept, pa.array(sorted(self.tombstones.image_ids), pa.string())))
        hosts = (
            {name for path in originals.curated for name in self._hosts(path, kept)} if self.tombstones.hosts else ()
        )
        return sorted([*(f"id|{image_id}" for image_id in named.to_pylist()), *hosts])

    def _hosts(self, path: str, kept: pa.Array) -> Iterator[str]:
        for batch in read_batches(self.storage, path, ["image_id", "image_url"]):
            for url in batch["image_url"].filter(pc.is_in(batch["image_id"], kept)).to_pylist():
                if (name := host(url or "")) in self.tombstones.hosts:
                    yield f"host|{name}"


@dataclass(frozen=True)
class SearchResult:
    """The search of a takedown: images by table, match_id or recipe, and batch or dataset, for a record too."""

    search: Search
    images: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Return one line per table, recipe or match_id, and batch or dataset with images that will be hidden."""
        return [
            f"{table}: {'dataset' if table == 'compacted' else 'batch'} {of}{f', {name}' if name else ''}: "
            f"{count(images, 'image')}"
            for (table, name, of), images in self.images.items()
        ]

    def images_in(self, table: str) -> int:
        """Return the number of images found in a table."""
        return sum(count for (name, _, _), count in self.images.items() if name == table)

    @property
    def batches(self) -> set[str]:
        """The batches in which something was found."""
        return set(self.search.batches.values()) - {""}


def search_tables(context: Context, view: LakeView, tombstones: Tombstones) -> SearchResult:
    """Search the current version of the tables."""
    files = [(table, file) for table in TABLES for file in view.snapshot(table).files]
    task = SearchFile(context.storage, tombstones)
    results = context.run_tasks("takedown: search", [file for _, file in files], task)
    images: Counter[tuple[str, str, str]] = Counter()
    found: dict[str, set[str]] = {}
    batches: dict[str, str] = {}
    for (table, file), result in zip(files, results, strict=True):
        if result.images:
            part = file.partition
            of = part.get("batch") or part["dataset"]
            images[table, part.get("recipe") or part.get("match_id") or "", of] += result.images
            found.setdefault(file.run_id, set()).update(result.names)
            batches[file.run_id] = part.get("batch", "")  # a dataset is of several
    hits = [file for (table, file), result in zip(files, results, strict=True) if table == "curated" and result.images]
    for run_id, names in _search_originals(context, view, tombstones, hits, set(batches.values())).items():
        found[run_id], batches[run_id] = names, ""  # the pairs of the batch have no such image
    runs = frozenset(file.run_id for _, file in files)
    by_run = {run_id: frozenset(names) for run_id, names in found.items()}
    return SearchResult(Search(frozenset(tombstones.names), runs, by_run, batches), images)


def _search_originals(
    context: Context, view: LakeView, tombstones: Tombstones, curated: Sequence[DataFile], batches: Collection[str]
) -> dict[str, set[str]]:
    """Return the names that occur as originals in `duplicates` of other batches, by the run that wrote these."""
    units = [
        Originals(file, [hit.path for hit in curated if hit.partition["recipe"] == file.partition["recipe"]])
        for file in view.snapshot("duplicates").files
        if file.partition["batch"] not in batches
    ]
    task, found = SearchOriginals(context.storage, tombstones), dict[str, set[str]]()
    for unit, names in zip(units, context.run_tasks("takedown: originals", units, task), strict=True):
        if names:
            found.setdefault(unit.duplicates.run_id, set()).update(names)
    return found
