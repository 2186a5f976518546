"""Operations on RGB images of which augmentations are made; each takes its amount, none draws random numbers.

They are Pillow's. torchvision has the same ones, but its wheels need the CUDA build of torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

Point = tuple[float, float]


def shift_hue(image: Image.Image, turns: float) -> Image.Image:
    """Turn the hue of every pixel by a share of the color circle."""
    hue, saturation, value = image.convert("HSV").split()
    shift = round(turns * 256)
    return Image.merge("HSV", (hue.point(lambda level: (level + shift) % 256), saturation, value)).convert("RGB")


def change_brightness(image: Image.Image, factor: float) -> Image.Image:
    """Multiply all levels by a factor."""
    return ImageEnhance.Brightness(image).enhance(factor)


def change_contrast(image: Image.Image, factor: float) -> Image.Image:
    """Multiply the distance of all levels from the image's mean gray by a factor."""
    return ImageEnhance.Contrast(image).enhance(factor)


def change_saturation(image: Image.Image, factor: float) -> Image.Image:
    """Multiply the distance of all pixels from their gray by a factor."""
    return ImageEnhance.Color(image).enhance(factor)


def transform_affine(
    image: Image.Image, *, degrees: float, shift: Point, scale: float, shear_degrees: float
) -> Image.Image:
    """Rotate counterclockwise, shear along x, scale and shift an image around its center; what is uncovered is black.

    The shift is in pixels to the right and down.
    """
    angle, shear = np.deg2rad(-degrees), np.tan(np.deg2rad(shear_degrees))
    cos, sin = np.cos(angle), np.sin(angle)
    forward = scale * np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    center = np.array(image.size) / 2
    # Pillow reads, for each pixel of the result, where it comes from
    backward = np.linalg.inv(forward)
    offset = center - backward @ (center + np.array(shift))
    matrix = np.column_stack([backward, offset]).ravel().tolist()
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def transform_perspective(image: Image.Image, corners: Sequence[Point]) -> Image.Image:
    """Move the corners of an image (left top, right top, right bottom, left bottom) to points, in pixels."""
    width, height = image.size
    sources = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    coefficients = _perspective_coefficients(corners, sources).tolist()
    return image.transform(image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)


def _perspective_coefficients(points: Sequence[Point], sources: Sequence[Point]) -> npt.NDArray[np.float64]:
    """Return a..h with source = ((ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1)) for four points."""
    rows, values = [], []
    for (x, y), (u, v) in zip(points, sources, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, float), np.array(values, float))
