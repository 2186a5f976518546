"""The scores of the built-in filters are those of slow, obvious functions, and real pictures are kept."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median_low

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from curation.images.decode import ImageLimits, decode
from curation.images.filters.base import DecodedImage
from curation.images.filters.uniformity import LowEntropy, NearUniform, gray_entropy, share_near_median

levels = st.integers(0, 255) | st.sampled_from([0, 1, 127, 128, 254, 255])
pictures = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)), elements=levels)


def verdict(kind, pixels):
    [only] = kind([DecodedImage("0", "", np.asarray(pixels, np.uint8))])
    return only


def plain(*color, side=64):
    return np.full((side, side, 3), color or (255, 255, 255), np.uint8)


@given(pictures, st.integers(0, 255))
def test_the_share_near_the_median_is_that_of_a_plain_loop(pixels, tolerance):
    colors = [tuple(map(int, color)) for row in pixels for color in row]
    middle = [median_low(channel) for channel in zip(*colors, strict=True)]
    near = [all(abs(a - b) <= tolerance for a, b in zip(color, middle, strict=True)) for color in colors]
    assert share_near_median(pixels, tolerance) == sum(near) / len(near)


@given(pictures)
def test_the_entropy_is_that_of_the_gray_levels_of_pillow(pixels):
    grays = Counter(Image.fromarray(pixels).convert("L").tobytes())
    number = grays.total()
    expected = -sum(count / number * math.log2(count / number) for count in grays.values())
    assert gray_entropy(pixels) == pytest.approx(max(0.0, expected), abs=1e-9)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (12, 200, 90)])
@pytest.mark.parametrize("side", [1, 2, 64])
def test_one_color_is_dropped_by_both_filters(color, side):
    pixels = plain(*color, side=side)
    assert (verdict(NearUniform(), pixels).keep, verdict(NearUniform(), pixels).score) == (False, 1.0)
    assert (verdict(LowEntropy(), pixels).keep, verdict(LowEntropy(), pixels).score) == (False, 0.0)


def test_noise_of_compression_does_not_hide_a_placeholder_but_a_drawing_is_kept():
    noise = np.random.default_rng(0).integers(-8, 9, (64, 64, 3))
    placeholder = (plain(128, 128, 128).astype(int) + noise).astype(np.uint8)
    assert not verdict(NearUniform(), placeholder).keep
    assert verdict(NearUniform(tolerance=1), placeholder).keep
    placeholder[24:32, 24:33] = 0  # an icon of 1.8% of the pixels
    assert not verdict(NearUniform(), placeholder).keep
    placeholder[24:32, 24:40] = 0  # 3.1%
    assert verdict(NearUniform(), placeholder).keep


def test_a_threshold_itself_is_kept():
    half = plain(0, 0, 0)
    half[:, :32] = 255  # two levels: 1 bit, and half of the pixels are of the median
    assert verdict(LowEntropy(min_bits=1.0), half).keep
    assert not verdict(LowEntropy(min_bits=1.001), half).keep
    assert verdict(NearUniform(max_share=0.5), half).keep
    assert not verdict(NearUniform(max_share=0.499), half).keep


def test_emoji_are_kept_by_the_default_thresholds(fixtures_dir):
    for path in sorted((fixtures_dir / "emoji64").glob("*.png"))[:200]:
        pixels = decode(path.read_bytes(), ImageLimits(with_pixels=True)).pixels.array()
        assert verdict(NearUniform(), pixels).keep, path.name
        assert verdict(LowEntropy(), pixels).keep, path.name


@pytest.mark.parametrize("wrong", [{"max_share": 1.1}, {"max_share": -1}, {"tolerance": 256}, {"tolerance": -1}])
def test_parameters_of_near_uniform_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="max_share must be from 0 to 1, and tolerance from 0 to 255"):
        NearUniform(**wrong)


@pytest.mark.parametrize("bits", [-0.1, 8.1])
def test_an_entropy_out_of_range_is_refused(bits):
    with pytest.raises(ValueError, match="min_bits must be from 0 to 8"):
        LowEntropy(min_bits=bits)
