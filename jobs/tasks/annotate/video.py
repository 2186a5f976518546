"""Frames of videos, with what is said in them and a description."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final, TypedDict

import pyarrow as pa

from curation.annotations.base import NoValue
from curation.errors import UsageError
from curation.images.codec.video_frames import FrameLimits, VideoError, has_video, read_frames

KEYS: Final = ("image_id", "image_url")


class Video(TypedDict):
    """What `frames` has of a video: encoded frames with their times in seconds, what is said, and a description."""

    frames: list[bytes]
    frame_times: list[float]
    subtitle: str | None
    caption: str | None


@dataclass(frozen=True)
class VideoFrames:
    """Makes `frames`: frames at equal distances, from the first to the last, of the video of an image.

    A video with fewer frames repeats some. A row without a video has no value, and one whose video cannot be read has
    a reason of `curation.images.codec.video_frames`.

    Attributes:
        model: a file with one JSON object per line: `image_id` or `image_url` of the row, `video` (a path on every
            machine), and perhaps `subtitle` and `caption`. Only the file is part of the fingerprint: give a video that
            has changed another name.
        count: frames per video.
        max_side: longest side in pixels; larger frames are resized.
        quality: of JPEG, 1 to 100.
        max_pixels: of a frame of the video; a larger one is not decoded.
    """

    model: str
    count: int = 12
    max_side: int = 256
    quality: int = 90
    max_pixels: int = 64_000_000

    version: ClassVar[str] = "2"
    reads: ClassVar[tuple[str, ...]] = ("image_id", "image_url")
    uses_seed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong, UsageError without PyAV or if the file cannot be read."""
        if min(self.count, self.max_side, self.max_pixels) < 1 or not 1 <= self.quality <= 100:
            raise ValueError("count, max_side and max_pixels must be at least 1, and quality from 1 to 100")
        if not has_video():
            raise UsageError("annotate.makers.frames: needs PyAV: run pip install 'worldcurate[video]'")
        read_videos(self.model)

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[Video | NoValue | None]:  # noqa: ARG002 - it draws nothing
        """Return the frames of each row."""
        videos = read_videos(self.model)
        entries = (
            next((videos[row[key]] for key in KEYS if row[key] in videos), None)
            for row in rows.select(self.reads).to_pylist()
        )
        return [None if entry is None else self._video(entry) for entry in entries]

    def _video(self, entry: Mapping[str, str]) -> Video | NoValue:
        limits = FrameLimits(self.count, self.max_side, self.quality, self.max_pixels)
        try:
            frames = read_frames(entry["video"], limits)
        except VideoError as error:
            return NoValue(error.reason)
        return Video(
            frames=[frame.image for frame in frames],
            frame_times=[frame.time for frame in frames],
            subtitle=entry.get("subtitle"),
            caption=entry.get("caption"),
        )


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
