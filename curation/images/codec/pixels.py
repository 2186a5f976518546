"""The pixels of a decoded image, in a form that crosses processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image


@dataclass(frozen=True)
class Pixels:
    """The pixels of an image: rows of red, green and blue, one byte each."""

    width: int
    height: int
    rgb: bytes

    @classmethod
    def of(cls, image: Image.Image) -> Self:
        """Return the pixels of an image in mode RGB."""
        return cls(*image.size, image.tobytes())

    def array(self) -> npt.NDArray[np.uint8]:
        """Return them as [height, width, 3], read-only."""
        return np.frombuffer(self.rgb, np.uint8).reshape(self.height, self.width, 3)
