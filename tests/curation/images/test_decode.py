from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from curation.images import decode as decode_module
from curation.images.codec.budget import BudgetedProcess, CpuTimeError, DeadlineError, KilledError
from curation.images.codec.orientation import UPRIGHT
from curation.images.decode import REASONS, ImageLimits, decode, verify
from curation.images.failures import DecodeError
from support.poison import poisoned
from support.scenes import encoded, scene

LIMITS = ImageLimits(max_side=64, max_pixels=1_000_000)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def mean_difference(a: Image.Image, b: Image.Image) -> float:
    assert a.size == b.size
    return float(np.abs(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)).mean())


def reason_of(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(DecodeError) as caught:
        verify(data, limits)
    assert caught.value.reason in REASONS
    return caught.value.reason


# Stored bytes


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_bytes_that_need_no_change_are_stored_unchanged(kind):
    data = encoded(scene(), kind)
    picture = verify(data, LIMITS)
    assert picture.image == data
    assert (picture.width, picture.height) == (48, 36)
    assert picture.image_sha256 == sha256(data).hexdigest()


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_become_jpeg(kind):
    picture = verify(encoded(scene(), kind), LIMITS)
    stored = opened(picture.image)
    assert (stored.format, stored.mode, stored.size) == ("JPEG", "RGB", (48, 36))
    assert mean_difference(stored, scene()) < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_longest_side_is_reduced_and_the_aspect_ratio_kept(kind):
    picture = verify(encoded(scene(1000, 500), kind), LIMITS)
    stored = opened(picture.image)
    assert stored.size == (picture.width, picture.height) == (64, 32)
    assert (stored.format, stored.mode) == ("JPEG", "RGB")
    assert picture.image_sha256 == sha256(picture.image).hexdigest()
    assert mean_difference(stored, scene(1000, 500).resize((64, 32), Image.Resampling.BOX)) < 6


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_sides_follow_the_aspect_ratio_and_nothing_is_enlarged(width, height, max_side):
    picture = verify(encoded(Image.new("RGB", (width, height))), ImageLimits(max_side=max_side))
    scale = min(Fraction(1), Fraction(max_side, max(width, height)))
    assert max(picture.width, picture.height) == min(max(width, height), max_side)
    assert abs(picture.width - max(1, width * scale)) <= Fraction(1, 2)
    assert abs(picture.height - max(1, height * scale)) <= Fraction(1, 2)


def test_the_same_bytes_give_the_same_image():
    data = encoded(scene(300, 200), "JPEG")
    assert verify(data, LIMITS) == verify(data, LIMITS)


def test_quality_is_passed_to_the_encoder():
    data = encoded(scene(300, 200, seed=3))
    fine, coarse = (verify(data, ImageLimits(max_side=64, quality=q)) for q in (95, 30))
    assert len(coarse.image) < len(fine.image)


# Pixel types


def test_transparency_is_shown_over_white():
    image = scene().convert("RGBA")
    alpha = np.linspace(0, 255, 48 * 36).reshape(36, 48).astype(np.uint8)
    image.putalpha(Image.fromarray(alpha))
    weight = alpha[..., None] / 255
    expected = np.asarray(scene()) * weight + 255 * (1 - weight)
    stored = opened(verify(encoded(image), LIMITS).image)
    assert mean_difference(stored, Image.fromarray(expected.round().astype(np.uint8))) < 5


def test_a_color_declared_transparent_becomes_white():
    image = Image.new("RGB", (32, 32), (255, 0, 0))
    image.paste((0, 0, 255), (16, 0, 32, 32))
    stored = opened(verify(encoded(image, transparency=(255, 0, 0)), LIMITS).image)
    assert min(stored.getpixel((4, 16))) > 245
    assert stored.getpixel((28, 16))[2] > 230


def test_hidden_color_does_not_bleed_into_a_reduced_image():
    image = Image.new("RGBA", (256, 256), (255, 0, 0, 0))  # red, but fully transparent
    image.paste((0, 0, 0, 255), (0, 0, 128, 256))
    stored = np.asarray(opened(verify(encoded(image), LIMITS).image).convert("HSV"))
    assert stored[..., 1].max() < 40  # saturation: grays only


def test_sixteen_bit_gray_keeps_its_tones():
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    stored = opened(verify(encoded(Image.fromarray(ramp)), LIMITS).image)
    assert np.abs(np.asarray(stored.convert("L")).astype(int) - (ramp >> 8)).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_pixel_type_is_stored_as_rgb(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    stored = opened(verify(encoded(scene().convert(mode), kind), LIMITS).image)
    assert (stored.mode, stored.format) == ("RGB", "JPEG")
    assert mean_difference(stored, scene().convert(mode).convert("RGB")) < 12


def test_cmyk_jpeg_shows_its_colors():
    stored = opened(verify(encoded(scene().convert("CMYK"), "JPEG", quality=95), LIMITS).image)
    assert mean_difference(stored, scene()) < 8


def test_floating_point_pixels_are_refused():
    assert reason_of(encoded(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF")) == "unsupported"


def test_every_emoji_is_shown_on_white(fixtures_dir):
    modes = set()
    for path in sorted((fixtures_dir / "emoji64").glob("*.png"))[::10]:
        data = path.read_bytes()
        stored = opened(verify(data, LIMITS).image)
        source = opened(data)
        modes.add(source.mode)
        rgba = np.asarray(source.convert("RGBA"), dtype=np.float64)
        weight = rgba[..., 3:] / 255
        expected = (rgba[..., :3] * weight + 255 * (1 - weight)).round().astype(np.uint8)
        assert (stored.mode, stored.size) == ("RGB", (64, 64))
        flat = Image.fromarray(expected)
        assert mean_difference(stored, flat) < 8, path.name  # JPEG halves the resolution of color
        assert mean_difference(stored.convert("L"), flat.convert("L")) < 3, path.name
    assert modes >= {"RGBA", "LA"}


def test_palette_emoji_are_stored_as_rgb(fixtures_dir):
    seen = 0
    for path in (fixtures_dir / "emoji64").glob("*.png"):
        with Image.open(path) as source:
            if source.mode != "P":
                continue
        seen += 1
        assert opened(verify(path.read_bytes(), LIMITS).image).mode == "RGB"
    assert seen


# Color profiles


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and blue exchanged, under another name: red is shown as blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    return renamed.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("side", [60, 600])
def test_colors_are_those_of_the_embedded_profile(kind, side):
    data = encoded(Image.new("RGB", (side, side), (255, 0, 0)), kind, icc_profile=swapped_profile())
    stored = opened(verify(data, LIMITS).image)
    assert "icc_profile" not in stored.info
    red, green, blue = stored.getpixel((30, 30))
    assert (red < 20, green < 20, blue > 235) == (True, True, True)


def test_an_image_in_srgb_keeps_its_bytes_with_its_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(scene(), "JPEG", icc_profile=profile)
    assert verify(data, LIMITS).image == data


@pytest.mark.parametrize("profile", [b"x" * 200, swapped_profile()[:300], b"", swapped_profile() + bytes(2 << 20)])
def test_a_damaged_or_huge_profile_is_ignored(profile):
    stored = opened(verify(encoded(scene(200, 200), "JPEG", icc_profile=profile), LIMITS).image)
    assert mean_difference(stored, scene(200, 200).resize((64, 64), Image.Resampling.BOX)) < 6


# Resize modes and encodings


@pytest.mark.parametrize(
    ("mode", "size"),
    [("keep_ratio", (64, 48)), ("border", (64, 64)), ("center_crop", (64, 64)), ("max_area", (73, 55)),
     ("none", (400, 300))],
)  # fmt: skip
@pytest.mark.parametrize("encode", ["jpeg", "webp"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_each_mode_gives_the_pixels_of_a_slow_reference(mode, size, encode, kind):
    image = scene(400, 300)
    picture = verify(encoded(image, kind), ImageLimits(max_side=64, resize=mode, encode=encode))
    stored = opened(picture.image)
    assert (stored.format, stored.size) == (encode.upper() if mode != "none" else kind, size)
    assert (picture.width, picture.height) == size
    lanczos = Image.Resampling.LANCZOS
    expected = {
        "keep_ratio": lambda: image.resize((64, 48), lanczos),
        "border": lambda: ImageOps.pad(image, (64, 64), lanczos, color="white"),
        "center_crop": lambda: ImageOps.fit(image, (64, 64), lanczos),
        "max_area": lambda: image.resize((73, 55), lanczos),
        "none": lambda: image,
    }[mode]()
    assert mean_difference(stored, expected) < 6


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_original_bytes_are_stored_untouched_with_the_size_of_the_upright_image(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(300, 200), kind, **({} if kind == "GIF" else {"exif": exif}))
    picture = verify(data, ImageLimits(max_side=64, encode="original"))
    assert (picture.image, picture.image_sha256) == (data, sha256(data).hexdigest())
    assert (picture.width, picture.height) == ((200, 300) if orientation == 6 and kind != "GIF" else (300, 200))
    assert picture.phash == verify(data, LIMITS).phash


@pytest.mark.parametrize(("size", "reason"), [((30, 10), None), ((31, 10), "aspect"), ((10, 31), "aspect")])
def test_the_sides_may_not_differ_by_more_than_the_largest_aspect(size, reason):
    data, limits = encoded(Image.new("RGB", size)), ImageLimits(max_aspect=3)
    assert (reason_of(data, limits) if reason else verify(data, limits).width) == (reason or 30)


SIZES = [(512, 384), (515, 387), (640, 480), (800, 600), (1024, 768), (1600, 1200), (2200, 900)]


@pytest.mark.parametrize("size", SIZES)
def test_a_reduced_jpeg_is_as_near_to_a_lanczos_reference_as_means_of_all_pixels(size):
    rng = np.random.default_rng(3)
    layers = [
        Image.fromarray(rng.integers(0, 256, (size[1] // n, size[0] // n, 3), dtype=np.uint8)).resize(size)
        for n in (3, 9, 40)
    ]
    image = Image.blend(Image.blend(layers[0], layers[1], 0.6), layers[2], 0.5)
    data = encoded(image, "JPEG", quality=90)
    stored = opened(verify(data, ImageLimits()).image)
    reference = opened(data).resize(stored.size, Image.Resampling.LANCZOS)
    means = opened(encoded(opened(data).resize(stored.size, Image.Resampling.BOX), "JPEG", quality=95))
    assert mean_difference(stored, reference) < mean_difference(means, reference) + 0.2


# EXIF, XMP and frames


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(48, 36), (480, 360)])
def test_exif_orientation_is_applied(orientation, kind, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(*size), kind, exif=exif, **({"quality": 95} if kind != "PNG" else {}))
    picture = verify(data, LIMITS)
    stored = opened(picture.image)
    upright = ImageOps.exif_transpose(opened(data)).resize(stored.size, Image.Resampling.BOX)
    assert stored.size == (picture.width, picture.height)
    assert mean_difference(stored, upright) < 8
    assert not stored.getexif()


def test_every_orientation_but_the_first_turns_something():
    assert set(UPRIGHT) == set(range(2, 9))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_exif_block_does_not_invalidate_the_image():
    picture = verify(encoded(scene(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff damaged"), LIMITS)
    assert (picture.width, picture.height) == (48, 36)


def test_no_camera_or_author_data_is_stored():
    exif = Image.Exif()
    exif[0x013B] = "A. Photographer"
    data = encoded(scene(), "JPEG", exif=exif, xmp=b"<x:xmpmeta>A. Photographer</x:xmpmeta>")
    assert b"A. Photographer" in data
    assert b"A. Photographer" not in verify(data, LIMITS).image


def test_a_file_inflated_by_other_content_is_encoded_again():
    data = encoded(scene(), "JPEG") + bytes(1 << 20)
    assert len(verify(data, LIMITS).image) < 10_000


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_stored(kind):
    frames = [scene(seed=i) for i in (1, 2, 3)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **lossless)
    assert opened(data).n_frames == 3
    stored = opened(verify(data, LIMITS).image)
    assert getattr(stored, "n_frames", 1) == 1
    assert mean_difference(stored, frames[0]) < 8


# Refusals


@pytest.mark.parametrize(
    "data", [b"", b"x", b"<html><body>404</body></html>" * 9, b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_bytes_of_unknown_format_are_not_an_image(data):
    assert reason_of(data) == "not_an_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_truncated_image_is_refused(kind, share):
    data = encoded(scene(200, 150), kind)
    assert reason_of(data[: int(len(data) * share)]) == "truncated"


def test_damage_inside_a_png_is_refused():
    data = bytearray(encoded(scene(200, 150)))
    data[len(data) // 2] ^= 0xFF
    assert reason_of(bytes(data)) == "broken"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has almost no data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [1001, 8_001, 60_000, 2_000_000_000])
def test_a_bomb_is_refused_by_its_header(side):
    assert reason_of(png_header(side, side)) == "too_many_pixels"


def test_the_pixel_limit_is_inclusive():
    data = encoded(Image.new("RGB", (20, 10)))
    assert verify(data, ImageLimits(max_pixels=200)).width == 20
    assert reason_of(data, ImageLimits(max_pixels=199)) == "too_many_pixels"


def test_the_shorter_side_must_reach_the_minimum():
    data = encoded(Image.new("RGB", (40, 10)))
    assert verify(data, ImageLimits(min_side=10)).height == 10
    assert reason_of(data, ImageLimits(min_side=11)) == "too_small"


VALID = {kind: encoded(scene(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")}


@given(st.sampled_from(sorted(VALID)), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6))
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's warnings about damaged TIFF and PNG
def test_damaged_bytes_give_an_image_or_a_reason(kind, edits):
    data = bytearray(VALID[kind])
    for where, value in edits:
        data[int(where * len(data))] = value
    try:
        picture = verify(bytes(data), LIMITS)
    except DecodeError as error:
        assert error.reason in REASONS  # noqa: PT017 - either outcome is right
    else:
        stored = opened(picture.image)
        assert (stored.mode, stored.size) == ("RGB", (picture.width, picture.height))


# Budgets


def test_a_large_image_and_one_of_a_rare_format_are_decoded_apart_with_the_same_result(monkeypatch):
    requests = []
    call = decode_module._decoder.call
    monkeypatch.setattr(decode_module._decoder, "call", lambda *given: (requests.append(1), call(*given))[1])
    for data in (encoded(scene(2500, 1700), "JPEG"), encoded(scene(), "AVIF"), encoded(scene(), "TIFF")):
        limits = ImageLimits()
        assert verify(data, limits) == decode(data, limits)
    assert len(requests) == 3
    verify(encoded(scene(2000, 2000), "JPEG"), ImageLimits())
    assert len(requests) == 3


def test_a_reason_found_in_the_child_is_the_reason_of_the_image():
    assert reason_of(encoded(scene(), "AVIF")[:-200]) in {"truncated", "broken"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(CpuTimeError, "decode_timeout"), (KilledError, "decoder_killed"), (DeadlineError, "not_processed")],
)
def test_a_killed_decoder_costs_that_image_alone(monkeypatch, error, reason):
    def die(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(decode_module._decoder, "call", die)
        assert reason_of(encoded(scene(), "AVIF")) == reason
    assert verify(encoded(scene(), "AVIF"), LIMITS).width == 48


@pytest.mark.usefixtures("crashing_decoder")
def test_a_small_image_that_crashes_its_decoder_costs_itself_alone_if_images_are_decoded_apart():
    apart, good = dataclasses.replace(LIMITS, apart=True), encoded(scene(), "PNG")
    assert reason_of(poisoned(good), apart) == "decoder_killed"
    assert verify(good, apart) == verify(good, LIMITS)
    assert reason_of(b"<html>", apart) == "not_an_image"


def test_a_decoder_without_memory_says_so(monkeypatch):
    small = BudgetedProcess(decode_module._decoder.function, cpu_s=10, memory=16 << 20)
    monkeypatch.setattr(decode_module, "_decoder", small)
    try:
        with pytest.raises(MemoryError):
            verify(encoded(Image.new("RGB", (4000, 4000))), ImageLimits())
    finally:
        small.close()


def test_a_decoder_beyond_its_cpu_time_is_killed(monkeypatch):
    small = BudgetedProcess(decode_module._decoder.function, cpu_s=0.05, memory=1 << 30)
    monkeypatch.setattr(decode_module, "_decoder", small)
    try:
        assert reason_of(encoded(scene(6000, 6000), "JPEG"), ImageLimits(resize="none")) == "decode_timeout"
    finally:
        small.close()


@pytest.mark.parametrize(
    "size", [(512, 512), (1024, 1024), (512, 384), (1024, 768), (2048, 2048), (300, 200), (256, 256)]
)
def test_a_jpeg_is_stored_with_the_size_that_is_recorded(size):
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, "JPEG")  # so compressible that no bound on bytes hides a mistake
    stored = verify(file.getvalue(), ImageLimits(256))
    assert Image.open(io.BytesIO(stored.image)).size == (stored.width, stored.height)
    assert max(stored.width, stored.height) <= 256


# Pixels for filters


@pytest.mark.parametrize("resize", ["keep_ratio", "border", "center_crop", "max_area", "none"])
@pytest.mark.parametrize("encode", ["jpeg", "original"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_pixels_are_those_of_the_stored_image_without_its_border(resize, encode, orientation):
    sink = io.BytesIO()
    picture = Image.effect_noise((90, 40), 80).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(sink, "PNG", exif=exif)
    limits = ImageLimits(max_side=32, resize=resize, encode=encode, quality=100, with_pixels=True)
    for made in (decode(sink.getvalue(), limits), verify(sink.getvalue(), limits)):
        pixels = made.pixels.array()
        plain = decode(sink.getvalue(), dataclasses.replace(limits, encode="jpeg", with_pixels=False))
        assert plain.pixels is None
        stored = np.asarray(Image.open(io.BytesIO(plain.image)).convert("RGB"))
        if resize == "border":
            left, top = ((32 - side) // 2 for side in (pixels.shape[1], pixels.shape[0]))
            stored = stored[top : top + pixels.shape[0], left : left + pixels.shape[1]]
        assert pixels.shape == stored.shape
        assert np.abs(pixels.astype(int) - stored).mean() < 4
    assert pixels.shape[0] > pixels.shape[1] or orientation == 1 or resize == "center_crop"


def test_pixels_cross_the_process_of_rare_formats():
    sink = io.BytesIO()
    Image.effect_noise((30, 20), 80).convert("RGB").save(sink, "BMP")
    limits = ImageLimits(formats=("BMP",), with_pixels=True)
    apart, here = verify(sink.getvalue(), limits), decode(sink.getvalue(), limits)
    assert apart == here
    assert apart.pixels.array().shape == (20, 30, 3)
