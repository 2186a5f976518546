"""Frames of videos, read with PyAV (extra `video`)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from curation.errors import UsageError

KEYS: Final = ("image_id", "image_url")


class Video(TypedDict):
    """What `frames` has of a video: encoded frames with their times in seconds, what is said, and a description."""

    frames: list[bytes] | None
    frame_times: list[float] | None
    subtitle: str | None
    caption: str | None


@dataclass(frozen=True)
class VideoFrames:
    """Makes `frames`: frames at equal distances, from the first to the last, of the video of an image.

    A video with fewer frames repeats some. One that cannot be read has no frames, and a row without a video no value.

    Attributes:
        model: a file with one JSON object per line: `image_id` or `image_url` of the row, `video` (a path on every
            machine), and perhaps `subtitle` and `caption`. Only the file is part of the fingerprint: give a video that
            has changed another name.
        count: frames per video.
        max_side: longest side in pixels; larger frames are resized.
        quality: of JPEG, 1 to 100.
    """

    model: str
    count: int = 12
    max_side: int = 256
    quality: int = 90

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("image_id", "image_url")
    uses_seed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong, UsageError without PyAV or if the file cannot be read."""
        if self.count < 1 or self.max_side < 1 or not 1 <= self.quality <= 100:
            raise ValueError("count and max_side must be at least 1, and quality from 1 to 100")
        if not find_spec("av"):
            raise UsageError("annotate.makers.frames: needs PyAV: run pip install 'worldcurate[video]'")
        read_videos(self.model)

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[Video | None]:  # noqa: ARG002 - it draws nothing
        """Return the frames of each row."""
        videos = read_videos(self.model)
        entries = (
            next((videos[row[key]] for key in KEYS if row[key] in videos), None)
            for row in rows.select(self.reads).to_pylist()
        )
        return [None if entry is None else self._video(entry) for entry in entries]

    def _video(self, entry: Mapping[str, str]) -> Video:
        frames = read_frames(entry["video"], self.count)
        return Video(
            frames=None if frames is None else [self._encode(pixels) for pixels, _ in frames],
            frame_times=None if frames is None else [time for _, time in frames],
            subtitle=entry.get("subtitle"),
            caption=entry.get("caption"),
        )

    def _encode(self, pixels: npt.NDArray[np.uint8]) -> bytes:
        image, buffer = Image.fromarray(pixels), io.BytesIO()
        image.thumbnail((self.max_side, self.max_side), Image.Resampling.LANCZOS)
        image.save(buffer, "JPEG", quality=self.quality)
        return buffer.getvalue()


def choose_frames(total: int, count: int) -> list[int]:
    """Return the numbers of frames at equal distances of a video with `total`; one alone is the middle one."""
    if count == 1:
        return [total // 2]
    return [number * (total - 1) // (count - 1) for number in range(count)]


def read_frames(path: str, count: int) -> list[tuple[npt.NDArray[np.uint8], float]] | None:
    """Return frames at equal distances as [height, width, 3], upright, with their times; None if there are none."""
    import av

    try:
        total = sum(1 for _ in _packets(path))
        decoded = _decode(path, set(choose_frames(total, count))) if total else {}
        if decoded and (found := max(decoded) + 1) < total:  # some packets have no frame
            total = found
            decoded = _decode(path, set(choose_frames(total, count)))
    except (av.FFmpegError, OSError):
        return None
    numbers = choose_frames(total, count) if decoded else []
    return [decoded[number] for number in numbers] if numbers else None


def _packets(path: str) -> Iterator[Any]:
    import av

    with av.open(path) as container:
        if container.streams.video:
            yield from (packet for packet in container.demux(video=0) if packet.size)


def _decode(path: str, numbers: set[int]) -> dict[int, tuple[npt.NDArray[np.uint8], float]]:
    """Return some frames by number, and the last one of the video."""
    import av

    frames, last = {}, None
    with av.open(path) as container:
        container.streams.video[0].thread_type = "SLICE"
        for number, frame in enumerate(container.decode(video=0)):
            last = number, frame
            if number in numbers:
                frames[number] = _upright(frame)
    if last:
        frames.setdefault(last[0], _upright(last[1]))
    return frames


def _upright(frame: Any) -> tuple[npt.NDArray[np.uint8], float]:
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return np.ascontiguousarray(pixels), float(frame.time or 0)


@lru_cache(maxsize=2)
def read_videos(path: str) -> Mapping[str, Mapping[str, str]]:
    """Return the entries of a file of videos by image id and URL. Raises UsageError if it cannot be read."""
    videos: dict[str, Mapping[str, str]] = {}
    try:
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
            entry = json.loads(line) if line.strip() else None
            if entry is None:
                continue
            keys = [entry[key] for key in KEYS if entry.get(key)]
            if not keys or not isinstance(entry.get("video"), str):
                raise UsageError(
                    f"annotate.makers.frames: {path}, line {number}: give image_id or image_url, and video"
                )
            videos |= dict.fromkeys(keys, entry)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        what = " ".join(str(error).split())
        raise UsageError(
            f"annotate.makers.frames: {path} cannot be read ({what}): write one JSON object per line"
        ) from error
    return videos
