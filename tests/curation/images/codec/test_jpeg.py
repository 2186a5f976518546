"""TurboJPEG gives the pixels of Pillow, or leaves the image to it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.images.codec.jpeg import jpeg_pixels

KINDS = [
    {"quality": 95, "subsampling": 0},
    {"quality": 80, "subsampling": 1},
    {"quality": 60, "subsampling": 2},
    {"quality": 85, "progressive": True},
    {"quality": 85, "optimize": True, "restart_marker_blocks": 3},
    {"quality": 90, "keep_rgb": True},
]


def jpeg(width: int, height: int, seed: int = 0, mode: str = "RGB", **options) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(sink, "JPEG", **options)
    return sink.getvalue()


def opened(data: bytes, target: tuple[int, int]) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.draft(None, target)
    return image


sides = st.integers(1, 90)


@given(sides, sides, st.integers(0, 99), st.sampled_from(KINDS), sides, sides)
@settings(max_examples=150)
def test_pixels_are_those_of_pillow_at_every_scale(width, height, seed, kind, across, down):
    data = jpeg(width, height, seed, **kind)
    pixels = jpeg_pixels(opened(data, (across, down)), data)
    if pixels is not None:
        assert np.array_equal(pixels, np.asarray(opened(data, (across, down))))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_usual_sizes_are_decoded(kind):
    data = jpeg(517, 389, **kind)
    for target, size in {(517, 389): (517, 389), (200, 150): (259, 195), (100, 90): (130, 98)}.items():
        pixels = jpeg_pixels(opened(data, target), data)
        assert pixels is not None
        assert pixels.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_an_image_that_ends_early_is_left_to_pillow(share):
    data = jpeg(200, 200)
    cut = data[: int(len(data) * share)]
    assert jpeg_pixels(opened(cut, (200, 200)), cut) is None


def test_a_defect_that_a_decoder_could_pass_over_is_left_to_pillow():
    data = jpeg(64, 64)
    spoilt = data[:-2] + b"\xff\xd3\x00\x00" + data[-2:]
    assert jpeg_pixels(opened(spoilt, (64, 64)), spoilt) is None


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colors_are_left_to_pillow(mode):
    data = jpeg(64, 64, mode=mode)
    assert jpeg_pixels(opened(data, (64, 64)), data) is None


def test_files_of_several_pictures_and_other_formats_are_left_to_pillow():
    pictures = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    for kind, options in {"MPO": {"save_all": True, "append_images": pictures[1:]}, "PNG": {}}.items():
        sink = io.BytesIO()
        pictures[0].save(sink, kind, **options)
        assert jpeg_pixels(Image.open(io.BytesIO(sink.getvalue())), sink.getvalue()) is None
