"""Make a list of the hashes of pictures, such as those of a benchmark, that `dedup.hash_lists` keeps out of the shards.

    python -m jobs.make_hash_list --config c.yaml --inputs /data/imagenet/val --output /data/lists/imagenet.parquet

An input is a folder, a glob or a file: pictures, tar archives of them, or Parquet files with a column of them. The list
has the name, the SHA-256 and the perceptual hash of every picture, as `images` would resize it, and with `dedup.model`
the hash of its embedding. Writes the number of pictures to stdout.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.counts import count
from curation.cli.plugins import model_digest
from curation.cli.run import run_command
from curation.dedup.hash_list import HASH_LIST, HashSettings, write_hash_list
from curation.errors import InputError, UsageError
from curation.io.paths import absolute, normalize_path
from curation.io.storage import Storage
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.tasks.dedup.hash_pictures import HashPictures, PictureFile, hash_limits, units_of_files
from jobs.tasks.models.image_hash import EmbeddingHasher
from jobs.tasks.models.pretrained import check_model

log = logging.getLogger(__name__)


class HashListOptions(CommandOptions):
    """Which pictures, and where the list is written."""

    inputs: list[str] = Field([], description="folder, glob, picture, tar or Parquet file (required)")
    output: str | None = Field(None, description="Parquet file of the list (required)")
    image_column: str = Field("image", description="column with the pictures of Parquet files")


COMMAND = Command("python -m jobs.make_hash_list", __doc__ or "", HashListOptions, Config, sections=("images", "dedup"))


def make_hash_list(argv: Sequence[str]) -> None:
    """Write the list; say how many pictures it has, and why others are not in it."""
    options, config = COMMAND.parse(argv)
    missing = [f"--{name}" for name in ("inputs", "output") if not getattr(options, name)]
    if missing:
        raise UsageError(f"{', '.join(missing)}: missing: give {'them' if missing[1:] else 'it'} as flags")
    context, output = Context(config, "make_hash_list"), normalize_path(str(options.output))
    files = list(_files(context.storage, options.inputs))
    limits = hash_limits(config.images)
    model, model_sha256 = config.dedup.model, ""
    if model:
        check_model(model, "dedup.model")
        model_sha256 = model_digest(model, "dedup.model")
    embed = EmbeddingHasher(model, limits).hashes if model else None
    task = HashPictures(context.storage, limits, options.image_column, embed)
    results = context.run_tasks("make_hash_list", units_of_files(files), task)
    rows = [dict(zip(HASH_LIST.names, row, strict=True)) for result in results for row in result.rows]
    failed: Counter[str] = Counter()
    for result in results:
        failed.update(result.failed)
    reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(failed.items()))
    if not rows:
        raise InputError(f"--inputs: none of {count(failed.total(), 'file')} is a picture ({reasons}): give pictures")
    if failed:
        log.warning("make_hash_list: not in the list, because they cannot be decoded: %s", reasons)
    settings = HashSettings(config.images.resize, config.images.max_side, model_sha256)
    write_hash_list(context.storage, output, rows, settings)
    sys.stdout.write(f"{output}: {count(len(rows), 'picture')}\n")


def _files(storage: Storage, patterns: Sequence[str]) -> Iterator[PictureFile]:
    """Yield the files that patterns name; those of a folder are named by their paths below it."""
    for pattern in map(absolute, patterns):
        root = pattern.rstrip("/") + "/"
        for file in storage.expand(pattern):
            name = file.path.removeprefix(root) if file.path.startswith(root) else file.path.rpartition("/")[2]
            yield PictureFile(file.path, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(make_hash_list, argv)


if __name__ == "__main__":
    sys.exit(main())
