"""Turn images upright by their EXIF orientation."""

from __future__ import annotations

from PIL import Image

ORIENTATION_TAG = 0x0112
UPRIGHT = {  # EXIF 2.3, section 4.6.4 A: the operation that turns the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset(UPRIGHT[orientation] for orientation in range(5, 9))  # these exchange width and height


def rotation_of(image: Image.Image) -> Image.Transpose | None:
    """Return the operation that turns an image upright, or None."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block, which raises nearly every type, does not invalidate the image
        return None


def upright(image: Image.Image, rotation: Image.Transpose | None) -> Image.Image:
    """Return an image turned by an operation of `rotation_of`."""
    return image if rotation is None else image.transpose(rotation)
