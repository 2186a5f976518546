"""Read frames of videos with PyAV (extra `video`), in a child process with a budget of CPU time and memory.

A result is a list of frames or a `VideoError` with one of these reasons:

| reason | meaning |
|---|---|
| video_missing | there is no such file, or it cannot be read |
| not_a_video | not in one of the formats below, whatever its name says, or without a stream of pictures |
| no_frames | no frame can be decoded |
| video_too_large | more pixels per frame than `max_pixels`, more frames than `MAX_FRAMES`, or too much memory |
| video_broken | the data contradicts its format |
| video_timeout | decoding took more than `CPU_S` seconds of CPU time |
| video_decoder_killed | the decoder crashed or hung |
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from PIL import Image

from curation.images.codec.budget import BudgetedProcess, CpuTimeError, KilledError

REASONS: Final = frozenset(
    {
        "video_missing", "not_a_video", "no_frames", "video_too_large", "video_broken", "video_timeout",
        "video_decoder_killed",
    }
)  # fmt: skip

CPU_S: Final = 60.0  # of one video
MEMORY: Final = 2 << 30
WAIT_S: Final = 600.0
MAX_FRAMES: Final = 100_000
# no playlists, which name other files and addresses, and no text that draws itself
FORMATS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,m4v,ivf"
OPTIONS: Final = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


class VideoError(Exception):
    """A video without frames; `reason` tells why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Frame(NamedTuple):
    """A frame: the bytes of a JPEG, and its time in seconds."""

    image: bytes
    time: float


@dataclass(frozen=True)
class FrameLimits:
    """Which frames are read, and how they are stored.

    Attributes:
        count: frames at equal distances, from the first to the last; one alone is the middle one.
        max_side: longest side in pixels; larger frames are resized.
        quality: of JPEG, 1 to 100.
        max_pixels: of a frame of the video.
    """

    count: int
    max_side: int = 256
    quality: int = 90
    max_pixels: int = 64_000_000


def has_video() -> bool:
    """Return whether PyAV is installed."""
    return find_spec("av") is not None


def read_frames(path: str, limits: FrameLimits) -> list[Frame]:
    """Return the frames of a video, upright, in order; a video with fewer frames repeats some. Raises VideoError."""
    try:
        answer = _decoder.call(msgspec.msgpack.encode((path, limits)))
    except CpuTimeError as error:
        raise VideoError("video_timeout") from error
    except KilledError as error:
        raise VideoError("video_decoder_killed") from error
    result = msgspec.msgpack.decode(answer, type=list[Frame] | str)
    if isinstance(result, str):
        raise VideoError(result)
    return result


def answer_frames(request: bytes) -> bytes:
    """Return the answer of the child process: the frames, or the reason why there are none."""
    answer: list[Frame] | str
    try:
        answer = decode_frames(*msgspec.msgpack.decode(request, type=tuple[str, FrameLimits]))
    except VideoError as error:
        answer = error.reason
    except MemoryError:
        answer = "video_too_large"
    except Exception:
        answer = "video_broken"
    return msgspec.msgpack.encode(answer)


_decoder = BudgetedProcess(f"{__name__}:{answer_frames.__name__}", CPU_S, MEMORY, WAIT_S)


def decode_frames(path: str, limits: FrameLimits) -> list[Frame]:
    """Return the frames of a video, decoded in this process. Raises VideoError, and what decoders raise."""
    import av

    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise VideoError("video_missing") from error
    try:
        total = _count_packets(path, limits)
    except (av.error.InvalidDataError, ValueError, IndexError) as error:
        raise VideoError("not_a_video") from error
    except av.error.EOFError as error:  # a header alone
        raise VideoError("no_frames") from error
    frames = _decode(path, set(choose_frames(total, limits.count)), limits) if total else {}
    if frames and (found := max(frames) + 1) < total:  # some packets have no frame
        total = found
        frames = _decode(path, set(choose_frames(total, limits.count)), limits)
    if not frames:
        raise VideoError("no_frames")
    return [frames[number] for number in choose_frames(total, limits.count)]


def choose_frames(total: int, count: int) -> list[int]:
    """Return the numbers of frames at equal distances of a video with `total`; one alone is the middle one."""
    if count == 1:
        return [total // 2]
    return [number * (total - 1) // (count - 1) for number in range(count)]


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    import av

    with av.open(f"file:{path}", container_options=OPTIONS) as container:
        if not container.streams.video:
            raise VideoError("not_a_video")
        yield container


def _count_packets(path: str, limits: FrameLimits) -> int:
    """Return the number of packets with pictures. Raises VideoError if the header is beyond the limits."""
    total = 0
    with _opened(path) as container:
        context = container.streams.video[0].codec_context
        if context.width * context.height > limits.max_pixels:
            raise VideoError("video_too_large")
        for packet in container.demux(video=0):
            total += packet.size > 0
            if total > MAX_FRAMES:
                raise VideoError("video_too_large")
    return total


def _decode(path: str, numbers: set[int], limits: FrameLimits) -> dict[int, Frame]:
    """Return some frames by number, and the last one of the video."""
    frames, last = dict[int, Frame](), None
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "SLICE", 1
        for number, frame in enumerate(container.decode(video=0)):
            if frame.width * frame.height > limits.max_pixels:
                raise VideoError("video_too_large")
            last = number, frame
            if number in numbers:
                frames[number] = _encoded(frame, limits)
    if last and last[0] not in frames:
        frames[last[0]] = _encoded(last[1], limits)
    return frames


def _encoded(frame: Any, limits: FrameLimits) -> Frame:
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    image, buffer = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    image.thumbnail((limits.max_side, limits.max_side), Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=limits.quality)
    return Frame(buffer.getvalue(), float(frame.time or 0))
