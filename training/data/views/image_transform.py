"""How a visit shows an image: a random crop, which an augmentation may change."""

from __future__ import annotations

from dataclasses import dataclass

from curation.hashing import u64
from training.data.random_crop import AREA, random_crop
from training.data.transforms import Pixels
from training.data.views.augmentation import Augmentation, augment


@dataclass(frozen=True)
class ImageTransform:
    """The transform of encoded images; its result depends only on image, seed and side.

    Attributes:
        area: smallest and largest share of the image in a crop.
        augmentation: the change of a crop; None: it stays as it is.
    """

    area: tuple[float, float] = AREA
    augmentation: Augmentation | None = None

    def write(self, data: bytes | memoryview, seed: int, result: Pixels) -> None:
        """Write the view of an image to `result` (side, side, 3). Raises InputError if it cannot be decoded."""
        random_crop(data, seed, result, self.area)
        if self.augmentation is not None:
            result[:] = augment(result, self.augmentation, u64(seed, "augment"))


PUBLISHED = ImageTransform()  # that of Meta CLIP
