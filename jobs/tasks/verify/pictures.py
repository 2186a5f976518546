"""Decodes a share of the pictures in shards, and names those that fail."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import pyarrow as pa

from curation.hashing import uniform_column
from curation.images.codec.heif import HEIF, has_heif
from curation.images.decode import ImageLimits, verify
from curation.images.failures import DecodeError
from curation.images.precheck import kind_of, readable_formats
from curation.io.storage import Storage
from curation.jit.hash_columns import u64_column
from curation.lake.files import DataFile
from curation.lake.parquet_read import read_batches
from jobs.runtime.context import Context
from jobs.tasks.verify.problems import Problem

COLUMNS: Final = ["image_id", "image", "width", "height"]
ROWS_AT_ONCE: Final = 256


class CheckedPictures(msgspec.Struct):
    """The number of pictures of a file that were decoded, and what is wrong with some of them, by image id.

    `unread` pictures were not decoded, because no decoder of their format is installed here.
    """

    decoded: int = 0
    unread: int = 0
    failed: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class DecodePictures:
    """Decodes a share of the pictures of one file; the image id decides which, so a larger share includes them."""

    storage: Storage
    share: float
    max_pixels: int

    def __call__(self, _: int, path: str) -> CheckedPictures:
        """Return what was decoded and what failed."""
        checked = CheckedPictures()
        for batch in read_batches(self.storage, path, COLUMNS, ROWS_AT_ONCE):
            selected = uniform_column(u64_column(0, "verify", batch["image_id"])) < self.share
            for row in batch.filter(pa.array(selected)).to_pylist():
                if kind_of(row["image"]) == HEIF and not has_heif():
                    checked.unread += 1
                    continue
                checked.decoded += 1
                if problem := picture_problem(row["image"], (row["width"], row["height"]), self.max_pixels):
                    checked.failed[row["image_id"]] = problem
        return checked


def picture_problem(image: bytes, size: tuple[int, int], max_pixels: int) -> str | None:
    """Return what is wrong with a stored picture of a recorded size (width, height); None if it decodes to it."""
    # all pixels; encodes nothing
    decode_all = ImageLimits(resize="none", encode="original", max_pixels=max_pixels, formats=readable_formats())
    try:
        decoded = verify(image, decode_all)
    except DecodeError as error:
        return f"it does not decode: {error.reason}"
    except MemoryError:
        return "it does not decode: out_of_memory"
    if (decoded.width, decoded.height) != size:
        return f"it has {decoded.width} x {decoded.height} pixels, {size[0]} x {size[1]} are recorded"
    return None


def check_pictures(
    context: Context, files: Collection[DataFile], share: float
) -> tuple[CheckedPictures, list[Problem]]:
    """Decode a share of the pictures in files of shards; return what was done, and the problems."""
    paths = [file.path for file in files]
    task = DecodePictures(context.storage, share, context.config.images.max_pixels)
    checked = context.run_tasks("decode", paths, task)
    problems = [problem for path, result in zip(paths, checked, strict=True) for problem in _problems(path, result)]
    total = CheckedPictures()
    for result in checked:
        total.decoded += result.decoded
        total.unread += result.unread
        total.failed |= result.failed
    return total, problems


def _problems(path: str, checked: CheckedPictures) -> Iterator[Problem]:
    for image_id, what in checked.failed.items():
        yield Problem(f"{path} image {image_id}", what, remedy=f"run jobs.takedown --image_id {image_id}")
