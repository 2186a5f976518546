"""The stage `duplicates`: which images of a batch are kept out of the shards, and of which each is a duplicate.

It is a pure function of the images of the batch, of the images that earlier batches of the recipe keep, and of the hash
lists. Like totals, duplicates follow the order of batches: if the images of an earlier batch are made again, those of
later ones are stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from curation.cli.plugins import model_digest
from curation.dedup.duplicates import DROP_REASONS
from curation.dedup.hash_list import HashSettings, check_hash_list
from curation.errors import OutputError
from curation.io.backend import FileStat
from curation.lake.files import DataFile, Snapshot
from curation.lake.presence import file_problems
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.freshness import made_with, recorded_inputs
from jobs.runtime.partitions import require
from jobs.runtime.runs import SETTINGS, find_run, shortened
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks.dedup.hash_pictures import hash_limits
from jobs.tasks.dedup.sources import KeptImages, ListedPictures, units_of, units_to_embed
from jobs.tasks.dedup.tasks import Choose, LookUp, Matched, StageHashes
from jobs.tasks.images.progress import REBUILT_FROM
from jobs.tasks.models.image_hash import EmbeddingHasher
from jobs.tasks.models.pretrained import check_model

# 3: in the order of `images`; 2: embeddings of pixels as they are decoded for hash lists, the column `hash`
ALGORITHM = 3


class DuplicatesStage(Stage):
    """Finds the duplicates of a batch and publishes `duplicates`."""

    name: ClassVar[str] = "duplicates"
    tables: ClassVar[tuple[str, ...]] = ("duplicates",)
    earlier_run: Mapping[str, Any] | None = None  # whose benchmark images are taken, instead of reading the lists

    def __init__(self, context: Context, lists: Sequence[FileStat], model_sha256: str) -> None:
        super().__init__(context)
        self.batch, self.section, self.lists = context.batch, context.config.dedup, lists
        partition = {"recipe": context.config.recipe, "batch": self.batch}
        self.images = require(context.lake, "fetch_images", "jobs.fetch_images", "images", **partition)
        self.before = dict(_earlier_batches(context)) if self.section.among_images else {}
        settings = self.section.model_dump(exclude={"hash_lists", "model"})
        self.fingerprint_keys = {"dedup": settings, "model_sha256": model_sha256, "algorithm": ALGORITHM}
        self.inputs = {
            "images": self.images.run_ids,
            "earlier": {batch: [*images.run_ids, *dups.run_ids] for batch, (images, dups) in self.before.items()},
            "hash_lists": [[file.path, file.size, file.etag] for file in lists],
        }
        self.recorded = {**self.inputs, "earlier": shortened(self.inputs["earlier"])}
        self.outputs = {"duplicates": partition}
        self.reads = [self.images]

    @classmethod
    def applies(cls, config: Config) -> bool:
        """Return whether any images are to be removed."""
        return config.dedup.is_on

    @classmethod
    def open(cls, context: Context) -> Self:
        """Return the stage of the context's batch.

        Without `fetch`, what the published duplicates tell of hash lists is taken from there, if it is all.
        """
        paths = context.config.dedup.hash_lists
        row = None if context.fetch else _last_run(context)
        if row and [path for path, *_ in recorded_inputs(row)["hash_lists"]] == list(paths):
            stage = cls.reopen(context, row, {})
            if stage._tells_all(row):
                stage.earlier_run = row
                return stage
        return cls(context, [context.storage.stat(path) for path in paths], _model_sha256(context))

    @classmethod
    def reopen(cls, context: Context, row: Mapping[str, Any], partition: Mapping[str, str]) -> Self:  # noqa: ARG003
        """Return the stage of a run, with the hash lists and the model that it read; they are not looked at."""
        lists = [FileStat(*record) for record in recorded_inputs(row)["hash_lists"]]
        return cls(context, lists, json.loads(row["inputs"])[SETTINGS]["model_sha256"])

    def execute(self, run: StageRun) -> Publication:
        """Compare the images of the batch with lists, with earlier batches and with one another."""
        context, section = self.context, self.section
        lists = [] if self.earlier_run else [ListedPictures(file.path) for file in self.lists]
        embed = None
        if section.model and lists:
            embed = EmbeddingHasher(section.model, hash_limits(context.config.images)).hashes
        units = units_to_embed(self.images) if embed else list(units_of([(self.images, None)]))
        staged = context.run_tasks("duplicates: hashes", units, StageHashes(context.storage, run.staging, embed))
        hashes = [part.path for part in staged]
        run.step("hashes")
        sources: list[KeptImages | ListedPictures] = [*lists, *units_of(self.before.values())]
        task = LookUp(context.storage, run.staging, hashes, section)
        found = context.run_tasks("duplicates: look up", sources, task)
        run.step("look_up")
        matches, published = [part.path for part in found], self._published if self.earlier_run else ()
        matched = Matched(matches[: len(lists)], matches[len(lists) :], published)
        choose = Choose(context.storage, hashes, section.exact, section.near_radius, run.writers())
        [chosen] = context.run_tasks("duplicates: choose", [matched], choose)
        run.step("choose")
        compared = sum(part.rows for part in staged)
        drops = _counters(chosen.reasons)
        removed = sum(file.rows for file in chosen.files)
        listed = sum(part.pictures for part in found[: len(lists)])
        if self.earlier_run:
            listed = json.loads(self.earlier_run["totals"])["listed_images"]
        if removed != sum(drops.values()) or removed > compared:
            raise OutputError(
                f"duplicates: counts do not add up: compared {compared} images, {removed} rows written, reasons {drops}"
            )
        totals = {
            "images": self.images.rows,
            "compared": compared,
            "kept": compared - removed,
            "duplicates": removed,
            "earlier_images": sum(part.pictures for part in found[len(lists) :]),
            "listed_images": listed,
        }
        if embed and (unembedded := sum(part.without_embedding for part in staged)):
            totals["without_embedding"] = unembedded
        return Publication({"duplicates": chosen.files}, totals, drops)

    @property
    def _published(self) -> Sequence[DataFile]:
        return self.context.lake.snapshot("duplicates", self.outputs["duplicates"]).files

    def _tells_all(self, row: Mapping[str, Any]) -> bool:
        """Return whether the published duplicates, whose row is given, tell which of the images are in the hash lists.

        A run of `images` without `fetch` stores only images that the run before it had. So all of them were compared,
        if the duplicates were made from the images of that run, or of one before it.
        """
        if not row["complete"] or not made_with(row, self.name, self.fingerprint_keys):
            return False
        if file_problems(self.context.storage, self._published):
            return False
        of_images, run_id = recorded_inputs(row)["images"], self.images.run_ids[0]
        while run_id not in of_images:
            images = find_run(self.context.lake, run_id, "images")
            run_id = json.loads(images["totals"]).get(REBUILT_FROM, "") if images else ""
            if not run_id:
                return False
        return True


def check_hash_lists(context: Context) -> None:
    """Raise InputError if a hash list cannot be used, UsageError for a model; before images are fetched."""
    section, images = context.config.dedup, context.config.images
    if section.model:
        check_model(section.model, "dedup.model")
    settings = None
    if section.list_radius is not None or section.model:
        settings = HashSettings(images.resize, images.max_side, _model_sha256(context))
    for path in section.hash_lists:
        check_hash_list(context.storage, path, settings)


def withdraw_duplicates(context: Context) -> None:
    """Remove the published duplicates of a batch whose shards are made without them now."""
    partition = {"recipe": context.config.recipe, "batch": context.batch}
    published = context.lake.snapshot("duplicates", partition)
    if published.files:
        metadata = {"removed": "duplicates"}
        context.lake.publish("duplicates", partition, [], expected=published.run_ids, metadata=metadata)


def _earlier_batches(context: Context) -> Iterator[tuple[str, tuple[Snapshot, Snapshot]]]:
    """Yield the earlier batches of the recipe with their published images and duplicates."""
    lake, recipe = context.lake, {"recipe": context.config.recipe}
    images, duplicates = lake.snapshot("images", recipe).by("batch"), lake.snapshot("duplicates", recipe)
    removed = duplicates.by("batch")
    for batch in lake.up_to(context.batch, images)[:-1]:
        yield batch, (images[batch], removed.get(batch, Snapshot("duplicates", duplicates.version, ())))


def _last_run(context: Context) -> dict[str, Any] | None:
    """Return the row of the run that published the duplicates of the batch; None if there is none."""
    partition = {"recipe": context.config.recipe, "batch": context.batch}
    owners = context.lake.snapshot("duplicates", partition).run_ids
    return find_run(context.lake, owners[0], "duplicates") if len(owners) == 1 else None


def _model_sha256(context: Context) -> str:
    """Return the SHA-256 of the model; empty without one. Raises UsageError if it cannot be read."""
    model = context.config.dedup.model
    return model_digest(model, "dedup.model") if model else ""


def _counters(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the drops of the shards that the reasons of `duplicates` cause."""
    return {DROP_REASONS[reason]: number for reason, number in sorted(reasons.items())}
