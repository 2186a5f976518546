"""Takes a batch, a recipe, one batch of a recipe, or a compacted dataset out of a lake.

The files beside the tables are removed first, then the partitions from the current version of each table, last stage
first, and the name of a recipe last. So a removal that was interrupted can be run again: a lake has the batches of its
`pairs`. The data files stay until gc removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from curation.cli.counts import count
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.view import LakeView, removed_partition
from jobs.runtime.batches.inventory import Inventory, newly_stale
from jobs.runtime.context import Context
from jobs.runtime.stage import Stage

TABLES = (
    "token_languages",
    "annotations",
    "compacted",
    "shards",
    "duplicates",
    "images",
    "curated",
    "thresholds",
    "totals",
    "counts",
    "matches",
    "pairs",
)


@dataclass(frozen=True)
class Removal:
    """What goes with a selection: partitions by table, pages, and the stages that become stale without it."""

    selection: Mapping[str, str]
    tables: Sequence[Snapshot]
    pages: Sequence[str]
    stale: Sequence[str]

    def lines(self) -> Iterator[str]:
        """Yield what is removed, then the stages that become stale, with the reason."""
        for part in self.tables:
            yield f"{part.table}: {count(len(part.files), 'file')}, {count(part.rows, 'row')}, {part.size:,} bytes"
        for page in self.pages:
            yield f"page: {page}"
        total = sum(part.size for part in self.tables)
        yield f"in all: {count(sum(len(part.files) for part in self.tables), 'file')}, {total:,} bytes"
        yield from (f"becomes stale: {line}" for line in self.stale)


def plan_removal(context: Context, kinds: Sequence[type[Stage]], selection: Mapping[str, str]) -> Removal:
    """Return what removing a batch, a recipe, both, or a dataset of a recipe would do.

    `kinds` are the stages of a night, in order, and that of datasets.
    """
    lake = context.lake
    now = LakeView(lake.root, context.storage, lake.order)
    after = LakeView(lake.root, context.storage, lake.order, without=selection)
    stale = newly_stale(Inventory(context, kinds, now).stages(), Inventory(context, kinds, after).stages())
    parts = [now.snapshot(table, part) for table in TABLES if (part := removed_partition(table, selection))]
    return Removal(
        selection,
        [part for part in parts if part.files],
        [page for page in _pages(now, selection) if context.storage.exists(page)],
        stale,
    )


def remove(lake: Lake, removal: Removal) -> None:
    """Remove what was planned. Raises OutputError if a partition was published since then."""
    lake.storage.delete_files(removal.pages)
    if set(removal.selection) == {"batch"}:
        lake.storage.delete_folder(lake.layout.group_cache(removal.selection["batch"]))
    for part in removal.tables:
        partition = removed_partition(part.table, removal.selection)
        lake.publish(part.table, partition, [], expected=part.run_ids, metadata={"removed": part.table})
    if set(removal.selection) == {"recipe"}:
        lake.storage.delete_files([lake.layout.recipe(removal.selection["recipe"])])


def _pages(lake: Lake, selection: Mapping[str, str]) -> Iterator[str]:
    """Yield the paths that the pages of the removed nights have; a dataset has none."""
    if "dataset" in selection:
        return
    for recipe in [selection["recipe"]] if "recipe" in selection else lake.recipes():
        for batch in [selection["batch"]] if "batch" in selection else lake.batches():
            yield lake.layout.batch_page(recipe, batch)
