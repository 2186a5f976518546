"""Publish a dataset that holds the shards of many batches in large files and one order.

    python -m jobs.compact --config c.yaml                                        all batches of the recipe
    python -m jobs.compact --config c.yaml --compact.dataset may --compact.batches 2024-05-30,2024-05-31

A night's shards may be many small files. The dataset has the same rows in files of about `compact.shard_bytes`, in the
seeded order of the recipe, so that every file is a random sample of all batches. The shards stay as they are. The
trainer (`dataset`) and `jobs.export` (`--dataset`) read the dataset in their place. It is stale when the shards of its
batches have changed, for example by a takedown; running the command again makes it again. A run that was killed is
continued.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Final

from curation.errors import DamagedLakeError, InputError, OutputError
from curation.io.paths import join
from curation.lake.files import DataFile, Snapshot
from curation.lake.layout import partition_folder
from curation.lake.names import check_name
from curation.lake.presence import file_problems
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.progress import Progress, continue_killed, run_rest
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks.compact.rows import SourceRows, StagedRows, StageRows, WriteBucket, WrittenBucket
from jobs.tasks.images.splits import cut_by_bytes, stored_row_bytes

ALGORITHM: Final = 2  # rows are written part by part
UNIT_BYTES: Final = 64 << 20  # of shards that one task stages, all of them in memory
FILL: Final = 0.9  # of a file's bytes that a bucket is expected to have, so that few buckets need two files


class CompactStage(Stage):
    """Merges the shards of some batches and publishes `compacted`."""

    name: ClassVar[str] = "compact"
    tables: ClassVar[tuple[str, ...]] = ("compacted",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        lake, recipe, section = context.lake, context.config.recipe, context.config.compact
        check_name("compact.dataset", section.dataset)
        self.sources = find_sources(context)
        self.section = section
        self.fingerprint_keys = {
            "dataset": section.dataset,  # a killed run of another dataset is not continued
            "shard_bytes": section.shard_bytes,
            "seed": lake.recipe(recipe)["seed"],
            "algorithm": ALGORITHM,
        }
        self.inputs = {"shards": {batch: list(part.run_ids) for batch, part in self.sources.items()}}
        self.outputs = {"compacted": {"recipe": recipe, "dataset": section.dataset}}
        self.reads = list(self.sources.values())

    def execute(self, run: StageRun) -> Publication:
        """Stage the rows by their position in the order, then write them."""
        continue_killed(run)
        staged = self._stage(run)
        run.step("shuffle")
        written = self._write(run, staged)
        run.step("write")
        read = sum(part.rows for part in self.sources.values())
        files = [file for bucket in written for file in bucket.files]
        rows = sum(file.rows for file in files)
        if not read == sum(part.rows for part in staged) == rows:
            raise OutputError(f"compact: counts do not add up: read {read} rows of shards, {rows} written: run again")
        langs: Counter[str] = Counter()
        for bucket in written:
            langs.update(bucket.langs)
        totals = {
            "batches": len(self.sources),
            "pairs": read,
            "written": rows,
            "files": len(files),
            "selection": self.context.lake.recipe(self.context.config.recipe)["selection"],
            "written_by_lang": dict(sorted(langs.items())),
        }
        return Publication({"compacted": files}, totals)

    @property
    def _files(self) -> list[DataFile]:
        return [file for part in self.sources.values() for file in part.files]

    @property
    def _buckets(self) -> int:
        return max(1, -(-sum(file.size for file in self._files) // max(1, int(FILL * self.section.shard_bytes))))

    def _stage(self, run: StageRun) -> list[StagedRows]:
        """Stage all rows, apart from those that a killed run has staged."""
        storage, progress = self.context.storage, Progress(self.context.storage, f"{run.staging}/staged")
        units = [SourceRows(*part) for part in enumerate(cut_by_bytes(self._files, stored_row_bytes, UNIT_BYTES))]
        sizes = {file.path: file.size for file in storage.list_files(run.staging)}
        done = progress.finished(StagedRows, lambda staged: sizes.get(staged.path) == staged.size)
        task = StageRows(storage, self.fingerprint_keys["seed"], self._buckets, run.staging, progress)
        return run_rest(self.context, "compact: shuffle", units, task, done)

    def _write(self, run: StageRun, staged: Sequence[StagedRows]) -> list[WrittenBucket]:
        """Write all buckets, apart from those that a killed run has written."""
        storage, progress = self.context.storage, Progress(self.context.storage, f"{run.staging}/written")
        stored = self._stored(run)
        done = progress.finished(
            WrittenBucket, lambda bucket: all(stored.get(file.path) == file.size for file in bucket.files)
        )
        task = WriteBucket(storage, staged, self.section.shard_bytes, run.writers(), progress)
        return run_rest(self.context, "compact: write", range(self._buckets), task, done)

    def _stored(self, run: StageRun) -> dict[str, int]:
        """Return the sizes of the run's files, by path below the table."""
        table = self.context.lake.layout.table("compacted")
        folder = join(table, partition_folder(self.outputs["compacted"]), run.run_id)
        return {file.path.removeprefix(f"{table}/"): file.size for file in self.context.storage.list_files(folder)}


def find_sources(context: Context) -> dict[str, Snapshot]:
    """Return the shards of each batch that the config names, in the order of batches.

    Raises InputError if a batch, or the recipe, has no shards, and DamagedLakeError if a file of them is missing.
    """
    lake, recipe, section = context.lake, context.config.recipe, context.config.compact
    lake.require_recipe(recipe)
    shards = lake.snapshot("shards", {"recipe": recipe})
    published = {file.partition["batch"] for file in shards.files}
    chosen = published if section.batches == "all" else {name.strip() for name in section.batches}
    if missing := sorted(chosen - published):
        of_batches = f"recipe={recipe} batch={','.join(missing)}"
        raise InputError(f"compact: no shards for {of_batches} in {lake.root}: run jobs.fetch_images first")
    if not chosen:
        raise InputError(f"compact: no shards for recipe={recipe} in {lake.root}: run jobs.fetch_images first")
    by_batch = shards.by("batch")
    sources = {batch: by_batch[batch] for batch in lake.in_order(chosen)}
    for batch, part in sources.items():
        for path, problem in file_problems(lake.storage, part.files).items():
            remedy = f"run jobs.fetch_images again for batch {batch}, which rebuilds it"
            raise DamagedLakeError(f"{path}: {problem}: {remedy}")
    return sources


def run(context: Context) -> list[Outcome]:
    """Publish the dataset of the config."""
    return [CompactStage(context).run()]


JOB = Job("compact", __doc__ or "", run, required=("lake",), stages=(CompactStage,), sections=("compact",))

if __name__ == "__main__":
    sys.exit(main("jobs.compact"))
