"""HEIF images are read if that is asked for, only in the child process, and like any other."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from curation.images import decode
from curation.images.codec import heif
from curation.images.decode import ImageLimits, verify
from curation.images.failures import DecodeError
from curation.images.precheck import FORMATS, kind_of
from support.scenes import encoded, scene

pillow_heif = pytest.importorskip("pillow_heif")
LIMITS = ImageLimits(formats=(*FORMATS, heif.HEIF))
ORIENTATION = 0x0112


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    heif.register_heif()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def reason_of(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(DecodeError) as caught:
        verify(data, limits)
    return caught.value.reason


def test_a_heif_image_is_stored_as_jpeg():
    stored = opened(verify(encoded(scene(), "HEIF", quality=90), LIMITS).image)
    assert (stored.format, stored.mode, stored.size) == ("JPEG", "RGB", scene().size)
    assert np.abs(np.asarray(stored, int) - np.asarray(scene(), int)).mean() < 8


def test_it_is_refused_unless_it_is_asked_for():
    assert reason_of(encoded(scene(), "HEIF"), ImageLimits()) == "format_refused"


def test_it_is_opened_in_the_child_process_only(monkeypatch):
    def fail(*_):
        raise AssertionError("opened here")

    monkeypatch.setattr(pillow_heif.HeifImageFile, "_open", fail)
    assert verify(encoded(scene(), "HEIF"), LIMITS).width == scene().width


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_upright(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = scene()
    turned.getexif()[ORIENTATION] = orientation
    expected = ImageOps.exif_transpose(turned)
    stored = opened(verify(encoded(scene(), "HEIF", quality=95, exif=exif.tobytes()), LIMITS).image)
    assert stored.size == expected.size
    assert np.abs(np.asarray(stored, int) - np.asarray(expected.convert("RGB"), int)).mean() < 10


def test_transparency_is_over_white():
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    stored = opened(verify(encoded(clear, "HEIF"), LIMITS).image)
    assert np.asarray(stored).min() > 240


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_an_image_that_ends_early_has_a_reason(share):
    data = encoded(scene(), "HEIF")
    assert reason_of(data[: int(len(data) * share)]) in {"not_an_image", "truncated", "broken"}


def test_an_image_of_too_many_pixels_is_not_decoded():
    data = encoded(scene(), "HEIF")
    assert reason_of(data, replace(LIMITS, max_pixels=scene().width * scene().height - 1)) == "too_many_pixels"


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIF"),
        (b"heix\0\0\0\0", "HEIF"),
        (b"mif1\0\0\0\0mif1heic", "HEIF"),
        (b"mif1\0\0\0\0mif1avifmiaf", None),
        (b"avif\0\0\0\0mif1heic", "AVIF"),
    ],
)
def test_the_brands_of_a_file_tell_its_format(brands, kind):
    assert kind_of(b"\0\0\0\x18ftyp" + brands + bytes(100)) == kind


def test_the_package_is_optional(monkeypatch):
    monkeypatch.setattr(heif, "HEIF_PACKAGE", "no_such_package")
    assert not heif.has_heif()
    assert decode.verify(encoded(scene(), "AVIF"), ImageLimits()).width == scene().width
