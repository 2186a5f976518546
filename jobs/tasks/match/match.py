"""The tasks of the match job: match files of pairs and stage their counts; add the staged counts up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import UsageError
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.files import DataFile, WrittenFile
from curation.lake.layout import LakeLayout
from curation.lake.parquet_read import count_values, read_batches
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import Tombstones
from curation.lid.identifier import LanguageIdentifier, model_sha256
from curation.matching.matcher import Matcher
from curation.matching.pairs import PairMatcher
from curation.matching.store import MatcherStore, matcher_name
from jobs.runtime.partitions import WriterFactory
from jobs.runtime.spec import MatchSpec
from jobs.tasks.match.splits import EntryRange

WRITTEN_TEXTS = "texts.list.element.lang"
WRITTEN_MATCHES = "texts.list.element.entry_ids.list.element"


class MatchedFiles(msgspec.Struct):
    """The written matches of a work unit, its staged counts with the rows of each entry range, and its counters.

    `texts` and `texts_matched` are counted by language, `without_list` by identified language; `texts_written` and
    `matches_written` are read back from the footers of the written files.
    """

    files: list[WrittenFile]
    staged: str
    rows: list[int]
    images: int
    images_matched: int
    tombstone: int
    texts: dict[str, int]
    texts_matched: dict[str, int]
    without_list: dict[str, int]
    texts_written: int
    matches_written: int


class SummedCounts(msgspec.Struct):
    """The written counts of a run of entry ranges, and their sum."""

    files: list[WrittenFile]
    total: int


@dataclass(frozen=True)
class MatchFiles:
    """Matches some files of pairs: writes their matches and stages their counts by entry range."""

    storage: Storage
    lake: str
    spec: MatchSpec
    ranges: Sequence[EntryRange]
    tombstones: Tombstones
    writers: WriterFactory
    staging: str

    def __call__(self, index: int, files: Sequence[DataFile]) -> MatchedFiles:
        """Return the written matches and the staged counts."""
        matcher = PairMatcher(self._identifier(), self.spec.manifest.entries, self._matcher)
        images = images_matched = hidden = 0
        with self.writers("matches", index) as writer:
            for batch in chain.from_iterable(read_batches(self.storage, file.path) for file in files):
                usable = batch.filter(self.tombstones.keep_mask(batch))
                rows = matcher.match(usable)
                writer.write(rows)
                images, hidden = images + batch.num_rows, hidden + batch.num_rows - usable.num_rows
                images_matched += rows.num_rows
        written = [join(LakeLayout(self.lake).table("matches"), file.path) for file in writer.files]
        path = join(self.staging, shuffle.staged_name(index))
        counts = matcher.counts()
        tables = (entry_range.select(counts) for entry_range in self.ranges)
        return MatchedFiles(
            files=writer.files,
            staged=path,
            rows=shuffle.write_buckets(self.storage, path, SCHEMAS["counts"], tables),
            images=images,
            images_matched=images_matched,
            tombstone=hidden,
            texts=matcher.texts,
            texts_matched=matcher.matched,
            without_list=matcher.without_list,
            texts_written=sum(count_values(self.storage, file, WRITTEN_TEXTS) for file in written),
            matches_written=sum(count_values(self.storage, file, WRITTEN_MATCHES) for file in written),
        )

    def _identifier(self) -> LanguageIdentifier:
        check_model(self.spec.model, self.spec.model_digest)
        return self.spec.identifier()

    def _matcher(self, lang: str) -> Matcher:
        version, rules = self.spec.manifest.version, self.spec.rules
        sha256 = self.spec.manifest.files[matcher_name(rules, lang)]
        return MatcherStore(self.storage, self.lake).load(version, rules, lang, sha256)


@lru_cache(maxsize=8)
def check_model(path: str, sha256: str) -> None:
    """Raise UsageError unless this node has the driver's language-ID model; checked once per process."""
    if model_sha256(path) != sha256:
        raise UsageError(f"match.lid_model: {path} differs between this node and the driver")


@dataclass(frozen=True)
class SumCounts:
    """Adds up the staged counts of a run of entry ranges."""

    storage: Storage
    staged: Sequence[str]
    writers: WriterFactory

    def __call__(self, index: int, ranges: range) -> SummedCounts:
        """Return the written counts and their sum."""
        staged = shuffle.read_buckets(self.storage, self.staged, ranges)
        parts = pa.concat_tables([SCHEMAS["counts"].empty_table(), *staged])
        summed = parts.group_by(["lang", "entry_id"]).aggregate([("count", "sum")])
        table = summed.rename_columns(["lang", "entry_id", "count"]).sort_by(
            [("lang", "ascending"), ("entry_id", "ascending")]
        )
        with self.writers("counts", index) as writer:
            writer.write(table)
        return SummedCounts(writer.files, pc.sum(table["count"]).as_py() or 0)
