"""Resize pixels with a Lanczos filter, in compiled loops that release the interpreter lock.

The filter is Pillow's Lanczos: three lobes, widened by the factor of a reduction, so that nothing aliases. Sums of a
column are exact (weights are multiples of 2^-14, products fit the 24 bits of a float32), and the compiler may not
reorder those of a row, so every machine computes the same bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Bytes, jit_nogil

LOBES: Final = 3
WEIGHT_UNIT: Final = 1 << 14
LANES: Final = 64  # rows that are reduced together, so that the inner loops run over contiguous numbers
BLOCK: Final = 16  # rows, of these, that are turned together, so that their stores are contiguous

STEPS: Final = 4096  # values of the filter per pixel; the error is below one unit of a weight
_distances = np.arange(LOBES * STEPS + 2) / STEPS
_FILTER: Final = np.where(_distances < LOBES, np.sinc(_distances) * np.sinc(_distances / LOBES), 0.0)

Floats = npt.NDArray[np.float32]
Starts = npt.NDArray[np.int64]


def resample(pixels: Bytes, size: tuple[int, int], extent: tuple[float, float] | None = None) -> Bytes:
    """Return pixels [height, width, 3] resized to `size` = (width, height).

    Args:
        pixels: contiguous rows of pixels.
        size: the sides of the result.
        extent: the width and height of the source in pixels, if the last column or row covers only part of one.
    """
    height, width, channels = pixels.shape
    across, down = extent or (width, height)
    result = np.empty((size[1], size[0], channels), np.uint8)
    columns = _weights(across, width, size[0])
    rows = _weights(down, height, size[1])
    _resample(pixels.reshape(height, width * channels), *rows, *columns, result)
    return result


@lru_cache(maxsize=512)
def _weights(extent: float, num_in: int, num_out: int) -> tuple[Floats, Starts]:
    """Return for each output pixel the weights of consecutive input pixels, and the index of the first of them."""
    scale = extent / num_out
    widening = max(scale, 1.0)
    centers = (np.arange(num_out) + 0.5) * scale
    taps = min(num_in, int(np.ceil(2 * LOBES * widening)) + 1)
    starts = np.clip(np.floor(centers - LOBES * widening).astype(np.int64), 0, num_in - taps)
    distances = np.abs(starts[:, None] + np.arange(taps) + 0.5 - centers[:, None]) / widening
    lanczos = _FILTER[np.minimum(distances * STEPS + 0.5, len(_FILTER) - 1).astype(np.int64)]
    units = np.rint(lanczos / lanczos.sum(axis=1, keepdims=True) * WEIGHT_UNIT)
    largest = units.argmax(axis=1)
    units[np.arange(num_out), largest] += WEIGHT_UNIT - units.sum(axis=1)  # a uniform image stays as it is
    return (units / WEIGHT_UNIT).astype(np.float32), starts


@jit_nogil
def _resample(pixels: Bytes, rows: Floats, tops: Starts, columns: Floats, lefts: Starts, result: Bytes) -> None:
    """Write the resized pixels: `LANES` rows of the result at a time, first their columns' sums, then their rows'."""
    totals = np.zeros((BLOCK, pixels.shape[1]), np.float32)
    turned = np.zeros((pixels.shape[1], LANES), np.float32)
    for first in range(0, len(result), LANES):
        last = min(first + LANES, len(result))
        for start in range(first, last, BLOCK):
            for row in range(start, min(start + BLOCK, last)):
                _sum_columns(pixels[tops[row] :], rows[row], totals[row - start])
            for i in range(pixels.shape[1]):
                for lane in range(BLOCK):
                    turned[i, start - first + lane] = totals[lane, i]
        _reduce_rows(turned, columns, lefts, result[first : first + LANES])


@jit_nogil
def _sum_columns(pixels: Bytes, weights: Floats, total: Floats) -> None:
    """Write the weighted sums of the first rows; they are exact, so four rows are added per pass."""
    quads = len(weights) // 4 * 4
    total[:] = np.float32(0)
    for tap in range(0, quads, 4):
        w0, w1, w2, w3 = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
        r0, r1, r2, r3 = pixels[tap], pixels[tap + 1], pixels[tap + 2], pixels[tap + 3]
        for i in range(len(total)):
            upper = w0 * np.float32(r0[i]) + w1 * np.float32(r1[i])
            total[i] += upper + (w2 * np.float32(r2[i]) + w3 * np.float32(r3[i]))
    for tap in range(quads, len(weights)):
        weight, row = weights[tap], pixels[tap]
        for i in range(len(total)):
            total[i] += weight * np.float32(row[i])


@jit_nogil
def _reduce_rows(turned: Floats, columns: Floats, lefts: Starts, result: Bytes) -> None:
    """Write up to `LANES` rows of the result from `turned`, whose second index is the row."""
    channels = result.shape[2]
    sums = np.empty(LANES, np.float32)
    for x in range(len(columns)):
        for channel in range(channels):
            sums[:] = np.float32(0.5)
            for tap in range(columns.shape[1]):
                weight, source = columns[x, tap], (lefts[x] + tap) * channels + channel
                for lane in range(LANES):  # a constant number, so that it is unrolled
                    sums[lane] += weight * turned[source, lane]
            for lane in range(len(result)):
                result[lane, x, channel] = np.uint8(min(max(sums[lane], np.float32(0)), np.float32(255)))
