"""The task that hashes pictures of files, tar archives and Parquet files, for a hash list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from curation.cli.config import ImagesSection
from curation.dedup.picture_hashes import Embed
from curation.errors import InputError
from curation.images.decode import OUT_OF_MEMORY, ImageLimits, StoredImage, verify
from curation.images.failures import DecodeError
from curation.images.precheck import readable_formats
from curation.io.failures import first_line
from curation.io.gzip_stream import DamagedError
from curation.io.storage import Storage
from curation.io.tar_members import read_member, tar_members

FILES_PER_UNIT = 256
ROWS_AT_ONCE = 64
CONTAINERS = (".tar", ".parquet")


@dataclass(frozen=True)
class PictureFile:
    """A picture, or a tar archive or Parquet file with pictures, and the name that the list gives it."""

    path: str
    name: str

    def __str__(self) -> str:
        return self.path

    @property
    def is_container(self) -> bool:
        """Return whether the file holds many pictures."""
        return self.path.lower().endswith(CONTAINERS)


class HashedPictures(msgspec.Struct):
    """The rows of a hash list, as its columns are, and why other pictures cannot be decoded."""

    rows: list[tuple[str, str, str, str | None]]
    failed: dict[str, int]


@dataclass(frozen=True)
class HashPictures:
    """Hashes the pictures of some files; `image_column` is that of Parquet files, and `embed` hashes embeddings."""

    storage: Storage
    limits: ImageLimits
    image_column: str
    embed: Embed | None = None

    def __call__(self, _: int, files: Sequence[PictureFile]) -> HashedPictures:
        """Return the hashes. Raises InputError if a file cannot be read completely."""
        rows: list[tuple[str, str, str, str | None]] = []
        failed: Counter[str] = Counter()
        decoded: list[tuple[str, str, StoredImage]] = []
        for name, data in (picture for file in files for picture in self._pictures(file)):
            try:
                decoded.append((name, sha256(data).hexdigest(), verify(data, self.limits)))
            except DecodeError as error:
                failed[error.reason] += 1
            except MemoryError:
                failed[OUT_OF_MEMORY] += 1
            if len(decoded) == ROWS_AT_ONCE:
                rows += self._hashed(decoded)
                decoded = []
        return HashedPictures(rows + self._hashed(decoded), failed)

    def _hashed(self, decoded: Sequence[tuple[str, str, StoredImage]]) -> list[tuple[str, str, str, str | None]]:
        """Return the rows of pictures that are decoded."""
        embeddings = self._embeddings([image.image for _, _, image in decoded])
        return [
            (name, digest, image.phash, embedding)
            for (name, digest, image), embedding in zip(decoded, embeddings, strict=True)
        ]

    def _embeddings(self, images: Sequence[bytes]) -> list[str | None]:
        """Return the hashes of embeddings as hexadecimal digits; None without a model."""
        values = self.embed(images) if self.embed else [None] * len(images)
        return [None if value is None else f"{value:016x}" for value in values]

    def _pictures(self, file: PictureFile) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the bytes of every picture."""
        try:
            if file.path.lower().endswith(".tar"):
                yield from self._members(file)
            elif file.path.lower().endswith(".parquet"):
                yield from self._rows(file)
            else:
                yield file.name, self.storage.read_bytes(file.path)
        except (DamagedError, pa.ArrowException, OSError) as error:
            raise InputError(f"--inputs: {file.path}: {first_line(error)}: replace the file") from error

    def _members(self, file: PictureFile) -> Iterator[tuple[str, bytes]]:
        with self.storage.open_input(file.path) as archive:
            for member in tar_members(archive):
                if member.is_file:
                    yield f"{file.name}#{member.name}", read_member(archive, member)

    def _rows(self, file: PictureFile) -> Iterator[tuple[str, bytes]]:
        with self.storage.open_input(file.path) as source:
            parquet = pq.ParquetFile(source, page_checksum_verification=True)
            if self.image_column not in parquet.schema_arrow.names:
                raise InputError(
                    f"--image_column: {file.path} has no column {self.image_column!r}: it has "
                    f"{', '.join(parquet.schema_arrow.names)}"
                )
            number = 0
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=[self.image_column], use_threads=False):
                for value in batch.column(0).to_pylist():
                    data = value.get("bytes") if isinstance(value, dict) else value
                    yield f"{file.name}#{number}", data if isinstance(data, bytes) else b""
                    number += 1


def hash_limits(section: ImagesSection) -> ImageLimits:
    """Return the limits under which pictures are decoded to be hashed; all formats that can be read are accepted."""
    return ImageLimits(section.max_side, section.max_pixels, formats=readable_formats(), resize=section.resize)


def units_of_files(files: Sequence[PictureFile]) -> list[list[PictureFile]]:
    """Cut files into work units: archives and tables alone, other files `FILES_PER_UNIT` at a time."""
    containers = [[file] for file in files if file.is_container]
    others = [file for file in files if not file.is_container]
    return [*containers, *(others[i : i + FILES_PER_UNIT] for i in range(0, len(others), FILES_PER_UNIT))]
