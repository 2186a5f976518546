"""Published augmentations of cropped images, as functions of a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from training.data.transforms import Pixels
from training.data.views.image_operations import (
    change_brightness,
    change_contrast,
    change_saturation,
    shift_hue,
    transform_affine,
    transform_perspective,
)
from training.data.views.seeds import generator

Augmentation = Literal["moco", "clip_italian"]

PERSPECTIVE = 0.3  # a corner moves by up to this share of half a side


def augment(image: Pixels, name: Augmentation, seed: int) -> Pixels:
    """Return an augmented copy of an RGB image (height, width, 3)."""
    return np.asarray(_AUGMENTATIONS[name](Image.fromarray(image), generator(seed)))


def _moco(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change colors, remove them, blur and mirror an image (MoCo v2, arXiv 2003.04297)."""
    if _happens(rng, 0.8):
        amounts: list[tuple[Callable[[Image.Image, float], Image.Image], float]] = [
            (change_brightness, rng.uniform(0.6, 1.4)),
            (change_contrast, rng.uniform(0.6, 1.4)),
            (change_saturation, rng.uniform(0.6, 1.4)),
            (shift_hue, rng.uniform(-0.1, 0.1)),
        ]
        for number in rng.permutation(len(amounts)):
            operation, amount = amounts[number]
            image = operation(image, amount)
    if _happens(rng, 0.2):
        image = change_saturation(image, 0)
    if _happens(rng, 0.5):
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2)))
    return _mirror(image, rng)


def _clip_italian(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change hue, geometry and contrast of an image (CLIP-Italian, arXiv 2108.08688)."""
    image = _mirror(shift_hue(image, rng.uniform(-0.1, 0.1)), rng)
    width, height = image.size
    image = transform_affine(
        image,
        degrees=rng.uniform(-15, 15),
        shift=(rng.uniform(-0.1, 0.1) * width, rng.uniform(-0.1, 0.1) * height),
        scale=rng.uniform(0.8, 1.2),
        shear_degrees=rng.uniform(-15, 15),
    )
    if _happens(rng, 0.3):
        inward = rng.random((4, 2)) * PERSPECTIVE / 2 * image.size
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)])
        directions = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
        image = transform_perspective(image, [(x, y) for x, y in (corners + directions * inward).tolist()])
    if _happens(rng, 0.3):
        image = ImageOps.autocontrast(image)
    return ImageOps.equalize(image) if _happens(rng, 0.3) else image


def _mirror(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(image) if _happens(rng, 0.5) else image


def _happens(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


_AUGMENTATIONS: dict[Augmentation, Callable[[Image.Image, np.random.Generator], Image.Image]] = {
    "moco": _moco,
    "clip_italian": _clip_italian,
}
