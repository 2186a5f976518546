"""Videos for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

FRAMES, SIDE = 30, 64  # of a video that is twice as wide as high


def write_video(path: Path, frames: int = FRAMES) -> str:
    """Write a video whose frames get brighter, ten per second, and return its path."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 2 * SIDE, SIDE, "yuv420p"
        container.start_encoding()  # writes the header, also without a frame
        for number in range(frames):
            pixels = np.full((SIDE, 2 * SIDE, 3), 8 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)
