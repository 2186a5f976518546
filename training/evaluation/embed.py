"""Embed images and texts with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curation.errors import InputError
from training.data.tokenizer import Tokenizer
from training.data.transforms import center_box, decode, resize
from training.models.metaclip2 import TwoTowers, image_size

EMBED_BATCH = 256


@torch.no_grad()
def embed_images(towers: TwoTowers, images: Sequence[Path | bytes], unreadable: list[int] | None = None) -> Tensor:
    """Return the unit embeddings (n, d), on the CPU, of the center squares of images.

    With a list `unreadable`, images that cannot be read are left out, and their indices are appended to it. Without
    it, the first such image raises InputError with its path.
    """
    size = image_size(towers.model)
    parts = []
    for start in range(0, len(images), EMBED_BATCH):
        pixels = []
        for number, image in enumerate(images[start : start + EMBED_BATCH], start):
            try:
                pixels.append(_pixels(image, size))
            except InputError:
                if unreadable is None:
                    raise
                unreadable.append(number)
        if pixels:
            parts.append(towers.embed_images(torch.from_numpy(np.stack(pixels))).cpu())
    return torch.cat(parts) if parts else torch.empty(0, 0)


def _pixels(image: Path | bytes, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        decoded = decode(image if isinstance(image, bytes) else image.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {image!s}: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{image if isinstance(image, Path) else 'a held-out image'}: {error}") from error
    return resize(decoded, center_box(*decoded.size), size)


@torch.no_grad()
def embed_texts(towers: TwoTowers, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return the unit embeddings (n, d) of texts, on the CPU."""
    starts = range(0, len(texts), EMBED_BATCH)
    return torch.cat([towers.embed_texts(tokenizer(texts[start : start + EMBED_BATCH])).cpu() for start in starts])
