"""Images with one label each: a list, a folder of one folder per class, Parquet files or WebDataset tars."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from curation.errors import InputError, UsageError
from training.evaluation.embed import ImageSource, embed_images
from training.evaluation.encoder import Encoder
from training.evaluation.files import read_text
from training.evaluation.stored_rows import IMAGES, Columns, data_files, stored_rows

LabeledImage = tuple[ImageSource, str]


class Labeled(NamedTuple):
    """Unit embeddings of images (n, d), and the label of each."""

    embeddings: Tensor
    labels: list[str]


def embed_labeled(encoder: Encoder, images: Iterable[LabeledImage]) -> Labeled:
    """Embed labeled images. Raises InputError if an image cannot be read."""
    labels: list[str] = []

    def sources() -> Iterator[ImageSource]:
        for image, label in images:
            labels.append(label)
            yield image

    embeddings = embed_images(encoder, sources())
    return Labeled(embeddings, labels)


def labeled_images(path: str, columns: Columns, *, by_index: bool = False) -> Iterator[LabeledImage]:
    """Yield the images of a path with their labels.

    Args:
        path: labels.jsonl, a folder that has one folder per class, or Parquet files or tars.
        columns: names of columns.
        by_index: the label of a folder is its number in the order of the names, as for ImageNet, not its name.
    """
    if path.endswith(".jsonl"):
        yield from read_labels(Path(path))
    elif files := data_files(path):
        for image, values in stored_rows(files, columns, "label"):
            label = values.get(columns.label)
            if label is None:
                raise InputError(f"{image.name}: no label: add one to every image, or set label_column")
            yield image, str(label)
    elif Path(path).is_dir():
        yield from _class_folders(Path(path), by_index=by_index)
    else:
        raise UsageError(f"images: {path} is no labels.jsonl, folder, Parquet file or tar: check the path")


def read_labels(path: Path) -> Iterator[LabeledImage]:
    """Yield image paths and labels of a JSON Lines file. Raises InputError with the number of a malformed line."""
    count = 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            image, label = path.parent / row["image"], str(row["label"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} line {number}: expected {{'image': path, 'label': class}}") from error
        count += 1
        yield image, label
    if not count:
        raise InputError(f"{path} lists no images")


def _class_folders(folder: Path, *, by_index: bool) -> Iterator[LabeledImage]:
    count = 0
    for number, part in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for image in sorted(part.rglob("*")):
            if image.suffix.lower().removeprefix(".") in IMAGES:
                count += 1
                yield image, str(number) if by_index else part.name
    if not count:
        raise InputError(f"images: {folder} has no folders with images: use one folder per class")
