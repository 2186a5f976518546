"""Let Pillow read HEIF images (HEIC), with the package of the extra `heif`."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

HEIF = "HEIF"
HEIF_PACKAGE = "pillow_heif"


def has_heif() -> bool:
    """Return whether the package that reads HEIF is installed."""
    return find_spec(HEIF_PACKAGE) is not None


@cache
def register_heif() -> None:
    """Register the format with Pillow: its main picture only, decoded by one thread. Raises ModuleNotFoundError."""
    from pillow_heif import register_heif_opener

    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
