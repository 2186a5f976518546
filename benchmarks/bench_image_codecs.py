"""Measure decode, resize and encode of one picture per core, beside other libraries, and compare the quality.

The pictures are generated: spectra like those of photos, with sharp edges, as JPEG of 800 x 600 pixels and about 58 KB.
All ways give 256 x 192 pixels as JPEG of quality 95. The last three steps of `verify` (both hashes, the checks of the
bytes) are included in its time only. img2dataset decodes with OpenCV and resizes with `INTER_AREA`. SSIM is the mean of
Wang et al., "Image Quality Assessment" (2004), over squares of 8 x 8 pixels, against a Lanczos reduction of the full
picture. CPU time is measured. Libraries that are not installed are skipped.

    python benchmarks/bench_image_codecs.py [--tiny]
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from common import REPEATS, run, scaled, table
from PIL import Image, ImageDraw

from curation.images.codec.resample import resample
from curation.images.decode import ImageLimits, verify

PICTURES = scaled(20, 2)
SOURCE, TARGET, QUALITY = (800, 600), (256, 192), 95
LANCZOS = Image.Resampling.LANCZOS

Way = Callable[[bytes], bytes]


def photo(seed: int) -> bytes:
    """Return a JPEG with the spectrum of a photo (amplitude 1/f^1.6) and a dozen sharp ellipses."""
    rng, (width, height) = np.random.default_rng(seed), SOURCE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    light, red, blue = (
        plane / plane.std()
        for plane in (
            np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) / frequency**1.6) for _ in range(3)
        )
    )
    pixels = 120 + 45 * np.stack([light + 0.4 * red, light, light + 0.4 * blue], axis=-1)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for x, y, size, *color in rng.integers(0, [width, height, 150, 256, 256, 256], (12, 6)).tolist():
        draw.ellipse([x, y, x + size + 20, y + size + 14], fill=tuple(color))
    return jpeg(image, 80)


def jpeg(image: Image.Image, quality: int = QUALITY) -> bytes:
    """Return an image as JPEG."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality, subsampling="4:2:0")
    return sink.getvalue()


def pillow(times: int) -> Way:
    """Return the way that lets libjpeg reduce to at least `times` the target; 0 = not at all."""

    def convert(data: bytes) -> bytes:
        image = Image.open(io.BytesIO(data))
        if times:
            image.draft(None, (times * TARGET[0], times * TARGET[1]))
        return jpeg(image.resize(TARGET, LANCZOS, reducing_gap=3.0))

    return convert


def compiled(data: bytes) -> bytes:
    """Convert as `verify` does, without its checks and hashes."""
    image = Image.open(io.BytesIO(data))
    image.draft(None, TARGET)
    return jpeg(Image.fromarray(resample(np.asarray(image), TARGET)))


def ours(data: bytes) -> bytes:
    """Convert with `verify`."""
    return verify(data, ImageLimits(max_side=max(TARGET), quality=QUALITY)).image


def others() -> dict[str, Way]:
    """Return the ways of the libraries that are installed."""
    ways: dict[str, Way] = {}
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)

        def opencv(flags: int, filter_: int) -> Way:
            def convert(data: bytes) -> bytes:
                pixels = cv2.resize(cv2.imdecode(np.frombuffer(data, np.uint8), flags), TARGET, interpolation=filter_)
                return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])

            return convert

        ways["OpenCV, INTER_AREA (img2dataset)"] = opencv(cv2.IMREAD_UNCHANGED, cv2.INTER_AREA)
        ways["OpenCV, reduced by 2, INTER_AREA"] = opencv(cv2.IMREAD_REDUCED_COLOR_2, cv2.INTER_AREA)
    if find_spec("cv2") and find_spec("simplejpeg"):
        import simplejpeg

        def turbo(data: bytes) -> bytes:
            pixels = simplejpeg.decode_jpeg(data, "RGB", min_width=TARGET[0], min_height=TARGET[1])
            pixels = cv2.resize(pixels, TARGET, interpolation=cv2.INTER_CUBIC)
            return bytes(simplejpeg.encode_jpeg(pixels, QUALITY, "RGB", "420"))

        ways["simplejpeg at 3/8, OpenCV INTER_CUBIC"] = turbo
    if find_spec("pyvips"):
        import pyvips

        def vips(data: bytes) -> bytes:
            image = pyvips.Image.thumbnail_buffer(data, TARGET[0], height=TARGET[1])
            return bytes(image.jpegsave_buffer(Q=QUALITY, subsample_mode="on"))

        ways["pyvips thumbnail"] = vips
    return ways


def ssim(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    """Return the mean structural similarity of two images over all squares of 8 x 8 pixels and all channels."""
    x, y = (np.lib.stride_tricks.sliding_window_view(v.astype(np.float64), (8, 8), (0, 1)) for v in (a, b))
    mean_x, mean_y = x.mean((-1, -2)), y.mean((-1, -2))
    covariance = (x * y).mean((-1, -2)) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((light * (2 * covariance + c2) / (x.var((-1, -2)) + y.var((-1, -2)) + c2)).mean())


def cpu_seconds(ways: dict[str, Way], pictures: list[bytes]) -> dict[str, float]:
    """Return the median CPU seconds per picture of each way; the ways take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS + 1):
        for name, way in ways.items():
            started = time.process_time()
            for picture in pictures:
                way(picture)
            taken[name].append((time.process_time() - started) / len(pictures))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}  # the first round compiles


def measure() -> None:
    """Print the table."""
    pictures = [photo(seed) for seed in range(PICTURES)]
    references = [np.asarray(Image.open(io.BytesIO(data)).resize(TARGET, LANCZOS)) for data in pictures]
    ways: dict[str, Way] = {
        "Pillow, full": pillow(0),
        "Pillow, draft at 2 times": pillow(2),
        "Pillow, draft": pillow(1),
        **others(),
        "Pillow, draft, compiled filter": compiled,
        "verify": ours,
    }
    seconds = cpu_seconds(ways, pictures)
    baseline = seconds["Pillow, draft at 2 times"]
    rows = []
    for name, way in ways.items():
        files = [way(data) for data in pictures]
        quality = statistics.mean(
            ssim(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")), reference)
            for file, reference in zip(files, references, strict=True)
        )
        rate, size = 1 / seconds[name], statistics.mean(map(len, files))
        rows.append(
            [name, f"{1e3 / rate:.2f}", f"{rate:,.0f}", f"{baseline * rate:.1f}", f"{quality:.4f}", f"{size:,.0f}"]
        )
    columns = ["decode, resize, encode", "CPU ms", "pictures per CPU s", "ratio", "SSIM", "bytes"]
    mean = statistics.mean(map(len, pictures))
    table(
        f"{PICTURES} JPEG pictures of {mean:,.0f} bytes", columns, rows, name="codecs",
        ratios={name: baseline / seconds[name] for name in ("Pillow, draft, compiled filter", "verify")},
    )  # fmt: skip


if __name__ == "__main__":
    run(measure)
