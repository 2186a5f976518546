"""Published partitions that a stage reads, and writers for those that it publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curation.errors import DamagedLakeError, InputError, OutputError
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.delta.published_tables import describe
from curation.lake.files import DataFile, Snapshot, WrittenFile
from curation.lake.lake import Lake
from curation.lake.layout import LakeLayout, partition_folder
from curation.lake.parquet import FILE_BYTES, PartitionWriter
from curation.lake.presence import file_problems
from curation.lake.schemas import SCHEMAS


@dataclass(frozen=True)
class WriterFactory:
    """Creates the writers of a run inside workers."""

    storage: Storage
    root: str
    run_id: str
    outputs: Mapping[str, Mapping[str, str]]

    def __call__(
        self,
        table: str,
        ordinal: int,
        *,
        folder: str = "",
        file_bytes: int = FILE_BYTES,
        schema: pa.Schema | None = None,
    ) -> PartitionWriter:
        """Return a writer for the files of `table` that one work unit writes; `schema` may lack columns at the end."""
        path = folder or partition_folder(self.outputs[table])
        return PartitionWriter(
            self.storage,
            LakeLayout(self.root).table(table),
            f"{path}/{self.run_id}",
            ordinal,
            schema or SCHEMAS[table],
            file_bytes=file_bytes,
        )


def check_written(lake: Lake, stage: str, written: Mapping[str, Sequence[WrittenFile]]) -> None:
    """Raise OutputError if a file that a stage has written, by table, is gone: takedowns delete those of such runs."""
    for table, files in written.items():
        root = lake.layout.table(table)
        as_published = [DataFile(join(root, file.path), file.size, file.rows, {}) for file in files]
        for path, problem in file_problems(lake.storage, as_published).items():
            raise OutputError(f"{stage}: {path}: {problem}: it was removed during this run, run again")


def require(lake: Lake, needed_by: str, make_with: str, table: str, **partition: str) -> Snapshot:
    """Return a published partition whose files exist with the sizes they were published with.

    Raises InputError if it is not published, DamagedLakeError if a file is missing or has another size; both name the
    job that makes it. Raises UsageError if the recipe of the partition was never used.
    """
    snapshot = find_published(lake, needed_by, make_with, table, **partition)
    for path, problem in file_problems(lake.storage, snapshot.files).items():
        batch = f" for batch {partition['batch']}" if "batch" in partition else ""
        raise DamagedLakeError(f"{path}: {problem}: run {make_with} again{batch}, which rebuilds it")
    return snapshot


def find_published(lake: Lake, needed_by: str, make_with: str, table: str, **partition: str) -> Snapshot:
    """Return a published partition, or raise InputError that names the job that makes it."""
    snapshot = lake.snapshot(table, partition)
    if not snapshot.files:
        if "recipe" in partition:
            lake.require_recipe(partition["recipe"])
        raise InputError(f"{needed_by}: no {table} for {describe(partition)} in {lake.root}: run {make_with} first")
    return snapshot


def check_same_run(first: Snapshot, second: Snapshot) -> None:
    """Raise InputError unless two partitions that one stage publishes came from the same run."""
    if first.run_ids != second.run_ids or len(first.run_ids) != 1:
        raise InputError(
            f"{first.table} (run {', '.join(first.run_ids)}) and {second.table} (run {', '.join(second.run_ids)}) do "
            f"not belong together because a run was interrupted between them: run the stage that writes them again"
        )
