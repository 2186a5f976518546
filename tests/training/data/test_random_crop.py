from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.errors import InputError
from training.data import random_crop as module
from training.data.random_crop import random_box, random_crop, scale_divisor
from training.data.transforms import Pixels

sides = st.integers(1, 400)


def photo(width: int, height: int, mode="RGB") -> Image.Image:
    """Return a smooth picture with edges and a little noise, as photos have."""
    rng = np.random.Generator(np.random.PCG64(width * 1000 + height))
    coarse = Image.fromarray(rng.integers(60, 200, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
    pixels[height // 3 :, width // 4 : width // 2] //= 2
    pixels += rng.integers(-4, 5, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def reference(data: bytes, seed: int, size: int) -> Pixels:
    """Return the crop as Pillow makes it from the image in full size."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    box = random_box(*image.size, seed)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def crop(data: bytes | memoryview, seed: int, size: int) -> Pixels:
    result = np.zeros((size, size, 3), np.uint8)
    random_crop(data, seed, result)
    return result


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, ((one.astype(float) - other) ** 2).mean())))


@pytest.mark.parametrize(("width", "height"), [(256, 256), (300, 200), (448, 448), (700, 520), (1024, 1536), (90, 60)])
def test_a_scaled_crop_looks_like_the_bicubic_crop_of_the_full_image(width, height):
    data = jpeg(photo(width, height))
    for seed in range(8):
        # the rectangle is rounded to pixels of the scaled image, which moves its content by less than one pixel
        assert psnr(crop(data, seed, 112), reference(data, seed, 112)) > 32
    small = np.zeros((112, 112, 3), np.uint8)
    module._resize(np.array(Image.open(io.BytesIO(data))), small)
    assert psnr(small, np.asarray(Image.open(io.BytesIO(data)).resize((112, 112), Image.Resampling.BICUBIC))) > 55


def test_a_large_jpeg_is_decoded_at_the_smallest_sufficient_scale_and_not_by_pillow(monkeypatch):
    shapes: list[tuple[int, ...]] = []
    plain = simplejpeg.decode_jpeg

    def decode_jpeg(*args, **keys):
        image = plain(*args, **keys)
        shapes.append(image.shape[:2])
        return image

    monkeypatch.setattr(simplejpeg, "decode_jpeg", decode_jpeg)
    monkeypatch.setattr(module, "decode", lambda _: pytest.fail("Pillow was used"))
    for mode in ("RGB", "L"):
        for width, height in ((200, 200), (1000, 1000), (999, 1001), (250, 1000)):
            crop(memoryview(jpeg(photo(width, height, mode))), 1, 112)
    assert shapes == 2 * [(200, 200), (125, 125), (126, 125), (500, 125)]


@given(st.integers(1, 5000), st.integers(1, 600))
def test_a_scaled_crop_has_no_fewer_pixels_than_the_result_and_less_than_four_times_as_many_a_side(side, size):
    divisor = scale_divisor(side, size)
    assert divisor == 1 or side / divisor >= size
    assert side / divisor < 2 * size or divisor in (1, 8)
    assert side < 2 * size or divisor > 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(photo(240, 160), exif=exif)
    upright = Image.open(io.BytesIO(data)).transpose  # the eight cases of the EXIF standard, written out
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    image = upright(turned) if turned is not None else Image.open(io.BytesIO(data))
    box = random_box(*image.size, 3)
    expected = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC, box=box))
    assert psnr(crop(data, 3, 64), expected) > 50


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "CMYK"])
def test_other_modes_and_formats_are_cropped_as_pillow_does(mode):
    image, buffer = photo(120, 90).convert(mode), io.BytesIO()
    image.save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    for data in (buffer.getvalue(), jpeg(image)) if mode in ("L", "CMYK") else (buffer.getvalue(),):
        assert psnr(crop(data, 2, 48), reference(data, 2, 48)) > 45


@pytest.mark.parametrize("data", [b"", b"not an image", jpeg(photo(90, 90))[:700], b"\xff\xd8\xff\xd9"])
def test_undecodable_bytes_raise_an_input_error(data):
    with pytest.raises(InputError, match="cannot be decoded"):
        crop(data, 0, 32)


@given(sides, sides, st.integers(0, 2**64 - 1))
def test_a_random_box_is_inside_the_image_and_depends_only_on_the_seed(width, height, seed):
    left, top, right, bottom = random_box(width, height, seed)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert random_box(width, height, seed) == (left, top, right, bottom)


@given(st.integers(50, 400), st.floats(0.8, 1.25), st.integers(0, 2**64 - 1))
def test_a_random_box_covers_most_of_an_image_with_a_usual_aspect_ratio(width, aspect, seed):
    height = max(1, round(width / aspect))
    left, top, right, bottom = random_box(width, height, seed)
    assert (right - left) * (bottom - top) >= 0.87 * width * height  # 0.9 before rounding to pixels
    assert 0.72 <= (right - left) / (bottom - top) <= 1.4


@given(st.floats(0.1, 0.9), st.floats(0.1, 1.0), st.integers(0, 2**64 - 1))
def test_a_random_box_has_a_share_of_the_image_between_both_bounds(first, second, seed):
    low, high = sorted((first, second))
    left, top, right, bottom = random_box(400, 400, seed, (low, high))
    share = (right - left) * (bottom - top) / 400**2
    if share != 1:  # the centered square, if no try fits
        assert low - 0.01 <= share <= high + 0.01


def test_random_boxes_differ():
    assert len({random_box(200, 200, seed) for seed in range(50)}) > 25


@pytest.mark.parametrize(("width", "height"), [(1000, 10), (10, 1000)])
def test_a_very_wide_or_tall_image_is_cropped_to_an_allowed_ratio(width, height):
    left, top, right, bottom = random_box(width, height, 0)
    assert max(right - left, bottom - top) / min(right - left, bottom - top) == pytest.approx(4 / 3, abs=0.05)


def test_crops_are_written_to_the_memory_of_the_batch_and_nowhere_else():
    batch = np.full((3, 40, 40, 3), 7, np.uint8)
    data = jpeg(photo(90, 70))
    random_crop(data, 5, batch[1])
    assert np.array_equal(batch[1], crop(data, 5, 40))
    assert (batch[[0, 2]] == 7).all()
