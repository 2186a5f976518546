"""Removes the images of a takedown from `pairs`, and the old files of rebuilt partitions from the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.io.backend import FileStat
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.files import DataFile, WrittenFile
from curation.lake.lake import Lake
from curation.lake.layout import partition_folder, run_id_of
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import PARTITIONS
from curation.lake.tombstones import Tombstones
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.freshness import recorded_inputs
from jobs.runtime.partitions import WriterFactory
from jobs.runtime.progress import STAGES, killed_runs
from jobs.runtime.runs import Outcome, find_run, started_at
from jobs.runtime.stage import Publication, StageRun

TABLES = (
    "pairs",
    "matches",
    "curated",
    "images",
    "duplicates",
    "shards",
    "compacted",
    "annotations",
)  # those with rows of images


class KeptPairs(msgspec.Struct):
    """The written files of a bucket of pairs, and the images and texts that are not in them."""

    files: list[WrittenFile]
    images: int
    texts: int


@dataclass(frozen=True)
class KeepPairs:
    """Writes the files of one bucket of pairs again, without the images of a takedown; the bucket keeps its number."""

    storage: Storage
    tombstones: Tombstones
    writers: WriterFactory

    def __call__(self, _: int, files: Sequence[DataFile]) -> KeptPairs:
        """Return the written files and the numbers of removed images and texts."""
        images = texts = 0
        with self.writers("pairs", _bucket(files[0])) as writer:
            for file in files:
                for batch in read_batches(self.storage, file.path):
                    keep = self.tombstones.keep_mask(batch)
                    removed = batch.filter(pc.invert(keep))
                    images += removed.num_rows
                    texts += pc.sum(pc.list_value_length(removed["texts"])).as_py() or 0
                    writer.write(pa.Table.from_batches([batch.filter(keep)]))
        return KeptPairs(writer.files, images, texts)


def purge_pairs(context: Context, batch: str, tombstones: Tombstones) -> Outcome | None:
    """Publish the pairs of a batch without the images of a takedown; None if the run that made them is not recorded.

    The new run has the fingerprint of the run of ingest, so that ingest has nothing to do; its counters move the
    removed texts from `kept` to the drop reason `tombstone`.
    """
    lake, partition = context.lake, {"batch": batch}
    pairs = lake.snapshot("pairs", partition)
    row = find_run(lake, pairs.run_ids[0], "pairs") if len(pairs.run_ids) == 1 else None
    if row is None:
        return None
    config = Config.model_validate(json.loads(row["config"]))
    inputs = recorded_inputs(row)
    run = StageRun(
        "ingest", lake, config, fingerprint_keys={}, inputs=inputs, outputs={"pairs": partition}, batch=batch
    )
    run.fingerprint = row["fingerprint"]
    units = [list(files) for _, files in groupby(pairs.files, _bucket)]
    kept = context.run_tasks("takedown: pairs", units, KeepPairs(context.storage, tombstones, run.writers()))
    run.step("purge")
    totals, drops = json.loads(row["totals"]), json.loads(row["drops"])
    images, texts = sum(part.images for part in kept), sum(part.texts for part in kept)
    totals["images"] -= images
    totals["kept"] -= texts
    drops["tombstone"] = drops.get("tombstone", 0) + texts
    files = [file for part in kept for file in part.files]
    return run.publish(Publication({"pairs": files}, totals, drops, complete=row["complete"]))


def purge_files(lake: Lake, batches: set[str], others: Sequence[Mapping[str, str]]) -> list[FileStat]:
    """Delete the files of some batches and other partitions that no current partition refers to; return them.

    Files of runs that started after the partition's owner stay: they may belong to a run that is going on. A run that
    started before it cannot publish any more. All files of partitions that are not published are deleted, such as those
    of a first fetch that was killed, and the cached groups of the batches' input files. So is all that unfinished runs
    of the stages in `progress.STAGES` have written: a dataset may have rows of any batch. A run that has lost files
    cannot publish.
    """
    removed = [
        file
        for table in TABLES
        for partition, owner, current in _partitions(lake, table, batches, others)
        for file in lake.storage.list_files(join(lake.layout.table(table), partition_folder(partition)))
        if file.path not in current and started_at(run_id_of(file.path)) <= started_at(owner)
    ]
    for batch in sorted(batches):
        removed += lake.storage.list_files(lake.layout.group_cache(batch))
    unfinished = list(_unpublished(lake, batches))
    for stage, table in STAGES.items():
        unfinished += _unfinished(lake, stage, table)
    removed = list({file.path: file for file in [*removed, *map(lake.storage.stat, unfinished)]}.values())
    lake.storage.delete_files([file.path for file in removed])
    return removed


def _unpublished(lake: Lake, batches: set[str]) -> Iterator[str]:
    """Yield the files of some batches in partitions that are not published; files half written too."""
    folders, now = {partition_folder({"batch": batch}) for batch in batches}, datetime.now(UTC)
    for table in (name for name in TABLES if PARTITIONS[name][-1] == "batch"):
        published = {_folder(file.path) for file in lake.snapshot(table).files}
        for path in lake.storage.older_files(lake.layout.table(table), now):
            folder = _folder(path)
            if folder not in published and folder.rpartition("/")[2] in folders:
                yield path


def _unfinished(lake: Lake, stage: str, table: str) -> Iterator[str]:
    """Yield the files of killed runs of a stage, and of its partitions that are not published; files half written too.

    The data files come first: the working files name the runs, for a purge that is interrupted and run again.
    """
    killed, files, now = sorted(killed_runs(lake, stage)), lake.snapshot(table).files, datetime.now(UTC)
    kept, published = {file.path for file in files}, {_folder(file.path) for file in files}
    for path in lake.storage.older_files(lake.layout.table(table), now):
        if path in kept or "/_delta_log/" in path:
            continue
        if run_id_of(path) in killed or _folder(path) not in published:
            yield path
    for run_id in killed:
        yield from lake.storage.older_files(lake.layout.run_staging(run_id), now)


def _folder(path: str) -> str:
    """Return the folder of the partition of a data file."""
    return path.rsplit("/", 2)[0]


def _partitions(
    lake: Lake, table: str, batches: set[str], others: Sequence[Mapping[str, str]]
) -> Iterator[tuple[Mapping[str, str], str, set[str]]]:
    """Yield the current partitions of batches, and others, with the run that owns each and the paths of its files."""
    files = [
        file
        for file in lake.snapshot(table).files
        if file.partition.get("batch") in batches
        or {key: value for key, value in file.partition.items() if key != "kind"} in others
    ]
    for values, group in groupby(files, lambda file: tuple(file.partition.items())):
        current = list(group)
        yield dict(values), min(file.run_id for file in current), {file.path for file in current}


def _bucket(file: DataFile) -> int:
    return int(file.name.partition(".")[0])
