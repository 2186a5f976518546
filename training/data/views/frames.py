"""How a visit shows a video: some of its frames, each cropped alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curation.hashing import u64
from training.data.random_crop import AREA, random_crop
from training.data.views.frame_choice import frame_indices


@dataclass(frozen=True)
class FramesTransform:
    """The transform of the encoded frames of a video; its result depends only on the frames, a seed and the side.

    Attributes:
        count: number of frames that are shown; one alone is the middle frame.
        jitter: whether the first and the last one are drawn, or are those of the video.
        area: smallest and largest share of a frame in a crop, which is the same for frames of equal size.
    """

    count: int
    jitter: bool = True
    area: tuple[float, float] = AREA

    def write(self, frames: Sequence[memoryview], seed: int, result: npt.NDArray[np.uint8]) -> None:
        """Write the frames to `result` (count, side, side, 3). Raises InputError if one cannot be decoded."""
        chosen = frame_indices(len(frames), self.count, u64(seed, "frames") if self.jitter else None)
        for number, pixels in zip(chosen, result, strict=True):
            random_crop(frames[number], seed, pixels, self.area)
