from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.images.codec.resample import resample


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    return 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2 if abs(x) < 3 else 0.0


def slow_line(values: list[float], extent: float, length: int) -> list[float]:
    """One row or column by the definition of the filter, term by term."""
    scale = extent / length
    result = []
    for i in range(length):
        weights = [lanczos((j + 0.5 - (i + 0.5) * scale) / max(scale, 1.0)) for j in range(len(values))]
        result.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return result


def slow_resample(pixels: np.ndarray, size: tuple[int, int], extent: tuple[float, float]) -> np.ndarray:
    def lines(planes, extent, length):
        return np.array([[slow_line(list(line), extent, length) for line in plane] for plane in planes])

    wide = lines(pixels.transpose(2, 0, 1), extent[0], size[0])
    return lines(wide.transpose(0, 2, 1), extent[1], size[1]).transpose(2, 1, 0).clip(0, 255)


sides = st.integers(1, 24)


@given(sides, sides, sides, sides, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_pixels_follow_the_definition_of_the_filter(width, height, across, down, seed):
    pixels = noise(width, height, seed)
    expected = slow_resample(pixels, (across, down), (width, height))
    assert np.abs(resample(pixels, (across, down)) - expected).max() < 1


@given(st.integers(2, 20), st.integers(2, 20), st.floats(0.2, 1))
@settings(max_examples=20, deadline=None)
def test_a_last_column_that_is_partly_covered_counts_by_its_extent(width, height, part):
    pixels, extent = noise(width, height), (width - part, height - part)
    assert np.abs(resample(pixels, (7, 5), extent) - slow_resample(pixels, (7, 5), extent)).max() < 1


@pytest.mark.parametrize("size", [(256, 192), (90, 70), (500, 301)])
@pytest.mark.parametrize("source", [(800, 600), (300, 225), (130, 900)])
def test_the_result_is_that_of_pillow(source, size):
    image = Image.fromarray(noise(9, 7)).resize(source, Image.Resampling.BICUBIC)
    expected = np.asarray(image.resize(size, Image.Resampling.LANCZOS)).astype(int)
    difference = np.abs(resample(np.asarray(image), size) - expected)
    assert difference.max() <= 3
    assert difference.mean() < 0.3


@given(st.integers(0, 255), sides, sides, st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=60, deadline=None)
def test_a_uniform_image_stays_uniform(value, width, height, across, down):
    assert set(resample(np.full((height, width, 3), value, np.uint8), (across, down)).ravel()) == {value}


def test_the_same_size_changes_nothing():
    assert np.array_equal(resample(noise(90, 70), (90, 70)), noise(90, 70))


def test_threads_compute_the_same_pixels():
    images = [noise(200 + i, 150, i) for i in range(16)]
    alone = [resample(image, (64, 48)) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: resample(image, (64, 48)), images * 4))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 4, together, strict=True))


def test_bytes_are_the_same_on_every_machine():
    total = resample(noise(123, 87, 5), (50, 40))
    assert (int(total.sum()), total[0, 0].tolist(), total[-1, -1].tolist()) == (763419, [115, 172, 154], [130, 86, 124])
