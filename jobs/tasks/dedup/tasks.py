"""The tasks of the stage `duplicates`: stage the hashes of a batch, look them up elsewhere, choose what is removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.cli.config import DedupSection
from curation.dedup.duplicates import choose_duplicates
from curation.dedup.matches import MATCHES, best_matches, find_matches, matches_of_removed
from curation.dedup.picture_hashes import HASHES, Embed
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.files import DataFile, WrittenFile
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.dedup.files import write_by_bucket
from jobs.tasks.dedup.sources import KeptImages, ListedPictures

ALL = range(1)  # the one bucket of a staged file
LOOKED_UP = ("sha256", "phash", "embedding")


class Staged(msgspec.Struct):
    """A staged file, its rows, the pictures that were read for it, and how many have no hash of an embedding."""

    path: str
    rows: int
    pictures: int
    without_embedding: int = 0


@dataclass(frozen=True)
class StageHashes:
    """Writes the hashes of some images of the batch to the run's folder of working files."""

    storage: Storage
    folder: str
    embed: Embed | None = None

    def __call__(self, index: int, images: KeptImages) -> Staged:
        """Return the staged file."""
        hashes = images.read(self.storage, self.embed)
        path = join(self.folder, "hashes", shuffle.staged_name(index))
        shuffle.write_buckets(self.storage, path, HASHES, [hashes])
        return Staged(path, hashes.num_rows, hashes.num_rows, hashes["embedding"].null_count)


@dataclass(frozen=True)
class LookUp:
    """Looks the pictures of the batch up in one source, and stages the matches.

    All their hashes are in memory, without names.
    """

    storage: Storage
    folder: str
    hashes: Sequence[str]
    section: DedupSection

    def __call__(self, index: int, source: KeptImages | ListedPictures) -> Staged:
        """Return the staged matches."""
        stored = source.read(self.storage)
        pictures = shuffle.read_table(self.storage, self.hashes, ALL, HASHES, LOOKED_UP)
        section = self.section
        if isinstance(source, ListedPictures):
            radius, near = section.list_radius, section.embedding_radius
            matches = find_matches(pictures, stored, exact=True, radius=radius, embedding_radius=near)
        else:
            matches = find_matches(pictures, stored, exact=section.exact, radius=section.near_radius)
        path = join(self.folder, "matches", shuffle.staged_name(index))
        shuffle.write_buckets(self.storage, path, MATCHES, [matches])
        return Staged(path, matches.num_rows, stored.num_rows)


class Chosen(msgspec.Struct):
    """The written rows of `duplicates`, and their number by reason."""

    files: list[WrittenFile]
    reasons: dict[str, int]


@dataclass(frozen=True)
class Matched:
    """Staged matches of the batch in hash lists and in earlier batches, each in the order of the sources.

    `published` are files of `duplicates` whose benchmark images are the matches in lists, if these are not read.
    """

    lists: Sequence[str]
    earlier: Sequence[str]
    published: Sequence[DataFile] = ()

    def __str__(self) -> str:
        return "the duplicates of the batch"


@dataclass(frozen=True)
class Choose:
    """Chooses the duplicates of the batch, in one task: whether a picture is kept depends on those before it."""

    storage: Storage
    hashes: Sequence[str]
    exact: bool
    radius: int | None
    writers: WriterFactory

    def __call__(self, _: int, matched: Matched) -> Chosen:
        """Return the written rows."""
        pictures = shuffle.read_table(self.storage, self.hashes, ALL, HASHES)
        listed, earlier = self._matches(matched.lists), self._matches(matched.earlier)
        if matched.published:
            listed = matches_of_removed(pictures, self._benchmark_images(matched.published))
        rows = choose_duplicates(pictures, listed, earlier, exact=self.exact, radius=self.radius)
        buckets = pictures["bucket"].filter(pc.is_in(pictures["name"], rows["image_id"])).to_numpy()
        return Chosen(write_by_bucket(self.writers, rows, buckets), Counter(rows["reason"].to_pylist()))

    def _matches(self, paths: Sequence[str]) -> pa.Table:
        return best_matches(shuffle.read_buckets(self.storage, paths, ALL))

    def _benchmark_images(self, files: Sequence[DataFile]) -> pa.Table:
        batches = (batch for file in files for batch in read_batches(self.storage, file.path))
        found = [batch.filter(pc.equal(batch["reason"], "benchmark")) for batch in batches]
        return pa.Table.from_batches(found, SCHEMAS["duplicates"])
