"""Make annotations: columns beside the shards that training methods read, such as rewritten texts or embeddings.

    python -m jobs.annotate --config c.yaml --annotate.kinds rewrites                       of all batches of the recipe
    python -m jobs.annotate --config c.yaml --annotate.kinds clip_score --batch 2024-05-31  of one batch

The table `annotations` has the files, row groups and rows of `shards`, so the trainer reads both side by side, and
images are never written again to add a column. `annotate.makers` names what makes each kind, with its parameters. A run
that was killed is continued. When the shards have changed, for example by a takedown, running the command again makes
only the rows that are new or have changed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from itertools import count, groupby
from typing import Any, ClassVar, Final, Self

from curation.annotations.load import maker_keys
from curation.cli.annotate_config import Kind
from curation.errors import OutputError, UsageError
from curation.io.paths import join
from curation.lake.layout import partition_folder
from jobs.runtime.context import Context
from jobs.runtime.freshness import made_with
from jobs.runtime.job import Job, main
from jobs.runtime.partitions import require
from jobs.runtime.progress import Progress, continue_killed, run_rest
from jobs.runtime.runs import Outcome, find_run
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks.annotate.batches import batches_with_shards
from jobs.tasks.annotate.earlier import EarlierRows
from jobs.tasks.annotate.make import MadeRows, MakeRows, RowsOfShard
from jobs.tasks.annotate.write import StagedShard, WriteShard, WrittenShard
from jobs.tasks.images.splits import Slice

ALGORITHM: Final = 1
UNIT_ROWS: Final = 1024  # that one task annotates; a killed run loses at most those of the tasks that were running


class AnnotateStage(Stage):
    """Makes one kind of annotations of one batch and publishes them in `annotations`."""

    name: ClassVar[str] = "annotate"
    tables: ClassVar[tuple[str, ...]] = ("annotations",)

    def __init__(self, context: Context, batch: str, kind: Kind) -> None:
        super().__init__(context)
        config, partition = context.config, {"recipe": context.config.recipe, "batch": batch}
        self.batch, self.kind = batch, kind
        self.shards = require(context.lake, "annotate", "jobs.fetch_images", "shards", **partition)
        self.maker = {"kind": kind, **maker_keys(config.annotate, kind, config.seed)}
        self.fingerprint_keys = {**self.maker, "algorithm": ALGORITHM}
        self.inputs = {"shards": list(self.shards.run_ids)}
        self.outputs = {"annotations": {**partition, "kind": kind}}
        self.reads = [self.shards]

    @classmethod
    def open(cls, context: Context) -> Self:
        """Return the stage of the context's batch and first kind."""
        return cls(context, context.batch, context.config.annotate.kinds[0])

    @classmethod
    def reopen(cls, context: Context, row: Mapping[str, Any], partition: Mapping[str, str]) -> Self:  # noqa: ARG003
        """Return the stage that published a partition."""
        return cls(context, partition["batch"], partition["kind"])  # type: ignore[arg-type]  # it was checked then

    def execute(self, run: StageRun) -> Publication:
        """Make the annotations in parts of the files of shards, then write them file by file."""
        continue_killed(run)
        units = self._units()
        made = self._make(run, units)
        run.step("make")
        written = self._write(run, units, [part.path for part in made])
        run.step("write")
        files = [file for shard in written for file in shard.files]
        rows = sum(file.rows for file in files)
        if not self.shards.rows == sum(part.rows for part in made) == rows or len(files) != len(self.shards.files):
            raise OutputError(f"annotate: counts do not add up: {self.shards.rows} rows of shards, {rows} written")
        num_made = sum(part.made for part in made)
        totals = {
            "kind": self.kind,
            "pairs": self.shards.rows,
            "written": rows,
            "made": num_made,
            "reused": rows - num_made,
            "without_value": sum(part.without_value for part in made),
        }
        reasons = sum((Counter(part.reasons) for part in made), Counter[str]())
        return Publication({"annotations": files}, totals, dict(sorted(reasons.items())))

    def _units(self) -> list[RowsOfShard]:
        """Return the work units: parts of files, in order."""
        numbers = count()
        return [
            RowsOfShard(next(numbers), Slice(file.path, start, min(start + UNIT_ROWS, file.rows)))
            for file in self.shards.files
            for start in range(0, file.rows, UNIT_ROWS)
        ]

    def _make(self, run: StageRun, units: list[RowsOfShard]) -> list[MadeRows]:
        """Make the annotations of all units, apart from those that a killed run has made."""
        context, progress = self.context, Progress(self.context.storage, f"{run.staging}/made")
        sizes = {file.path: file.size for file in context.storage.list_files(run.staging)}
        done = progress.finished(MadeRows, lambda made: sizes.get(made.path) == made.size)
        section, seed = context.config.annotate, context.config.seed
        earlier = self._earlier() if len(done) < len(units) else EarlierRows(context.storage)
        task = MakeRows(context.storage, section, self.kind, seed, run.staging, earlier, progress)
        return run_rest(context, f"annotate: {self.kind}", units, task, done)

    def _earlier(self) -> EarlierRows:
        """Return the published rows that the same maker has made."""
        lake = self.context.lake
        published = lake.snapshot("annotations", self.outputs["annotations"])
        row = find_run(lake, published.run_ids[0], "annotations") if len(published.run_ids) == 1 else None
        if row is None or not row["complete"] or not made_with(row, self.name, self.fingerprint_keys):
            return EarlierRows(self.context.storage)
        return EarlierRows.of(self.context, published, lake.recipe(self.context.config.recipe)["seed"])

    def _write(self, run: StageRun, units: list[RowsOfShard], staged: list[str]) -> list[WrittenShard]:
        """Write one file per file of shards, apart from those that a killed run has written."""
        storage, progress = self.context.storage, Progress(self.context.storage, f"{run.staging}/written")
        table = self.context.lake.layout.table("annotations")
        folder = join(table, partition_folder(self.outputs["annotations"]), run.run_id)
        stored = {file.path.removeprefix(f"{table}/"): file.size for file in storage.list_files(folder)}
        done = progress.finished(WrittenShard, lambda shard: all(stored.get(f.path) == f.size for f in shard.files))
        of_file = groupby(zip(units, staged, strict=True), lambda pair: pair[0].rows.path)
        paths = {path: [part for _, part in parts] for path, parts in of_file}
        shards = [
            StagedShard(number, file.path, paths.get(file.path, ())) for number, file in enumerate(self.shards.files)
        ]
        task = WriteShard(storage, self.kind, self.maker, run.writers(), progress)
        return run_rest(self.context, f"annotate: write {self.kind}", shards, task, done)


def run(context: Context) -> list[Outcome]:
    """Make the kinds of the config for its batches; all are checked before the first one is made."""
    kinds = context.config.annotate.kinds
    if not kinds:
        raise UsageError("annotate.kinds: none: name kinds, such as rewrites (see python -m jobs.annotate --help)")
    batches = batches_with_shards(context)
    stages = [AnnotateStage(context, batch, kind) for batch in batches for kind in kinds]
    return [stage.run() for stage in stages]


JOB = Job("annotate", __doc__ or "", run, required=("lake",), stages=(AnnotateStage,), sections=("annotate",))

if __name__ == "__main__":
    sys.exit(main("jobs.annotate"))
