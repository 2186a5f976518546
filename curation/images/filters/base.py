"""The protocol of image filters: a batch of decoded images in; whether to keep each, a reason and a score out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        image_id: the id of the image.
        text: the text of its pair, as `curated` has it.
        pixels: [height, width, 3] in sRGB, upright, resized as it is stored, without a border; read-only.
    """

    image_id: str
    text: str
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Verdict:
    """The decision about one image.

    Attributes:
        keep: whether the image is stored.
        score: the measured value, if the filter measures one; it is stored in the column `scores`.
        reason: the drop reason of an image that is not kept: the name of the filter, or that name, `_` and more.
            Without one, it is the name of the filter.
    """

    keep: bool
    score: float | None = None
    reason: str = ""


class ImageFilter(Protocol):
    """Decides which decoded images are stored.

    The verdict of an image must depend on nothing but the image, its text and the parameters of the filter: not on the
    other images of the batch, which are those that happened to arrive together. The constructor takes the parameters
    as keywords and raises an Exception if one is wrong. It runs before Spark starts and once per worker process, so it
    loads nothing large; the first call does. That call is about a synthetic image; an exception ends the stage before
    images are requested.

    Attributes:
        name: names the drop reason and the score; a word of a-z, 0-9 and `_`. With `_` it begins neither the name of
            another filter of the run nor a reason of failed images.
        version: changes whenever a verdict may change with the same parameters.
        score_range: the ends of the histogram of scores; scores beyond an end are counted in its last bin.
        reads_texts: whether verdicts depend on `DecodedImage.text`.
    """

    name: str
    version: str
    score_range: tuple[float, float]
    reads_texts: bool

    def __call__(self, images: Sequence[DecodedImage]) -> Sequence[Verdict]:
        """Return the verdict of each image, in order. An exception costs the images that raise it on their own."""


@runtime_checkable
class ScoreFilter(ImageFilter, Protocol):
    """A filter whose verdict is a function of its score alone.

    When nothing but its thresholds has changed, images are judged by their stored scores, and not fetched again.

    Attributes:
        thresholds: names of the parameters that the score does not depend on.
    """

    thresholds: tuple[str, ...]

    def verdict(self, score: float) -> Verdict:
        """Return the verdict of an image with this score; `__call__` gives the same."""
