"""The sides of stored images under each resize mode. Nothing is ever enlarged.

| mode | result, for a side S |
|---|---|
| keep_ratio | the longest side is at most S |
| border | as keep_ratio, centered on a white square of side S |
| center_crop | the shortest side is at most S, and the middle S x S pixels remain |
| max_area | at most S² pixels |
| none | the size of the original |
"""

from __future__ import annotations

from math import isqrt
from typing import Literal, NamedTuple

ResizeMode = Literal["keep_ratio", "border", "center_crop", "max_area", "none"]
Size = tuple[int, int]  # width, height


class Fit(NamedTuple):
    """The size of the resized picture and of the canvas in whose middle it is placed, which may cut it."""

    scaled: Size
    canvas: Size


def fit(size: Size, mode: ResizeMode, side: int, longest: int) -> Fit:
    """Return the fit of an image of `size`.

    Args:
        size: width and height of the original, at least 1.
        mode: one of the modes above.
        side: S.
        longest: the longest side that the format of the output can have, which applies to every mode.
    """
    width, height = size
    side = min(side, longest)
    if mode == "border":
        return Fit(_reduced(size, side, max(size)), (side, side))
    if mode == "center_crop":
        scaled = _reduced(size, side, min(size))
        return Fit(scaled, (min(scaled[0], side), min(scaled[1], side)))
    if mode == "max_area" and width * height > side * side:
        size = max(1, isqrt(side * side * width // height)), max(1, isqrt(side * side * height // width))
    scaled = _reduced(size, side if mode == "keep_ratio" else longest, max(size))
    return Fit(scaled, scaled)


def _reduced(size: Size, allowed: int, length: int) -> Size:
    """Return a size times allowed / length, rounded half up; unchanged if that would enlarge it."""
    if length <= allowed:
        return size
    width, height = (max(1, (2 * side * allowed + length) // (2 * length)) for side in size)
    return width, height
