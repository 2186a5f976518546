"""Opens the files of image references for a batch that was read from several sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from curation.images.failures import FetchError
from curation.images.refs.roots import REFUSED, RefRoots
from curation.io.storage import Storage


@dataclass(frozen=True)
class RefSource:
    """The files that references of one source may name, their storage, and the column of images in Parquet files."""

    roots: RefRoots
    storage: Storage
    image_column: str


@dataclass(frozen=True)
class RefSources:
    """The sources of a batch; a file belongs to the one that read it as an input, else to the first that allows it."""

    sources: Sequence[RefSource]

    def open(self, path: str) -> BinaryIO:
        """Open the file of a reference. Raises FetchError (ref_refused) for a file that no source may name."""
        source = self._source_of(path)
        if source is None:
            raise FetchError(REFUSED)
        return source.roots.guard(source.storage.open_input)(path)

    def image_column(self, path: str) -> str:
        """Return the column with the images of a Parquet file."""
        source = self._source_of(path) or self.sources[0]
        return source.image_column

    def _source_of(self, path: str) -> RefSource | None:
        having = (source for source in self.sources if path in source.roots.inputs)
        allowing = (source for source in self.sources if source.roots.allows(path))
        return next(having, None) or next(allowing, None)
