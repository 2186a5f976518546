"""Convert decoded images of any pixel type to eight-bit sRGB without transparency."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from curation.images.failures import DecodeError

MAX_PROFILE = 1 << 20  # bytes; larger color profiles are ignored
_SRGB = ImageCms.createProfile("sRGB")


def color_profile(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion of a decoded image's colors to sRGB; None if it has no color profile, or sRGB.

    A profile that cannot be read or that describes other pixels is ignored, as browsers do.
    """
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= MAX_PROFILE:
        return None
    space, mode = profile[16:20], "CMYK" if image.mode == "CMYK" else "RGB"
    gray = image.mode not in {"RGB", "RGBA", "P", "CMYK"}
    return None if gray or space != mode.ljust(4).encode() else _to_srgb(profile, mode)


@lru_cache(maxsize=64)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(source, _SRGB, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def eight_bit(image: Image.Image, to_srgb: ImageCms.ImageCmsTransform | None) -> Image.Image:
    """Return a decoded image in mode RGB or RGBA, with the colors of its profile unless it is CMYK.

    Raises DecodeError for 32-bit integers and floating point, which have no range to map to eight bits.
    """
    if image.mode.startswith("I;16"):
        high = (np.asarray(image) >> 8).astype(np.uint8)  # convert() would clip at 255
        return Image.fromarray(high).convert("RGB")
    if image.mode in {"I", "F"}:
        raise DecodeError("unsupported")
    if image.mode == "CMYK" and to_srgb is not None:
        converted = ImageCms.applyTransform(image, to_srgb)
        if converted is not None:
            return converted
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def over_white(image: Image.Image) -> Image.Image:
    """Return an image in mode RGB or RGBA as RGB, over white where it is transparent."""
    if image.mode == "RGB":
        return image
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image)
    return flat
