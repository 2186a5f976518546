"""The index of the samples: the rows of the shards, or compacted datasets, of recipes at one version of the table.

Rank 0 builds the index once, from the Parquet footers and without reading images. It is small enough to broadcast: one
bit per row says whether the row is a sample. Rows with a tombstone are never samples. The validation split consists of
the images whose hash is below its share. The hash depends only on the image_id, so every run holds out the same images,
whatever its seed.

With `draw: online`, the index covers all rows of shards of every matched pair (balance.selection: all), and
`training.data.epochs.draw` derives an index of each epoch's draw from it. Their validation split is drawn once, with a
key that is the same for every run.

With a filter of languages, only pairs of these languages are samples. The filter reads the column `lang`; with `draw:
online`, it applies to the text that an epoch draws.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.balance.sampling import DrawKey, held_out_mask, keep_mask
from curation.errors import InputError, UsageError
from curation.io.storage import Storage
from curation.lake.checked_file import open_parquet
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.tombstones import Tombstones
from training.data.row_languages import Codes, RowLanguages
from training.data.tables.annotations import FRAMES, Annotations
from training.data.tables.selection import Interval, check_intervals, columns_to_read, selected_rows
from training.data.tables.shard_checks import check_matches, check_selection

log = logging.getLogger(__name__)

Bits = npt.NDArray[np.uint8]
SCAN_THREADS = 16
VALIDATION_KEY = DrawKey(0)  # the same for every run and seed, like the split itself


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The samples of a set of shard files.

    Attributes:
        version: version of the table.
        run_ids: ids of the runs that wrote the files, sorted.
        files: paths of the files.
        group_file: per row group, the index of its file.
        group_number: per row group, its number in the file.
        group_rows: per row group, its number of rows.
        counts: per row group, its number of samples.
        bits: one bit per row, set for samples; every row group starts at a byte boundary.
        recipes: per file, its recipe.
        key: key that chooses one of the matched texts of each row; None: the published choice.
        languages: languages of all rows, if they were read.
        annotations: the columns to read beside the shards, if any.
    """

    version: int
    run_ids: tuple[str, ...]
    files: tuple[str, ...]
    group_file: npt.NDArray[np.int32]
    group_number: npt.NDArray[np.int32]
    group_rows: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    bits: Bits
    recipes: tuple[str, ...]
    key: DrawKey | None = None
    languages: RowLanguages | None = None
    annotations: Annotations | None = None

    @property
    def samples(self) -> int:
        """The number of samples."""
        return int(self.counts.sum())

    @property
    def makers(self) -> dict[str, dict[str, Any]]:
        """What made the annotations, by kind."""
        return {kind: dict(maker) for kind, maker in self.annotations.makers.items()} if self.annotations else {}

    @cached_property
    def _byte_starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(-(-self.group_rows // 8))])

    @cached_property
    def _row_starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.group_rows)])

    def mask(self, group: int) -> npt.NDArray[np.bool_]:
        """Return which rows of a row group are samples."""
        start, end = self._byte_starts[group : group + 2]
        return np.unpackbits(self.bits[start:end], count=int(self.group_rows[group])).astype(bool)

    def rows(self, group: int) -> npt.NDArray[np.int64]:
        """Return the row numbers of a row group's samples, ascending."""
        return np.flatnonzero(self.mask(group))

    def only(self, masks: Sequence[npt.NDArray[np.bool_]]) -> Self:
        """Return the index with only those samples that a mask of each row group has."""
        bits = [np.packbits(self.mask(group) & mask) for group, mask in enumerate(masks)]
        counts = np.array([np.bitwise_count(part).sum() for part in bits], np.int64)
        return replace(self, counts=counts, bits=np.concatenate(bits) if bits else self.bits)

    def language_codes(self, group: int) -> Codes:
        """Return the codes of the languages of a row group's rows; all are 0 if the languages were not read."""
        if self.languages is None:
            return np.zeros(int(self.group_rows[group]), np.uint16)
        return self.languages.codes[self._row_starts[group] : self._row_starts[group + 1]]

    def describe(self, group: int, row: int) -> str:
        """Return file, row group and row for an error message."""
        return f"{self.files[self.group_file[group]]}, row group {self.group_number[group]}, row {row}"


class TrainValSplit(NamedTuple):
    """The samples to train on and the held-out samples."""

    train: ShardIndex
    validation: ShardIndex


def build_index(
    lake: Lake,
    *recipes: str,
    batches: Literal["all"] | Sequence[str] = "all",
    dataset: str | None = None,
    version: int | None = None,
    validation_share: float = 0.0,
    online: bool = False,
    languages: Literal["all"] | Sequence[str] = "all",
    read_languages: bool = False,
    annotations: Sequence[str] = (),
    select: Mapping[str, Interval] = MappingProxyType({}),
) -> TrainValSplit:
    """Index the shards of recipes, or datasets made of them, at a version of the table (default: the newest).

    Args:
        lake: the lake.
        recipes: the recipes.
        batches: batches of each recipe.
        dataset: compacted dataset of each recipe to index in the place of its batches.
        version: version of the table.
        validation_share: share of the images that are held out.
        online: whether the shards hold every matched pair, to draw from in every epoch.
        languages: languages of the samples; held-out ones have them too.
        read_languages: whether the index has the languages of the rows; that of `online` never has them.
        annotations: columns of the table `annotations` that are read with the samples to train on; of the held-out
            ones, frames of videos are read.
        select: columns of the table by which samples are left out: those without a value or out of its bounds.

    Raises InputError if nothing is published or annotations do not belong to the shards, DamagedLakeError if a file is
    missing or damaged, and UsageError if a batch has no shards, if the recipes were matched with different metadata, or
    unless the shards hold the curated draw or, with `online`, every matched pair.
    """
    check_intervals(select)
    check_matches(lake, recipes)
    snapshots: list[Snapshot] = []
    for recipe in recipes:
        at = snapshots[0].version if snapshots else version
        snapshots.append(_select(lake, recipe, batches, at) if dataset is None else lake.dataset(recipe, dataset, at))
    files_of_all = tuple(file for part in snapshots for file in part.files)
    snapshot = Snapshot(snapshots[0].table, snapshots[0].version, files_of_all)
    check_selection(lake, snapshot, online=online)
    scan = _Scan(
        lake.storage,
        Tombstones.read(lake),
        validation_share,
        online=online,
        languages=None if languages == "all" else languages,
        read_languages=read_languages,
    )
    beside = Annotations.find(lake, snapshot, annotations, online=online)
    selecting = Annotations.find(lake, snapshot, columns_to_read(select), online=online)
    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        files = list(pool.map(scan, [file.path for file in snapshot.files]))
        selected = selected_rows(selecting, select, lake.storage, pool) if selecting else None
    groups = [group for file in files for group in file]
    train, validation = (
        _assemble(snapshot, files, bits) for bits in ([g.train for g in groups], [g.validation for g in groups])
    )
    if selected is not None:
        left_out = train.samples + validation.samples
        train, validation = train.only(selected), validation.only(selected)
        left_out -= train.samples + validation.samples
        log.info("select: %d pairs are left out by %s", left_out, ", ".join(select))
    videos = beside.only(FRAMES) if beside else None
    return TrainValSplit(replace(train, annotations=beside), replace(validation, annotations=videos))


def _select(lake: Lake, recipe: str, batches: Literal["all"] | Sequence[str], version: int | None) -> Snapshot:
    snapshot = lake.snapshot("shards", {"recipe": recipe}, version)
    published = sorted({file.partition["batch"] for file in snapshot.files})
    if not published:
        lake.require_recipe(recipe)
        raise InputError(f"no shards of recipe {recipe!r} in {lake.root}: run jobs.fetch_images first")
    missing = [] if batches == "all" else [batch for batch in batches if batch not in published]
    if missing:
        raise UsageError(
            f"batches: recipe {recipe!r} has no shards of {', '.join(missing)}, only of {', '.join(published)}"
        )
    chosen = [file for file in snapshot.files if batches == "all" or file.partition["batch"] in batches]
    return Snapshot(snapshot.table, snapshot.version, tuple(chosen))


class _Group(NamedTuple):
    """A row group: its number of rows, one bit per row for the training and the validation samples, and languages."""

    rows: int
    train: Bits
    validation: Bits
    languages: pa.ChunkedArray | None


class _Scan:
    """Reads the footer of one file and, where needed, its ids, URLs, languages, texts and keep probabilities."""

    def __init__(
        self,
        storage: Storage,
        tombstones: Tombstones,
        validation_share: float,
        *,
        online: bool,
        languages: Sequence[str] | None,
        read_languages: bool,
    ) -> None:
        self._storage = storage
        self._tombstones = tombstones
        self._share = validation_share
        self._draws = online and validation_share > 0
        self._online = online
        self._languages = None if languages is None else pa.array(languages, pa.string())
        # an online draw has the languages of the texts that it draws
        self._reads_languages = read_languages and not online
        self._columns = ["image_id"] if tombstones.image_ids or tombstones.hosts or validation_share else []
        self._columns += ["image_url"] if tombstones.hosts else []
        self._columns += ["text", "keep_probability"] if self._draws else []
        self._columns += ["lang"] if self._reads_languages or self._languages is not None else []

    def __call__(self, path: str) -> list[_Group]:
        with open_parquet(self._storage, path) as file:
            return [self._group(file, number) for number in range(file.num_row_groups)]

    def _group(self, file: pq.ParquetFile, number: int) -> _Group:
        rows = file.metadata.row_group(number).num_rows
        keep, held_out, drawn = np.ones(rows, bool), np.zeros(rows, bool), np.ones(rows, bool)
        chosen, languages = np.ones(rows, bool), None
        if self._columns:
            table = file.read_row_group(number, columns=self._columns).combine_chunks()
            keep = self._tombstones.keep_mask(table).to_numpy(zero_copy_only=False)
            if self._share:
                held_out = held_out_mask(table["image_id"].combine_chunks(), self._share)
            if self._draws:
                images, texts, probabilities = (
                    table[name].combine_chunks() for name in ("image_id", "text", "keep_probability")
                )
                drawn = keep_mask(VALIDATION_KEY, images, texts, probabilities.to_numpy())
            if self._languages is not None:
                chosen = pc.is_in(table["lang"], self._languages).to_numpy()
            languages = table["lang"] if self._reads_languages else None
        train = keep & ~held_out if self._online else keep & ~held_out & chosen
        return _Group(rows, np.packbits(train), np.packbits(keep & held_out & drawn & chosen), languages)


def _assemble(snapshot: Snapshot, groups: Sequence[Sequence[_Group]], bits: Sequence[Bits]) -> ShardIndex:
    """Concatenate the row groups of all files, with the bits of one split."""
    numbers = [(file_number, group) for file_number, file in enumerate(groups) for group in range(len(file))]
    languages = [group.languages for file in groups for group in file if group.languages is not None]
    return ShardIndex(
        version=snapshot.version,
        run_ids=snapshot.run_ids,
        files=tuple(file.path for file in snapshot.files),
        group_file=np.array([file for file, _ in numbers], np.int32),
        group_number=np.array([group for _, group in numbers], np.int32),
        group_rows=np.array([group.rows for file in groups for group in file], np.int64),
        counts=np.array([np.bitwise_count(part).sum() for part in bits], np.int64),
        bits=np.concatenate(bits) if bits else np.empty(0, np.uint8),
        recipes=tuple(file.partition["recipe"] for file in snapshot.files),
        languages=RowLanguages.of(languages) if languages else None,
    )
