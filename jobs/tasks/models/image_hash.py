"""Hashes of images by a model: the signs of a random projection of their embeddings, as in the reference.

Images that a model finds alike have hashes that differ in few bits: two embeddings at an angle a differ in each bit
with probability a / pi (Charikar, "Similarity Estimation Techniques from Rounding Algorithms", 2002).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curation.images.codec.pixels import Pixels
from curation.images.decode import ImageLimits, verify
from curation.images.failures import DecodeError
from jobs.tasks.models.pretrained import DECIMALS, embeddings, load_model

BITS: Final = 64
SEED: Final = 0  # of the projection
BATCH_IMAGES: Final = 64
BATCH_BYTES: Final = 64 << 20  # of pixels


@dataclass(frozen=True)
class EmbeddingHasher:
    """Hashes images by the model in `folder`, as `save_pretrained` of transformers writes it.

    The model sees an image as `images` would store it as JPEG under `limits`, so a stored original and its JPEG have
    the same hash.
    """

    folder: str
    limits: ImageLimits

    def hashes(self, images: Sequence[bytes]) -> list[int | None]:
        """Return the hashes of encoded images, None for those that cannot be decoded.

        Raises what reading the model raises.
        """
        hashes: list[int | None] = [None] * len(images)
        for batch in self._batches(images):
            embeddings = _load(self.folder).embeddings([pixels.array() for pixels in batch.values()])
            for position, value in zip(batch, sign_bits(embeddings).tolist(), strict=True):
                hashes[position] = value
        return hashes

    def _batches(self, images: Sequence[bytes]) -> Iterator[dict[int, Pixels]]:
        """Yield the pixels of the images that can be decoded, by position, in batches of bounded size."""
        batch: dict[int, Pixels] = {}
        size = 0
        for position, data in enumerate(images):
            if pixels := self._pixels(data):
                batch[position] = pixels
                size += len(pixels.rgb)
            if len(batch) == BATCH_IMAGES or size >= BATCH_BYTES:
                yield batch
                batch, size = {}, 0
        if batch:
            yield batch

    def _pixels(self, data: bytes) -> Pixels | None:
        """Return the pixels of the JPEG that would be stored, with its border; None if an image cannot be decoded."""
        limits = replace(self.limits, encode="jpeg", with_pixels=False)
        try:
            stored = verify(data, limits)
            return verify(stored.image, replace(limits, with_pixels=True)).pixels
        except (DecodeError, MemoryError):
            return None


def sign_bits(embeddings: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Return the signs of a random projection of embeddings, one per row, as 64-bit hashes."""
    projection = np.random.Generator(np.random.PCG64(SEED)).standard_normal((embeddings.shape[1], BITS))
    signs = np.packbits(np.round(embeddings, DECIMALS) @ projection > 0, axis=1)
    return signs.view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True)
class _Model:
    model: Any
    processor: Any

    def embeddings(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
        """Return the unit embeddings of images, one per row."""
        import torch

        inputs = self.processor(images=list(images), input_data_format="channels_last", return_tensors="pt")
        embed = getattr(self.model, "get_image_features", self.model)
        with torch.inference_mode():
            return np.asarray(embeddings(embed(pixel_values=inputs["pixel_values"]), unit=True).numpy(), np.float64)


@lru_cache(maxsize=1)
def _load(folder: str) -> _Model:
    """Read a model, once per process. Raises what `load_model` and transformers raise."""
    from transformers import AutoImageProcessor

    processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
    return _Model(load_model(folder), processor)
