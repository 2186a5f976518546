"""Names image files by their format."""

from __future__ import annotations

from typing import Final

from curation.images.precheck import SIGNATURES

EXTENSIONS: Final = {"JPEG": "jpg", "TIFF": "tif"}  # others are the name in lower case


def image_extension(image: bytes) -> str:
    """Return the extension of an image file by its first bytes; `img` if they are of no known format."""
    kind = next((name for name, signature in SIGNATURES.items() if signature.match(image)), "img")
    return EXTENSIONS.get(kind, kind.lower())
