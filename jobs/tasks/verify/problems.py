"""A problem of a lake: the file or partition, what is wrong with it, and the job that makes it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from curation.lake.delta.published_tables import describe
from curation.lake.files import DataFile

JOBS: Final = {
    "pairs": "jobs.ingest",
    "matches": "jobs.match",
    "counts": "jobs.match",
    "totals": "jobs.balance",
    "thresholds": "jobs.balance",
    "curated": "jobs.balance",
    "images": "jobs.fetch_images",
    "duplicates": "jobs.fetch_images",
    "shards": "jobs.fetch_images",
    "compacted": "jobs.compact",
    "annotations": "jobs.annotate",
    "token_languages": "jobs.count_tokens",
    "entries": "jobs.build_metadata",
    "source_lists": "jobs.build_metadata",
}

FLAGS: Final = {
    "recipe": "recipe",
    "batch": "batch",
    "dataset": "compact.dataset",
    "kind": "annotate.kinds",
}  # by partition key


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        where: path of the file, or table and partition.
        what: what is wrong.
        job: command that makes the file again after `--repair`; empty if none does.
        table: table of a data file; empty for other files.
        partition: its partition.
        run_id: the run that published it.
        remedy: what to do, if neither a run of `job` nor a copy of the file helps; `--repair` does not do it.
        restored: whether `--repair` restores the file.
    """

    where: str
    what: str
    job: str = ""
    table: str = ""
    partition: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    remedy: str = ""
    restored: bool = False

    def line(self) -> str:
        """Return the problem in one line."""
        remedy = "--repair restores it" if self.restored else "restore it from a copy"
        remedy = self.remedy or (f"run {self.job} again" if self.job else remedy)
        return f"{self.where}: {self.what}: {remedy}"


def of_file(table: str, file: DataFile, what: str) -> Problem:
    """Return the problem of a data file."""
    return Problem(file.path, what, job_of(table, file.partition), table, file.partition, file.run_id)


def of_partition(table: str, partition: Mapping[str, str], run_id: str, what: str) -> Problem:
    """Return the problem of a partition."""
    where = f"{table} {describe(partition)}"
    return Problem(where, what, job_of(table, partition), table, partition, run_id)


def job_of(table: str, partition: Mapping[str, str]) -> str:
    """Return the command that makes a partition."""
    flags = "".join(f" --{flag} {partition[key]}" for key, flag in FLAGS.items() if key in partition)
    return f"{JOBS[table]}{flags}"
