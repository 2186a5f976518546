"""Filters of images that show nothing: tracking pixels, placeholders, blank or nearly blank pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from curation.images.filters.base import DecodedImage, Verdict

# Luma of ITU-R BT.601, in units of 2^-16 and summing to 2^16, as Pillow's mode L
_LUMA: Final = np.array([19595, 38470, 7471], np.uint32)


@dataclass(frozen=True)
class NearUniform:
    """Drops images that are almost entirely of one color: tracking pixels, spacers, placeholders with an icon.

    The score is the share of pixels whose red, green and blue all differ by at most `tolerance` from the median of
    theirs. Images with more than `max_share` are dropped (near_uniform).
    """

    max_share: float = 0.98
    tolerance: int = 8

    name: ClassVar[str] = "near_uniform"
    version: ClassVar[str] = "1"
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    reads_texts: ClassVar[bool] = False
    thresholds: ClassVar[tuple[str, ...]] = ("max_share",)

    def __post_init__(self) -> None:
        """Check the parameters. Raises ValueError."""
        if not (0 <= self.max_share <= 1 and 0 <= self.tolerance <= 255):
            raise ValueError("max_share must be from 0 to 1, and tolerance from 0 to 255")

    def __call__(self, images: Sequence[DecodedImage]) -> list[Verdict]:
        """Return the verdicts."""
        return [self.verdict(share_near_median(image.pixels, self.tolerance)) for image in images]

    def verdict(self, score: float) -> Verdict:
        """Return the verdict of an image with this score."""
        return Verdict(score <= self.max_share, score)


@dataclass(frozen=True)
class LowEntropy:
    """Drops images with few gray levels: solid shapes, scans without content, simple icons.

    The score is the Shannon entropy of the histogram of the 256 gray levels, in bits: 0 for one level, about 7 for
    photos, 8 at most. Images with less than `min_bits` are dropped (low_entropy).
    """

    min_bits: float = 1.0

    name: ClassVar[str] = "low_entropy"
    version: ClassVar[str] = "1"
    score_range: ClassVar[tuple[float, float]] = (0.0, 8.0)
    reads_texts: ClassVar[bool] = False
    thresholds: ClassVar[tuple[str, ...]] = ("min_bits",)

    def __post_init__(self) -> None:
        """Check the parameter. Raises ValueError."""
        if not 0 <= self.min_bits <= 8:
            raise ValueError("min_bits must be from 0 to 8")

    def __call__(self, images: Sequence[DecodedImage]) -> list[Verdict]:
        """Return the verdicts."""
        return [self.verdict(gray_entropy(image.pixels)) for image in images]

    def verdict(self, score: float) -> Verdict:
        """Return the verdict of an image with this score."""
        return Verdict(score >= self.min_bits, score)


def share_near_median(pixels: npt.NDArray[np.uint8], tolerance: int) -> float:
    """Return the share of pixels that differ by at most `tolerance` from the median in each of their channels.

    The median is the lower one if there are two.
    """
    flat = pixels.reshape(-1, 3)
    near = np.ones(len(flat), np.bool_)
    for channel in range(3):
        values = flat[:, channel]
        counts = np.bincount(values, minlength=256)
        median = int(np.searchsorted(np.cumsum(counts), (len(flat) + 1) // 2))
        is_near = np.abs(np.arange(256) - median) <= tolerance
        near &= is_near[values]
    return float(np.count_nonzero(near)) / len(flat)


def gray_entropy(pixels: npt.NDArray[np.uint8]) -> float:
    """Return the Shannon entropy of the gray levels of an image, in bits."""
    gray = (pixels.reshape(-1, 3) @ _LUMA + (1 << 15)) >> 16
    counts = np.bincount(gray, minlength=256)
    shares = counts[counts > 0] / len(gray)
    return max(0.0, float(-np.sum(shares * np.log2(shares))))
