"""Turn downloaded bytes into a stored image: fully decoded, upright, RGB, within the size limit, hashed.

An image that already meets the requirements keeps its bytes. Any other becomes a JPEG or WebP made only from its
pixels, so the same bytes and limits give the same result. The result is always a `StoredImage`, or a `DecodeError` with
one of these reasons:

| reason | meaning |
|---|---|
| not_an_image | none of the accepted formats |
| format_refused | a format that is not among the configured ones |
| too_many_pixels | larger than `max_pixels` by its header; nothing was decoded |
| decompression_bomb | far more pixels than its bytes can describe; nothing was decoded |
| too_many_parts | more scans, segments or chunks than pictures have; nothing was decoded |
| too_small | a side is shorter than `min_side` |
| aspect | the longer side is more than `max_aspect` times the shorter |
| truncated | the data ends before the image does |
| broken | the data contradicts its format |
| decode_timeout | decoding took more than `DECODE_CPU_S` seconds of CPU time |
| not_processed | the child process that decodes it was not finished at the deadline |
| decoder_killed | the decoder crashed, or the system killed it for lack of memory |
| unsupported | a pixel type without a range to map to eight bits (32-bit and floating-point TIFF) |
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import msgspec
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from curation.images.codec.budget import BudgetedProcess, CpuTimeError, DeadlineError, KilledError
from curation.images.codec.colors import color_profile, eight_bit, over_white
from curation.images.codec.encode import LONGEST_SIDE, Encoding, encoded, is_storable
from curation.images.codec.geometry import Fit, ResizeMode, Size, fit
from curation.images.codec.heif import HEIF, register_heif
from curation.images.codec.jpeg import jpeg_pixels
from curation.images.codec.orientation import SIDEWAYS, rotation_of, upright
from curation.images.codec.phash import phash
from curation.images.codec.pixels import Pixels
from curation.images.codec.resample import resample
from curation.images.failures import NOT_PROCESSED, DecodeError
from curation.images.precheck import FORMATS, check_bytes, check_pixels, check_scans, kind_of
from curation.jit.compiler import Bytes

# Our reasons cover Pillow's warnings about damaged files; a line on stderr for each would flood the log.
warnings.filterwarnings("ignore", module=r"PIL\.")

REASONS = frozenset(
    {
        "not_an_image", "format_refused", "too_many_pixels", "decompression_bomb", "too_many_parts", "too_small",
        "aspect", "truncated", "broken", "unsupported", "decode_timeout", "decoder_killed", NOT_PROCESSED,
    }
)  # fmt: skip

JPEG_FORMATS = frozenset({"JPEG", "MPO"})
CHEAP_FORMATS = frozenset({*JPEG_FORMATS, "PNG", "WEBP", "GIF"})
CHEAP_PIXELS = 4_000_000  # at most 64 MB and a quarter of a second
DECODE_CPU_S = 10.0  # of larger images; the slowest image of 64 million pixels that was tried takes 1.4
DECODE_MEMORY = 2 << 30  # of larger images; the largest takes 1 GB
OUT_OF_MEMORY = "out_of_memory"
REDUCING_GAP = 3  # the factor by which the filter reduces; a mean of pixels reduces by the rest, first


@dataclass(frozen=True)
class ImageLimits:
    """Limits of stored images, and how they are stored.

    Attributes:
        max_side: the side S of `curation.images.codec.geometry`, in pixels.
        max_pixels: bounds the memory of a decode (about 12 bytes per pixel); Pillow itself refuses more than
            178,956,970.
        min_side: of the original, in pixels.
        quality: of JPEG or WebP, 1 to 100.
        formats: some of `curation.images.precheck.SIGNATURES`.
        max_aspect: the longer side of the original divided by the shorter, at most.
        resize: the resize mode.
        encode: the format of images whose pixels or metadata change; `original` stores every image as it was received,
            metadata and all.
        with_pixels: whether `StoredImage.pixels` is filled.
        apart: whether `verify` decodes every image in the child process, whose end costs one image.
    """

    max_side: int = 256
    max_pixels: int = 64_000_000
    min_side: int = 1
    quality: int = 95
    formats: tuple[str, ...] = FORMATS
    max_aspect: float = math.inf
    resize: ResizeMode = "keep_ratio"
    encode: Encoding = "jpeg"
    with_pixels: bool = False
    apart: bool = False


@dataclass(frozen=True)
class StoredImage:
    """An image as stored: the bytes of its file, their SHA-256 in hex, its sides in pixels, and its `phash`.

    `pixels` are those of its resized form, without a border, before it is encoded; only with `with_pixels`.
    """

    image: bytes
    width: int
    height: int
    image_sha256: str
    phash: str
    pixels: Pixels | None = None


def verify(data: bytes, limits: ImageLimits, deadline: float = math.inf) -> StoredImage:
    """Return `decode` of a downloaded image, in a child process with a budget if it is costly or `limits.apart`.

    Large images and rare formats are costly.
    Raises DecodeError, with the reason `not_processed` if the child is not finished at the deadline (by
    `time.monotonic`); MemoryError if there is not enough memory.
    """
    return decode(data, limits, partial(_decode_apart, deadline=deadline))


def decode(
    data: bytes, limits: ImageLimits, costly: Callable[[bytes, ImageLimits], StoredImage] | None = None
) -> StoredImage:
    """Decode a downloaded image completely and return it as it is to be stored.

    The stored image is the first frame of an animation, turned upright by its EXIF orientation, with transparency over
    white, in eight-bit sRGB, resized as `limits` say (Lanczos) and never enlarged. If that changes nothing and the file
    holds only a picture and its colors (no camera data, texts, comments, signatures or bytes after its end), its bytes
    are stored unchanged, but without oversized texts and color profiles; otherwise it is encoded.

    With `encode: original`, the bytes are stored as received, with the size of the upright image. The perceptual hash
    is that of the image in its resized form.

    Args:
        data: the bytes of the file.
        limits: what is stored, and how.
        costly: opens and decodes, instead of this function, images of other than `CHEAP_FORMATS`, or all with
            `apart`, and decodes those of more than `CHEAP_PIXELS`.

    Raises DecodeError.
    """
    if HEIF in limits.formats:
        register_heif()
    with _named_failures(data):
        usable = check_bytes(data, limits.formats, limits.max_pixels)
        if costly and (limits.apart or kind_of(data) not in {*CHEAP_FORMATS, None}):
            return costly(data, limits)
        image = Image.open(io.BytesIO(usable), formats=limits.formats)
        original, rotation = image.size, None
        _check_size(original, len(usable), limits)
        if image.format in JPEG_FORMATS:
            check_scans(usable, image.width * image.height, limits.max_pixels)
        if costly and (image.format not in CHEAP_FORMATS or image.width * image.height > CHEAP_PIXELS):
            return costly(data, limits)
        planned = fit(original, limits.resize, limits.max_side, LONGEST_SIDE[limits.encode])
        extent = _draft(image, planned.scaled)
        decoded = jpeg_pixels(image, usable)
        if decoded is None:
            image.load()
        rotation, to_srgb = rotation_of(image), color_profile(image)
        keep = (
            original == planned.scaled == planned.canvas  # not `image.size`: the draft has reduced it
            and rotation is None
            and to_srgb is None
            and is_storable(image, usable)
        )
        scaled = _resized(image, decoded, extent, planned, to_srgb)
        pixels = upright(_on_canvas(scaled, planned.canvas), rotation)
    if limits.encode == "original":
        stored, size = data, original[::-1] if rotation in SIDEWAYS else original
    else:
        stored, size = usable if keep else encoded(pixels, limits.encode, limits.quality), pixels.size
    shown = None
    if limits.with_pixels:
        visible = min(scaled.width, planned.canvas[0]), min(scaled.height, planned.canvas[1])
        shown = Pixels.of(upright(_on_canvas(scaled, visible), rotation))
    return StoredImage(stored, *size, sha256(stored).hexdigest(), phash(pixels), shown)


def _decode_apart(data: bytes, limits: ImageLimits, deadline: float) -> StoredImage:
    """Decode an image in the child process of this process."""
    try:
        answer = _decoder.call(msgspec.msgpack.encode((data, limits)), deadline)
    except CpuTimeError as error:
        raise DecodeError("decode_timeout") from error
    except DeadlineError as error:
        raise DecodeError(NOT_PROCESSED) from error
    except KilledError as error:
        raise DecodeError("decoder_killed") from error
    result = msgspec.msgpack.decode(answer, type=StoredImage | str)
    if isinstance(result, StoredImage):
        return result
    if result == OUT_OF_MEMORY:
        raise MemoryError
    raise DecodeError(result)


def answer_decode(request: bytes) -> bytes:
    """Return the answer of the child process: the stored image, or the reason why there is none."""
    answer: StoredImage | str
    try:
        answer = decode(*msgspec.msgpack.decode(request, type=tuple[bytes, ImageLimits]))
    except DecodeError as error:
        answer = error.reason
    except MemoryError:
        answer = OUT_OF_MEMORY
    return msgspec.msgpack.encode(answer)


_decoder = BudgetedProcess(f"{__name__}:{answer_decode.__name__}", DECODE_CPU_S, DECODE_MEMORY)


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


def _check_size(size: Size, length: int, limits: ImageLimits) -> None:
    check_pixels(*size, length, limits.max_pixels)
    if min(size) < limits.min_side:
        raise DecodeError("too_small")
    if max(size) > limits.max_aspect * min(size):
        raise DecodeError("aspect")


def _draft(image: Image.Image, size: Size) -> tuple[float, float]:
    """Let libjpeg reduce a JPEG by 2, 4 or 8 while decoding, to no less than `size`; return the sides it then covers.

    Half a block of 8x8 frequencies costs a quarter of its pixels, and is the mean of the pixels, without aliasing.
    """
    drafted = image.draft(None, size) if image.format in JPEG_FORMATS else None
    return (drafted[1][2], drafted[1][3]) if drafted else image.size


def _resized(
    image: Image.Image,
    decoded: Bytes | None,
    extent: tuple[float, float],
    planned: Fit,
    to_srgb: ImageCms.ImageCmsTransform | None,
) -> Image.Image:
    """Return an image, loaded or `decoded`, as RGB over white, resized, without the file's metadata."""
    is_cmyk = image.mode == "CMYK"
    across, down = (max(1, int(a / b / REDUCING_GAP)) for a, b in zip(extent, planned.scaled, strict=True))
    if decoded is None or across > 1 or down > 1:
        image = eight_bit(image, to_srgb) if decoded is None else Image.fromarray(decoded)
        if across > 1 or down > 1:
            image = image.reduce((across, down))
            extent = extent[0] / across, extent[1] / down
        decoded = np.asarray(over_white(image))
    if decoded.shape[1::-1] != planned.scaled:
        decoded = resample(decoded, planned.scaled, extent)
    image = Image.fromarray(decoded)
    if to_srgb is not None and not is_cmyk:  # on the few pixels that remain
        image = ImageCms.applyTransform(image, to_srgb) or image
    return image


def _on_canvas(image: Image.Image, size: Size) -> Image.Image:
    """Return an image in the middle of a white canvas, which is cut to; the image itself if it has that size."""
    if image.size == size:
        return image
    canvas = Image.new("RGB", size, "white")
    left, top = ((a - b) // 2 for a, b in zip(size, image.size, strict=True))
    canvas.paste(image, (left, top))
    return canvas
