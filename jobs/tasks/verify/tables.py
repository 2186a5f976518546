"""Checks the published tables: names, sizes and content of files, and the counters of the runs that wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from curation.dedup.duplicates import DROP_REASONS
from curation.errors import InputError
from curation.lake.files import DataFile, Snapshot
from curation.lake.lake import Lake
from curation.lake.schemas import PARTITIONS
from jobs.runtime.context import Context
from jobs.runtime.runs import find_run
from jobs.tasks.verify.check import CheckFiles, StoredFile, units_of
from jobs.tasks.verify.problems import Problem, of_file, of_partition

# The figure of a run that counts the rows of its table.
ROWS_COUNTED_AS: Final = {
    "pairs": "images",
    "matches": "images_matched",
    "totals": "entries_seen",
    "thresholds": "languages",
    "curated": "curated",
    "images": "images",
    "duplicates": "duplicates",
    "shards": "written",
    "compacted": "written",
    "annotations": "written",
    "token_languages": "written",
}
# Table → (table that its run read, key of the run's inputs, figure that counts the rows read).
READ_FROM: Final = {
    "matches": ("pairs", "pairs", "images"),
    "curated": ("matches", "matches", "images"),
    "images": ("curated", "curated", "images"),
    "duplicates": ("images", "images", "images"),
    "shards": ("curated", "curated", "pairs"),
    "annotations": ("shards", "shards", "pairs"),
    "token_languages": ("shards", "shards", "pairs"),
}
HIDDEN_ARE_NOT_COUNTED: Final = {"images"}  # rows read with a tombstone are only in the run's drops
PUBLISHED_TOGETHER: Final = {"counts": "matches", "curated": "thresholds"}


@dataclass
class Inventory:
    """What the tables of a lake consist of.

    Attributes:
        snapshots: the published files of each table.
        problems: what is wrong.
        files: number of published files.
        size: their bytes.
        orphans: path and size of files that belong to no published version.
    """

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    size: int = 0
    orphans: dict[str, int] = field(default_factory=dict)


def check_tables(context: Context, *, read: bool) -> Inventory:
    """Check all tables; with `read`, also the bytes of every file."""
    inventory, to_read = Inventory(), dict[str, tuple[str, DataFile]]()
    stored: list[StoredFile] = []
    for table, keys in PARTITIONS.items():
        if not keys:
            _check_small(context.lake, table, inventory)
            continue
        sound = _check_presence(context.lake, table, inventory)
        if read and sound:
            sums = context.lake.file_sums(table)
            stored += [StoredFile(f.path, f.size, sums.get(f.path, ("", ""))[0], f.rows) for f in sound]
            to_read |= {file.path: (table, file) for file in sound}
    for damaged in context.run_tasks("verify", list(units_of(stored)), CheckFiles(context.storage)):
        inventory.problems += [of_file(*to_read[path], what) for path, what in damaged.items()]
    if not any(problem.where == context.lake.layout.table("runs") for problem in inventory.problems):
        inventory.problems += check_counters(context.lake, inventory.snapshots)
        inventory.problems = _name_merges(context.lake, inventory.problems)
    return inventory


def _name_merges(lake: Lake, problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, with the job of merged lists, which are in the same table as other lists."""
    merges = set(lake.rows("runs", {"stage": ["merge_metadata"]})["run_id"].to_pylist())
    return [replace(each, job="jobs.merge_metadata") if each.run_id in merges else each for each in problems]


def _check_small(lake: Lake, table: str, inventory: Inventory) -> None:
    try:
        lake.rows(table)
    except InputError as error:
        inventory.problems.append(Problem(lake.layout.table(table), str(error)))


def _check_presence(lake: Lake, table: str, inventory: Inventory) -> list[DataFile]:
    """Compare a table's files with those in storage, from one listing; return those that are as large as published."""
    try:
        snapshot = lake.snapshot(table)
    except InputError as error:
        inventory.problems.append(Problem(lake.layout.table(table), str(error)))
        return []
    root = lake.layout.table(table)
    stored = {file.path: file.size for file in lake.storage.list_files(root)}
    stored = {path: size for path, size in stored.items() if not path.startswith(f"{root}/_delta_log/")}
    inventory.snapshots[table] = snapshot
    inventory.files += len(snapshot.files)
    inventory.size += snapshot.size
    sound = []
    for file in snapshot.files:
        size = stored.pop(file.path, None)
        if size == file.size:
            sound.append(file)
        else:
            what = "missing" if size is None else f"it has {size} of {file.size} bytes"
            inventory.problems.append(of_file(table, file, what))
    inventory.orphans |= stored
    return sound


def check_counters(lake: Lake, snapshots: Mapping[str, Snapshot]) -> Iterator[Problem]:
    """Yield what contradicts the runs that wrote the partitions, and the runs that read them."""
    runs = {row["run_id"]: row for row in lake.rows("runs").to_pylist()}
    for table, snapshot in snapshots.items():
        for partition, part in _partitions(table, snapshot):
            owners = part.run_ids
            if len(owners) != 1:
                what = f"its files were written by {len(owners)} runs ({', '.join(owners)})"
                yield of_partition(table, partition, owners[0], what)
                continue
            row = runs.get(owners[0]) or find_run(lake, owners[0], table)
            for what in _contradictions(table, partition, part, row, snapshots):
                yield of_partition(table, partition, owners[0], what)


def _contradictions(
    table: str,
    partition: Mapping[str, str],
    part: Snapshot,
    row: Mapping[str, Any] | None,
    snapshots: Mapping[str, Snapshot],
) -> Iterator[str]:
    """Yield in which ways a partition contradicts its run."""
    if row is None:
        yield f"no run {part.run_ids[0]} is recorded"
        return
    together = snapshots.get(PUBLISHED_TOGETHER.get(table, ""))
    if together and together.of(**partition).run_ids != part.run_ids:
        yield f"it and {together.table} do not come from the same run"
    totals, drops, inputs = (json.loads(row[key]) for key in ("totals", "drops", "inputs"))
    if table in ROWS_COUNTED_AS and (counted := totals.get(ROWS_COUNTED_AS[table], part.rows)) != part.rows:
        yield f"it holds {part.rows} rows, its run counted {counted}"
    if table == "compacted":
        yield from _differs_from_shards(partition, part, inputs["shards"], snapshots)
    if table == "shards" and "duplicates" in snapshots:
        removed = snapshots["duplicates"].of(**partition)
        yield from _differs_from_duplicates(removed, inputs.get("duplicates"), drops)
    if table not in READ_FROM:
        return
    source, key, figure = READ_FROM[table]
    read = snapshots[source].of(**_source_partition(source, partition, row)) if source in snapshots else None
    if read and list(read.run_ids) == inputs.get(key):  # else a newer run has replaced the source: not a contradiction
        counted = totals.get(figure, 0) + (drops.get("tombstone", 0) if table in HIDDEN_ARE_NOT_COUNTED else 0)
        if counted != read.rows:
            yield f"its run read {counted} rows of {source}, which holds {read.rows}"


def _differs_from_shards(
    partition: Mapping[str, str], part: Snapshot, read: Mapping[str, Sequence[str]], snapshots: Mapping[str, Snapshot]
) -> Iterator[str]:
    """Yield the contradiction of a dataset to the shards that its run read, unless newer runs have replaced some."""
    shards = snapshots.get("shards", Snapshot("shards", -1, ())).of(recipe=partition["recipe"])
    sources = {batch: shards.of(batch=batch) for batch in read}
    rows = sum(source.rows for source in sources.values())
    if rows != part.rows and all(list(source.run_ids) == read[batch] for batch, source in sources.items()):
        yield f"it holds {part.rows} rows, and the shards of its batches {rows}"


def _differs_from_duplicates(removed: Snapshot, read: Sequence[str] | None, drops: Mapping[str, int]) -> Iterator[str]:
    """Yield the contradiction of shards to the duplicates that their run read, unless a newer run has replaced them.

    Images that a tombstone hides are not counted as duplicates too.
    """
    dropped = sum(drops.get(reason, 0) for reason in DROP_REASONS.values())
    fewest = removed.rows - drops.get("tombstone", 0)
    if list(removed.run_ids) == read and not fewest <= dropped <= removed.rows:
        yield f"its run dropped {dropped} rows of duplicates, which holds {removed.rows}"


def _source_partition(source: str, partition: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, str]:
    """Return the partition that a run read from its source table."""
    known = {**partition, "match_id": json.loads(row["totals"]).get("match_id", "")}
    return {key: known[key] for key in PARTITIONS[source]}


def _partitions(table: str, snapshot: Snapshot) -> Iterator[tuple[dict[str, str], Snapshot]]:
    """Yield the partitions of a table that a run publishes as a whole."""
    keys: Sequence[str] = PARTITIONS[table][:1] if table in ("entries", "source_lists") else PARTITIONS[table]
    for values in sorted({tuple(file.partition[key] for key in keys) for file in snapshot.files}):
        partition = dict(zip(keys, values, strict=True))
        yield partition, snapshot.of(**partition)
