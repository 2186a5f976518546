"""Turn downloaded bytes into a stored image: fully decoded, upright, RGB, within the size limit, hashed.

An image that already meets the requirements keeps its bytes. Any other becomes a JPEG made only from its pixels, so the
same bytes and limits give the same result. The result is always a `StoredImage`, or a `DecodeError` with one of these
reasons:

| reason | meaning |
|---|---|
| not_an_image | none of the accepted formats |
| format_refused | a format that is not among the configured ones |
| too_many_pixels | larger than `max_pixels` by its header; nothing was decoded |
| decompression_bomb | far more pixels than its bytes can describe; nothing was decoded |
| too_many_parts | more scans, segments or chunks than pictures have; nothing was decoded |
| too_small | a side is shorter than `min_side` |
| truncated | the data ends before the image does |
| broken | the data contradicts its format |
| unsupported | a pixel type without a range to map to eight bits (32-bit and floating-point TIFF) |
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from curation.images.failures import DecodeError
from curation.images.precheck import FORMATS, check_bytes, check_pixels, check_scans

# Our reasons cover Pillow's warnings about damaged files; a line on stderr for each would flood the log.
warnings.filterwarnings("ignore", module=r"PIL\.")

REASONS = frozenset(
    {
        "not_an_image", "format_refused", "too_many_pixels", "decompression_bomb", "too_many_parts", "too_small",
        "truncated", "broken", "unsupported",
    }
)  # fmt: skip

STORABLE_FORMATS = frozenset({"JPEG", "PNG", "WEBP"})
JPEG_LONGEST_SIDE = 65_500  # libjpeg's own limit

# Pillow's names for EXIF, XMP and IPTC (inside Photoshop's block) in all formats.
PERSONAL_BLOCKS = frozenset(
    {"exif", "xmp", "photoshop", "Raw profile type exif", "Raw profile type iptc", "XML:com.adobe.xmp"}
)

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

# The 8 lowest frequencies of the DCT-II over 32 samples in units of 2^-14. With integers, every machine gets the same
# bits, and a uniform image has exact zeros where floating point would leave noise.
_SAMPLES, _FREQUENCIES = 32, 8
_ANGLES = np.outer(np.arange(_FREQUENCIES), 2 * np.arange(_SAMPLES) + 1) * np.pi / (2 * _SAMPLES)
_DCT: npt.NDArray[np.int64] = np.rint(np.cos(_ANGLES) * (1 << 14)).astype(np.int64)


@dataclass(frozen=True)
class ImageLimits:
    """Limits of stored images.

    Sides are in pixels, `quality` is libjpeg's 1-95. `max_pixels` bounds the memory of a decode (about 12 bytes per
    pixel); Pillow itself refuses more than 178,956,970. `formats` are of `curation.images.precheck.FORMATS`.
    """

    max_side: int = 256
    max_pixels: int = 64_000_000
    min_side: int = 1
    quality: int = 95
    formats: tuple[str, ...] = FORMATS


@dataclass(frozen=True)
class StoredImage:
    """An image as stored: the bytes of its file, their SHA-256 in hex, its sides in pixels, and its `phash`."""

    image: bytes
    width: int
    height: int
    image_sha256: str
    phash: str


def verify(data: bytes, limits: ImageLimits) -> StoredImage:
    """Decode a downloaded image completely and return it as it is to be stored.

    The stored image is the first frame of an animation, turned upright by its EXIF orientation, with transparency over
    white, in eight-bit RGB, its longest side reduced to `max_side` (Lanczos) and never enlarged. If that changes
    nothing and the file has no EXIF, XMP or IPTC block (camera, location, author), its bytes are stored unchanged,
    but without oversized texts and color profiles; otherwise a JPEG is written. Raises DecodeError.
    """
    with _named_failures(data):
        data = check_bytes(data, limits.formats, limits.max_pixels)
        image = Image.open(io.BytesIO(data), formats=limits.formats)
        check_pixels(*image.size, len(data), limits.max_pixels)
        if image.format in {"JPEG", "MPO"}:
            check_scans(data, image.width * image.height, limits.max_pixels)
        size = _target_size(image.size, limits)
        if image.format == "JPEG" and size != image.size:
            # libjpeg halves while decoding; stop at twice the target, for the better filter below
            image.draft(None, (2 * size[0], 2 * size[1]))
        image.load()
        keep = image.size == size and _is_storable(image, len(data))
        pixels = _flat_rgb(image, size)
    stored = data if keep else _jpeg(pixels, limits.quality)
    return StoredImage(stored, *pixels.size, sha256(stored).hexdigest(), phash(pixels))


def phash(image: Image.Image) -> str:
    """Return the 64-bit perceptual hash of an image as 16 hex digits; near-duplicates differ in few bits.

    The image is reduced to 32x32 in gray and transformed by a two-dimensional DCT-II. Each bit represents one of the
    8x8 lowest frequencies, row by row, and is set if the coefficient is above their median. This is the DCT hash of
    Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), including the lowest frequency,
    as in the package ImageHash.
    """
    small = image.convert("L").resize((_SAMPLES, _SAMPLES), Image.Resampling.LANCZOS)
    low = (_DCT @ np.asarray(small, dtype=np.int64) @ _DCT.T).ravel()
    return np.packbits(low > np.median(low)).tobytes().hex()


@contextmanager
def _named_failures(data: bytes) -> Iterator[None]:
    """Turn every failure of a decoder except lack of memory into a DecodeError."""
    try:
        yield
    except (DecodeError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DecodeError("not_an_image") from error
    except Image.DecompressionBombError as error:
        raise DecodeError("too_many_pixels") from error
    except Exception as error:  # decoders raise nearly every type on damaged bytes
        # The WebP decoder only reports that it failed; the length in the header tells why.
        ends_early = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)
        truncated = ends_early or "truncated" in str(error).lower()
        raise DecodeError("truncated" if truncated else "broken") from error


def _target_size(size: tuple[int, int], limits: ImageLimits) -> tuple[int, int]:
    """Return the stored size of an image of this size. Raises DecodeError when a side is too short."""
    width, height = size
    if min(size) < limits.min_side:
        raise DecodeError("too_small")
    longest, allowed = max(size), min(limits.max_side, JPEG_LONGEST_SIDE)
    if longest <= allowed:
        return size
    return _scaled(width, allowed, longest), _scaled(height, allowed, longest)


def _scaled(side: int, numerator: int, denominator: int) -> int:
    """Return side * numerator / denominator, rounded half up, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))


def _is_storable(image: Image.Image, length: int) -> bool:
    """Return whether a decoded file of `length` bytes may be stored unchanged."""
    return (
        image.format in STORABLE_FORMATS
        and image.mode == "RGB"
        and not image.has_transparency_data
        and getattr(image, "n_frames", 1) == 1
        and not PERSONAL_BLOCKS & image.info.keys()
        and length <= 4 * image.width * image.height + (64 << 10)  # not inflated by data other than pixels
    )


def _flat_rgb(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a decoded image as RGB over white, reduced to `size`, upright, without the file's metadata."""
    rotation = _rotation(image)
    reduced = _eight_bit(image)
    if reduced.size != size:
        reduced = reduced.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    flat = Image.new("RGB", size, "white")
    flat.paste(reduced, mask=reduced if reduced.mode == "RGBA" else None)
    return flat if rotation is None else flat.transpose(rotation)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return a decoded image in mode RGB, RGBA or (from sixteen-bit gray) L."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # convert() would clip at 255
    if image.mode in {"I", "F"}:
        raise DecodeError("unsupported")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _rotation(image: Image.Image) -> Image.Transpose | None:
    """Return the operation that turns the image upright, or None."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block, which raises nearly every type, does not invalidate the image
        return None


def _jpeg(image: Image.Image, quality: int) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality, subsampling="4:2:0")
    return sink.getvalue()
