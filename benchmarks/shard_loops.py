"""Plain loops that do what our stages do to shards, and the least work with which it can be done, for bench_shards.

The loops do the same to the same rows, without checksums, bounds and receipts. The least work only reads the rows with
pyarrow, writes as many bytes, without any format of texts, and hashes them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from PIL import Image

from curation.hashing import order_hash


@dataclass(frozen=True)
class Inputs:
    """The files that the loops read: those of shards and of images, and the rows of the shards."""

    shards: Sequence[str]
    images: Sequence[str]
    tables: Sequence[pa.Table]


Loop = Callable[[Inputs, Path], None]


def write_parquet(inputs: Inputs, folder: Path) -> None:
    """Write the rows with pyarrow."""
    for number, rows in enumerate(inputs.tables):
        pq.write_table(rows, folder / f"{number}.parquet", compression="zstd")


def sort_all(inputs: Inputs, folder: Path) -> None:
    """Sort all rows in memory and write them."""
    rows = pa.concat_tables(map(read, inputs.shards))
    order = np.argsort([order_hash(0, each) for each in rows["image_id"].to_pylist()], kind="stable")
    pq.write_table(rows.take(pa.array(order)), folder / "all.parquet", compression="zstd")


def hash_files(inputs: Inputs, _: Path) -> None:
    """Hash the files of the shards."""
    for path in inputs.shards:
        hash_file(path)


def decode_all(inputs: Inputs, _: Path) -> None:
    """Decode the pictures with Pillow."""
    for rows in inputs.tables:
        for image in rows["image"].to_pylist():
            Image.open(io.BytesIO(image)).load()


def write_tars(inputs: Inputs, folder: Path) -> None:
    """Write tars with the standard library."""
    for number, path in enumerate(inputs.shards):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for row in read(path).to_pylist():
                parts = {"jpg": row.pop("image"), "txt": row["text"].encode(), "json": json.dumps(row).encode()}
                for extension, data in parts.items():
                    member = tarfile.TarInfo(f"{row['image_id']}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def copy_parquet(inputs: Inputs, folder: Path) -> None:
    """Copy Parquet files."""
    for number, path in enumerate(inputs.shards):
        pq.write_table(read(path), folder / f"{number}.parquet", compression="zstd")


def write_json(inputs: Inputs, folder: Path) -> None:
    """Write JSON Lines with the standard library."""
    for number, path in enumerate(inputs.shards):
        with gzip.open(folder / f"{number}.jsonl.gz", "wt", compresslevel=6) as file:
            for row in read(path, without_images=True).to_pylist():
                file.write(json.dumps(row) + "\n")


def copy_images(inputs: Inputs, folder: Path) -> None:
    """Copy the files of images as Parquet, and hash the copies."""
    _copy_and_hash(inputs.images, folder)


def copy_shards(inputs: Inputs, folder: Path) -> None:
    """Copy the files of shards as Parquet, and hash the copies."""
    _copy_and_hash(inputs.shards, folder)


def read_shards(inputs: Inputs, _: Path) -> None:
    """Read and hash the files of shards."""
    for path in inputs.shards:
        read(path)
        hash_file(path)


def decode_fast(inputs: Inputs, _: Path) -> None:
    """Read the files of shards, and decode their pictures with libjpeg-turbo."""
    for path in inputs.shards:
        for image in read(path)["image"].to_pylist():
            simplejpeg.decode_jpeg(image)


def write_pictures(inputs: Inputs, folder: Path) -> None:
    """Read the files of shards, write their pictures one after another, and hash these files."""
    for number, path in enumerate(inputs.shards):
        with (folder / f"{number}").open("wb") as file:
            file.writelines(read(path)["image"].to_pylist())
        hash_file(str(folder / f"{number}"))


def read_texts(inputs: Inputs, _: Path) -> None:
    """Read the files of shards without their pictures."""
    for path in inputs.shards:
        read(path, without_images=True)


def read(path: str, *, without_images: bool = False) -> pa.Table:
    """Return the rows of a Parquet file."""
    file = pq.ParquetFile(path)
    names = [name for name in file.schema_arrow.names if not without_images or name != "image"]
    return file.read(names, use_threads=False)


def hash_file(path: str) -> None:
    """Read a file and compute its SHA-256."""
    with Path(path).open("rb") as file:
        hashlib.file_digest(file, "sha256")


def _copy_and_hash(paths: Sequence[str], folder: Path) -> None:
    for number, path in enumerate(paths):
        pq.write_table(read(path), folder / f"{number}.parquet", compression="zstd")
        hash_file(str(folder / f"{number}.parquet"))


# Stage → plain loop, least work.
LOOPS: dict[str, tuple[Loop, Loop]] = {
    "write shards": (write_parquet, copy_images),
    "compact": (sort_all, copy_shards),
    "verify": (hash_files, read_shards),
    "verify --decode 1": (decode_all, decode_fast),
    "export webdataset": (write_tars, write_pictures),
    "export hf": (copy_parquet, copy_shards),
    "export jsonl": (write_json, read_texts),
}
