"""Annotations: columns that jobs.annotate made beside the shards, read side by side with them.

The table has the files, row groups and rows of the shards that it was made from. So a row is found by its position; the
ids of the images are compared once per row group.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import pyarrow as pa

from curation.errors import InputError, UsageError
from curation.lake.checked_file import named_damage
from curation.lake.delta.published_tables import describe
from curation.lake.files import DataFile, Snapshot
from curation.lake.lake import Lake
from curation.lake.schemas import ANNOTATIONS
from training.data.tables.open_files import OpenFiles
from training.data.tables.shard_checks import run_rows

log = logging.getLogger(__name__)

KIND_OF: Final = {column: kind for kind, columns in ANNOTATIONS.items() for column, _ in columns}
OF_IMAGES: Final = frozenset(
    {"teacher_image", "regions", "teacher_regions", "frames", "frame_times", "subtitle", "caption"}
)
FRAMES: Final = "frames"  # the column with the encoded frames of videos


@dataclass(frozen=True)
class Annotations:
    """The files beside those of an index.

    Attributes:
        columns: the columns of each kind that are read.
        files: by kind, for each file of the index the one with its annotations.
        makers: by kind, what made it: class, version, settings, model.
    """

    columns: Mapping[str, tuple[str, ...]]
    files: Mapping[str, tuple[str, ...]]
    makers: Mapping[str, Mapping[str, Any]]

    @classmethod
    def find(cls, lake: Lake, shards: Snapshot, columns: Sequence[str], *, online: bool) -> Self | None:
        """Return the annotations of all partitions of some shards; None without columns.

        Raises UsageError if there is no such column, or if texts are drawn to which the annotations do not belong, and
        InputError if some are not published, were made from other shards, or by different makers.
        """
        if not columns:
            return None
        _check_columns(shards, columns, online=online)
        kinds = dict.fromkeys(KIND_OF[column] for column in columns)
        found = {kind: dict(_pairs(lake, shards, kind)) for kind in kinds}
        return cls(
            columns={kind: tuple(column for column in columns if KIND_OF[column] == kind) for kind in kinds},
            files={kind: tuple(found[kind][file.path] for file in shards.files) for kind in kinds},
            makers={kind: _maker(lake, shards, kind) for kind in kinds},
        )

    def only(self, column: str) -> Self | None:
        """Return these annotations with one column; None if it is not read."""
        if not any(column in columns for columns in self.columns.values()):
            return None
        kind = KIND_OF[column]
        return replace(self, columns={kind: (column,)}, files={kind: self.files[kind]})


class AnnotationReader:
    """Reads the annotations of row groups; one thread at a time may call it.

    Args:
        annotations: the files.
        files: opens them.
    """

    def __init__(self, annotations: Annotations, files: OpenFiles) -> None:
        self._annotations, self._files = annotations, files

    def read(self, file: int, group: int, ids: pa.ChunkedArray) -> pa.Table:
        """Return the annotations of all rows of a row group.

        Raises InputError if the rows are not those of the images `ids`, DamagedLakeError if a file is missing or
        damaged.

        Args:
            file: number of the file in the index.
            group: number of the row group in the file.
            ids: the ids of the images in the shards.
        """
        names, parts = list[str](), list[pa.ChunkedArray]()
        for kind, columns in self._annotations.columns.items():
            path = self._annotations.files[kind][file]
            with named_damage(path):
                rows = self._files.open(path).read_row_group(group, columns=["image_id", *columns], use_threads=False)
            if not rows["image_id"].equals(ids):
                raise InputError(f"{path}, row group {group}: it has rows of other images: run jobs.annotate again")
            names += columns
            parts += [rows[column] for column in columns]
        return pa.table(parts, names=names)


def _check_columns(shards: Snapshot, columns: Sequence[str], *, online: bool) -> None:
    if unknown := next((column for column in columns if column not in KIND_OF), None):
        known = ", ".join(sorted(KIND_OF))
        raise UsageError(f"annotations: there is no column {unknown!r}: choose among {known}")
    if shards.table != "shards":
        raise UsageError("dataset: annotations are made of shards, not of datasets: leave out `dataset`")
    if online and (of_texts := [column for column in columns if column not in OF_IMAGES]):
        raise UsageError(
            f"draw: {', '.join(of_texts)} are annotations of published texts, but `draw: online` draws others: train "
            f"on a recipe with balance.selection: drawn"
        )


def _pairs(lake: Lake, shards: Snapshot, kind: str) -> Iterator[tuple[str, str]]:
    """Yield every file of some shards with that of its annotations.

    Raises InputError if they do not belong together.
    """
    table = lake.snapshot("annotations")
    for partition, files in _partitions(shards):
        annotated = table.of(**partition, kind=kind)
        remedy = f"run jobs.annotate --annotate.kinds {kind}"
        if not annotated.files:
            raise InputError(f"annotations: no {kind} for {describe(partition)} in {lake.root}: {remedy} first")
        made_from = {run for row in run_rows(lake, annotated) for run in json.loads(row["inputs"])["shards"]}
        if made_from != {file.run_id for file in files} or len(annotated.files) != len(files):
            raise InputError(
                f"annotations: {kind} of {describe(partition)} were made from other shards "
                f"(run {', '.join(sorted(made_from))}): {remedy} again, or train on that version of the shards"
            )
        yield from ((shard.path, file.path) for shard, file in zip(files, annotated.files, strict=True))


def _maker(lake: Lake, shards: Snapshot, kind: str) -> Mapping[str, Any]:
    """Return what made the annotations of all partitions. Raises InputError if they have different makers."""
    table, makers = lake.snapshot("annotations"), dict[str, Mapping[str, Any]]()
    for partition, _ in _partitions(shards):
        for row in run_rows(lake, table.of(**partition, kind=kind)):
            makers[describe(partition)] = json.loads(row["inputs"])["settings"]
    (first, maker), *others = makers.items()
    if other := next((name for name, each in others if each != maker), None):
        raise InputError(
            f"annotations: {kind} of {first} and of {other} were made by different makers: run jobs.annotate with one"
        )
    log.info("annotations: %s by %s, version %s", kind, maker["maker"], maker["version"])
    return maker


def _partitions(shards: Snapshot) -> Iterator[tuple[Mapping[str, str], Sequence[DataFile]]]:
    """Yield the partitions of some shards with their files, in order."""
    for recipe, of_recipe in shards.by("recipe").items():
        for batch, part in of_recipe.by("batch").items():
            yield {"recipe": recipe, "batch": batch}, part.files
