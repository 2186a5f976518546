from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.images.codec.phash import phash
from curation.images.codec.resample import resample
from curation.images.decode import ImageLimits, verify
from support.scenes import encoded, scene


def distance(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


def slow_phash(image: Image.Image) -> tuple[list[float], float]:
    """The coefficients and their median by the definition of the DCT-II, term by term."""
    grey = resample(np.asarray(image.convert("L"))[:, :, None], (32, 32))[:, :, 0].tolist()
    table = [[math.cos(math.pi * k * (2 * n + 1) / 64) for n in range(32)] for k in range(8)]
    low = [
        sum(grey[y][x] * table[v][y] * table[u][x] for y in range(32) for x in range(32))
        for v in range(8)
        for u in range(8)
    ]
    return low, statistics.median(low)


@given(st.integers(0, 10_000), st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=20, deadline=None)
def test_the_hash_follows_its_definition(seed, width, height):
    image = scene(width, height, seed)
    coefficients, median = slow_phash(image)
    bits = f"{int(phash(image), 16):064b}"
    for bit, value in zip(bits, coefficients, strict=True):
        if abs(value - median) > 1:  # the rounding of 2^-14 cannot reach further
            assert bit == "01"[value > median]


def test_a_uniform_image_hashes_to_its_one_coefficient():
    assert phash(Image.new("RGB", (50, 70), "teal")) == "8000000000000000"
    assert phash(Image.new("RGB", (9, 9), "black")) == "0000000000000000"


@pytest.mark.parametrize("seed", range(12))
def test_the_hash_survives_another_encoding_and_size(seed):
    image = scene(400, 300, seed)
    original = verify(encoded(image), ImageLimits(max_side=256)).phash
    assert verify(encoded(image, "WEBP", lossless=True), ImageLimits(max_side=256)).phash == original
    for other in (encoded(image, "JPEG", quality=60), encoded(image.resize((240, 180)), "WEBP", quality=70)):
        assert distance(verify(other, ImageLimits(max_side=256)).phash, original) <= 6


def test_different_images_have_distant_hashes():
    hashes = [phash(scene(seed=seed)) for seed in range(40)]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 10
    assert all(len(h) == 16 and h == h.lower() for h in hashes)
