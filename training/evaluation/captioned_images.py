"""Images with captions in several languages, in the layouts of retrieval benchmarks.

captions.jsonl                          XM3600 (arXiv 2205.12522): one image per line, KEY.jpg in the image folder
folder with test_image_names.txt        XTD10: line n of test_1kcaptions_LANGUAGE.txt is the caption of image n
{"images": [name, …], "captions": {language: [[caption, …], …]}}   JSON of the Babel-ImageNet repository
Parquet files, WebDataset tars          one or several captions per row
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import InputError, UsageError
from training.evaluation.embed import ImageSource
from training.evaluation.files import read_json, read_text, text_list
from training.evaluation.stored_rows import Columns, data_files, stored_rows

NO_LANGUAGE = "all"  # the language of captions whose row names none
XTD_IMAGES, XTD_CAPTIONS = "test_image_names.txt", "test_1kcaptions_*.txt"


class CaptionedImage(NamedTuple):
    """An image and its captions by language."""

    image: ImageSource
    captions: Mapping[str, Sequence[str]]


def captioned_images(path: str, image_folder: Path | None, columns: Columns) -> Iterator[CaptionedImage]:
    """Yield the images of a path with their captions; an image may come several times.

    Raises InputError if a file cannot be read or is malformed, UsageError if the path has no known layout.

    Args:
        path: a file, folder or glob in one of the layouts.
        image_folder: folder of the images; default: `images`, next to the captions.
        columns: names of columns.
    """
    location = Path(path)
    if location.suffix == ".jsonl":
        yield from _xm3600(location, image_folder or location.parent / "images")
    elif location.suffix == ".json":
        yield from _lists(location, image_folder or location.parent / "images")
    elif files := data_files(path):
        for image, values in stored_rows(files, columns, "text"):
            texts = values.get(columns.text)
            captions = [text for text in ([texts] if isinstance(texts, str) else texts or []) if text]
            yield CaptionedImage(image, {str(values.get(columns.language) or NO_LANGUAGE): captions})
    elif location.is_dir() and (names := sorted(location.rglob(XTD_IMAGES))):
        yield from _xtd(names[0], sorted(location.rglob(XTD_CAPTIONS)), image_folder or location / "images")
    else:
        raise UsageError(
            f"captions: {path} has no known layout: use captions.jsonl of XM3600, a folder with {XTD_IMAGES} of XTD10, "
            f"JSON, Parquet or tars"
        )


def _xm3600(path: Path, folder: Path) -> Iterator[CaptionedImage]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            row = json.loads(line)
            image = folder / f"{row['image/key']}.jpg"
            parts = {key: value for key, value in row.items() if isinstance(value, dict) and "caption" in value}
            captions = {language: text_list(part["caption"]) for language, part in parts.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} line {number}: expected {{'image/key': key, language: {{'caption': […]}}}}"
            ) from error
        yield CaptionedImage(image, captions)


def _lists(path: Path, folder: Path) -> Iterator[CaptionedImage]:
    content: Any = read_json(path)
    try:
        images = text_list(content["images"])
        captions = {
            language: [text_list(of_image) for of_image in part] for language, part in content["captions"].items()
        }
        if any(len(part) != len(images) for part in captions.values()):
            raise ValueError("another number of captions than images")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected {{'images': [name, …], 'captions': {{language: [[caption, …], …]}}}}, with captions of "
            f"every image"
        ) from error
    for number, image in enumerate(images):
        yield CaptionedImage(folder / image, {language: part[number] for language, part in captions.items()})


def _xtd(names: Path, files: Sequence[Path], folder: Path) -> Iterator[CaptionedImage]:
    images = read_text(names).splitlines()
    captions = {file.stem.rpartition("_")[2]: read_text(file).splitlines() for file in files}
    for (language, lines), file in zip(captions.items(), files, strict=True):
        if len(lines) != len(images):
            raise InputError(f"{file}: {len(lines)} captions ({language}) of {len(images)} images: check the files")
    for number, image in enumerate(images):
        yield CaptionedImage(folder / image.strip(), {key: [lines[number].strip()] for key, lines in captions.items()})
