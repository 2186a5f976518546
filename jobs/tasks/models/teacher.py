"""Makers of embeddings and scores by a frozen model like CLIP: of images, texts, regions and pairs.

Vectors are rounded to float16, in which most machines agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotations.base import Maker
from curation.annotations.grid import Region
from curation.annotations.load import DEFAULTS
from curation.cli.plugins import load_plugin
from jobs.tasks.models.clip import Clip, Vectors, check_clip, load_clip
from jobs.tasks.models.devices import AUTO, choose_device
from jobs.tasks.models.pretrained import DECIMALS
from jobs.tasks.models.stored_images import PixelArray, decode_stored

BATCH: Final = 32  # images or texts that the model sees at once

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Teacher:
    """A maker with a model.

    Attributes:
        model: a folder as `save_pretrained` of transformers writes it: configuration, weights, tokenizer, image
            processor.
        device: a device of torch, or `auto`.
    """

    model: str
    device: str = AUTO

    version: ClassVar[str] = "1"
    uses_seed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise UsageError if there is no such model; it is not loaded."""
        check_clip(self.model, "annotate.makers")

    def load(self) -> Clip:
        """Return the model, which is read once per process. Raises what reading it raises."""
        return load_clip(self.model, choose_device(self.device))


@dataclass(frozen=True)
class TeacherText(_Teacher):
    """Makes `teacher_text`: the embedding of the published text, or of its English text (CLL-CLIP, arXiv 2401.17186).

    Attributes:
        english: the maker of `english`, with its parameters, whose texts are embedded in the place of the published
            ones; a row without an English text has no embedding.
        unit: whether the embeddings have length 1, as they are compared; otherwise that which the model gives them.
    """

    english: Mapping[str, Any] | str | None = None
    unit: bool = True

    def __post_init__(self) -> None:
        """Raise UsageError if there is no such model, or the maker of English texts cannot be loaded."""
        super().__post_init__()
        self._english()

    @property
    def version(self) -> str:  # type: ignore[override]  # it depends on the other maker
        """The version of this maker and of the other one."""
        english = self._english()
        return f"1, english {english.version}" if english else "1"

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of shards that are read."""
        english = self._english()
        return english.reads if english else ("text",)

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[Vector | None]:
        """Return the embedding of each text."""
        english = self._english()
        texts = english(rows, seed) if english else rows["text"].to_pylist()
        embed = partial(self.load().embed_texts, unit=self.unit)
        embedded = iter(_in_batches(embed, [text for text in texts if text is not None]))
        return [None if text is None else next(embedded) for text in texts]

    def _english(self) -> Maker | None:
        return None if self.english is None else _load_part("teacher_text", "english", self.english)


@dataclass(frozen=True)
class TeacherImage(_Teacher):
    """Makes `teacher_image`: the embedding of the image; one that cannot be decoded has none.

    Attributes:
        unit: as of `TeacherText`.
    """

    unit: bool = True

    reads: ClassVar[tuple[str, ...]] = ("image",)

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[Vector | None]:  # noqa: ARG002 - it draws nothing
        """Return the embedding of each image."""
        return _embed_decoded(self.load(), rows["image"], unit=self.unit)


@dataclass(frozen=True)
class TeacherRegions(_Teacher):
    """Makes `teacher_regions`: the embedding of each region of the image, in the order of `regions`.

    Attributes:
        regions: the maker of `regions`, with its parameters; the default is a grid and the whole image.
    """

    regions: Mapping[str, Any] | str = field(default_factory=dict)

    reads: ClassVar[tuple[str, ...]] = ("image", "text")

    def __post_init__(self) -> None:
        """Raise UsageError if there is no such model, or the maker of regions cannot be loaded."""
        super().__post_init__()
        self._finder()

    @property
    def version(self) -> str:  # type: ignore[override]  # it depends on the other maker
        """The version of this maker and of the other one."""
        return f"1, regions {self._finder().version}"

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[list[Vector] | None]:
        """Return the embeddings of the regions of each image."""
        model = self.load()
        found: Sequence[Sequence[Region]] = self._finder()(rows, seed)
        vectors = []
        for image, regions in zip(rows["image"], found, strict=True):
            pixels = decode_stored(image.as_py())
            crops = None if pixels is None else [crop(pixels, region["box"]) for region in regions]
            vectors.append(None if crops is None else _in_batches(model.embed_images, crops))
        return vectors

    def _finder(self) -> Maker:
        return _load_part("teacher_regions", "regions", self.regions)


@dataclass(frozen=True)
class ClipScore(_Teacher):
    """Makes `clip_score`: the cosine of the embeddings of the image and of the published text."""

    reads: ClassVar[tuple[str, ...]] = ("image", "text")

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[float | None]:  # noqa: ARG002 - it draws nothing
        """Return the score of each pair, rounded to `DECIMALS`; None if its image cannot be decoded."""
        model = self.load()
        images = _embed_decoded(model, rows["image"], rounded=False)
        texts = _in_batches(model.embed_texts, rows["text"].to_pylist(), rounded=False)
        return [
            None if image is None else round(float(image @ text), DECIMALS)
            for image, text in zip(images, texts, strict=True)
        ]


def _load_part(kind: str, parameter: str, part: Mapping[str, Any] | str) -> Maker:
    """Return the maker of another kind that a parameter names; by default, that of the kind.

    Raises UsageError if it cannot be loaded.
    """
    named = {"maker": part} if isinstance(part, str) else dict(part)
    path = str(named.pop("maker", DEFAULTS[parameter]))
    maker: Maker = load_plugin(path, named, f"annotate.makers.{kind}: {parameter}")
    return maker


def crop(pixels: PixelArray, box: Sequence[float]) -> PixelArray:
    """Return the part of an image within a box; at least one pixel of each side."""
    height, width = pixels.shape[:2]
    left, right = _interval(box[0], box[2], width)
    top, bottom = _interval(box[1], box[3], height)
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _interval(start: float, stop: float, side: int) -> tuple[int, int]:
    first = min(max(0, int(np.floor(start * side))), side - 1)
    return first, max(first + 1, min(side, int(np.ceil(stop * side))))


def _embed_decoded(
    model: Clip, images: pa.ChunkedArray, *, rounded: bool = True, unit: bool = True
) -> list[Vector | None]:
    """Return the embeddings of encoded images; None for those that cannot be decoded."""
    embed = partial(model.embed_images, unit=unit)
    vectors: list[Vector | None] = []
    for start in range(0, len(images), BATCH):
        decoded = [decode_stored(image.as_py()) for image in images[start : start + BATCH]]
        embedded = iter(_in_batches(embed, [each for each in decoded if each is not None], rounded=rounded))
        vectors += [None if each is None else next(embedded) for each in decoded]
    return vectors


def _in_batches(
    embed: Callable[[Sequence[Any]], Vectors], inputs: Sequence[Any], *, rounded: bool = True
) -> list[Vector]:
    """Return the embeddings of inputs, rounded to float16 if they are stored."""
    kind = np.float16 if rounded else np.float64
    parts: Iterator[Vectors] = (embed(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH))
    return [row for part in parts for row in part.astype(kind).astype(np.float32 if rounded else np.float64)]
