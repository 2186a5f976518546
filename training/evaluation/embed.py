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
def embed_images(towers: TwoTowers, images: Sequence[Path | bytes]) -> Tensor:
    """Return the unit embeddings (n, d), on the CPU, of the center squares of images.

    Raises InputError with the path of an image that cannot be read.
    """
    size = image_size(towers.model)
    parts = []
    for start in range(0, len(images), EMBED_BATCH):
        pixels = np.stack([_pixels(image, size) for image in images[start : start + EMBED_BATCH]])
        parts.append(towers.embed_images(torch.from_numpy(pixels)).cpu())
    return torch.cat(parts)


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
