"""Stored originals in every format that can be read are checked, shown and given to models."""

from __future__ import annotations

import pytest

from jobs.tasks.models.stored_images import decode_stored
from jobs.tasks.report.contact_sheet import thumbnail
from jobs.tasks.verify.pictures import picture_problem
from support.scenes import encoded, scene


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"])
def test_an_original_of_every_format_is_read(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the package of the extra `heif` is not installed")
        from curation.images.codec.heif import register_heif

        register_heif()
    image = encoded(scene(), kind)
    assert picture_problem(image, scene().size, 1_000_000) is None
    assert thumbnail(image) is not None
    pixels = decode_stored(image)
    assert pixels is not None
    assert pixels.shape == (scene().height, scene().width, 3)
