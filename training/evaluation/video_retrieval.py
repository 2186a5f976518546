"""Text-video retrieval per language: a video is embedded as some of its frames.

{"video": path, "captions": {language: [caption, …]}}          one per line; paths are relative to the file's folder
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from curation.errors import InputError, UsageError
from curation.images.codec.video_frames import FrameLimits, VideoError, has_video, read_frames
from training.evaluation.embed import StoredImage, prepare
from training.evaluation.encoder import Encoder
from training.evaluation.files import read_text, text_list
from training.evaluation.metrics.dual_softmax import dual_softmax
from training.evaluation.retrieval import Captioned, CaptionSets, Result, retrieval

VIDEOS, RESCORED = "video_retrieval", "video_retrieval_dual_softmax"  # tasks; their figures are not comparable
EMBED_VIDEOS = 32  # videos that the model sees at once
SIDE, QUALITY = 512, 95  # of the frames, which the model's transform then resizes


class CaptionedVideo(NamedTuple):
    """A video and its captions by language."""

    path: Path
    captions: Mapping[str, Sequence[str]]


def captioned_videos(path: Path) -> Iterator[CaptionedVideo]:
    """Yield the videos of a file with their captions.

    Raises InputError if it cannot be read or is malformed, UsageError without PyAV.
    """
    if not has_video():
        raise UsageError("videos: reading them needs PyAV: run pip install 'worldcurate[video]'")
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            captions = {language: text_list(texts) for language, texts in row["captions"].items()}
            video = path.parent / row["video"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} line {number}: expected {{'video': path, 'captions': {{language: [caption, …]}}}}"
            ) from error
        yield CaptionedVideo(video, captions)


def frames_of(path: Path, count: int) -> list[StoredImage]:
    """Return frames at equal distances of a video. Raises InputError with its path and the reason if there are none."""
    try:
        frames = read_frames(str(path), FrameLimits(count, SIDE, QUALITY))
    except VideoError as error:
        raise InputError(f"{path}: the video cannot be read ({error.reason}): repair it or remove its line") from error
    return [StoredImage(f"{path} at {frame.time:g} s", frame.image) for frame in frames]


@torch.no_grad()
def embed_videos(
    encoder: Encoder, videos: Iterable[Sequence[StoredImage]], unreadable: list[int] | None = None
) -> Tensor:
    """Return the unit embeddings (n, d) of videos of equally many frames, on the CPU; it holds one batch at a time.

    With a list `unreadable`, videos with a frame that cannot be decoded are left out, and their indices are appended to
    it. Without it, the first such frame raises InputError.
    """
    parts: list[Tensor] = []
    batch: list[Tensor] = []
    for number, frames in enumerate(videos):
        inputs = [prepare(encoder, frame) for frame in frames]
        errors = [each for each in inputs if isinstance(each, InputError)]
        if errors and unreadable is None:
            raise errors[0]
        if errors and unreadable is not None:
            unreadable.append(number)
            continue
        batch.append(torch.stack([each for each in inputs if isinstance(each, Tensor)]))
        if len(batch) == EMBED_VIDEOS:
            parts.append(encoder.embed_frames(torch.stack(batch)).cpu())
            batch = []
    if batch:
        parts.append(encoder.embed_frames(torch.stack(batch)).cpu())
    return torch.cat(parts) if parts else torch.empty(0, 0)


def embed_captioned_videos(encoder: Encoder, videos: Iterable[CaptionedVideo], frames: int) -> Captioned:
    """Embed captioned videos, each path once, by some frames of each.

    Raises InputError if a video cannot be read or there is no caption.
    """
    captions: CaptionSets = defaultdict(dict)
    numbers: dict[Path, int] = {}
    for video in videos:
        number = numbers.setdefault(video.path, len(numbers))
        for language, texts in video.captions.items():
            captions[language].update({(number, text): None for text in texts})
    listed = {language: list(pairs) for language, pairs in captions.items() if pairs}
    if not listed:
        raise InputError("videos: there is no video with a caption")
    return Captioned(embed_videos(encoder, (frames_of(path, frames) for path in numbers)), listed)


def video_retrieval(
    encoder: Encoder, videos: Captioned, *, frames: int, equal_captions: bool, rescored: bool = False
) -> Iterator[Result]:
    """Yield for each language the figures of `retrieval`, with videos in the place of images.

    Further keys are `task`, `frames`, the number per video, and `pooling`, how the model reads them. With `rescored`,
    results of the task `video_retrieval_dual_softmax` follow.
    """
    tasks = {VIDEOS: None} | ({RESCORED: dual_softmax} if rescored else {})
    for task, rescore in tasks.items():
        for result in retrieval(encoder, videos, equal_captions=equal_captions, rescore=rescore):
            renamed = {key.replace("image", "video"): value for key, value in result.items()}
            yield {"task": task, **renamed, "frames": frames, "pooling": encoder.video_pooling}
