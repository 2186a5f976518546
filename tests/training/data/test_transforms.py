from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from curation.errors import InputError
from training.data.transforms import center_box, decode, normalize_pixels, processor_config, resize


def encoded(image: Image.Image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.Generator(np.random.PCG64(width * 1000 + height))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(mode):
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    data = encoded(image.convert(mode) if mode != "P" else image.quantize(4))
    assert np.array_equal(np.asarray(decode(data)), np.full((4, 4, 3), 255))


def test_images_are_turned_upright():
    image = noise(6, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(decode(encoded(image, exif=exif)), np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize("data", [b"", b"not an image", encoded(noise(40, 40))[:300]])
def test_undecodable_bytes_raise_an_input_error(data):
    with pytest.raises(InputError, match="cannot be decoded"):
        decode(data)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (90, 64), (64, 70), (300, 200)])
def test_evaluation_transforms_match_hugging_face_processors(width, height):
    image = noise(width, height)
    ours = normalize_pixels(torch.tensor(resize(image, center_box(width, height), 32))[None])
    config = processor_config(32)
    theirs = CLIPImageProcessorPil(**config)(image, return_tensors="pt")["pixel_values"]
    # Hugging Face crops whole pixels of the resized image, so with uneven ratios its crop is slightly shifted
    tolerance = 1e-2 if width == height else 0.7
    assert (ours - theirs).abs().max() < tolerance * 3
    assert (ours - theirs).abs().mean() < tolerance
