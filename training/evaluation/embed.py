"""Embed images and texts with an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from curation.errors import InputError
from training.data.transforms import decode
from training.evaluation.encoder import Encoder

EMBED_BATCH = 256
DECODE_THREADS = 8  # Pillow releases the GIL


class StoredImage(NamedTuple):
    """The bytes of an image that is not a file of its own, and its name in messages."""

    name: str
    data: bytes


ImageSource = Path | StoredImage


@torch.no_grad()
def embed_images(encoder: Encoder, images: Iterable[ImageSource], unreadable: list[int] | None = None) -> Tensor:
    """Return the unit embeddings (n, d) of images, on the CPU; it holds one batch of images at a time.

    With a list `unreadable`, images that cannot be read are left out, and their indices are appended to it. Without
    it, the first such image raises InputError with its name.
    """
    parts = []
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        numbered = enumerate(images)
        while batch := list(islice(numbered, EMBED_BATCH)):
            inputs = []
            for (number, _), prepared in zip(
                batch, pool.map(lambda pair: prepare(encoder, pair[1]), batch), strict=True
            ):
                if not isinstance(prepared, InputError):
                    inputs.append(prepared)
                elif unreadable is None:
                    raise prepared
                else:
                    unreadable.append(number)
            if inputs:
                parts.append(encoder.encode_images(torch.stack(inputs)).cpu())
    return torch.cat(parts) if parts else torch.empty(0, 0)


def prepare(encoder: Encoder, image: ImageSource) -> Tensor | InputError:
    """Return the input of the model for an image, or why there is none."""
    try:
        data = image.read_bytes() if isinstance(image, Path) else image.data
        return encoder.prepare(decode(data))
    except OSError as error:
        return InputError(f"cannot read {image!s}: {error.strerror}")
    except InputError as error:
        return InputError(f"{image if isinstance(image, Path) else image.name}: {error}")


@torch.no_grad()
def embed_texts(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """Return the unit embeddings (n, d) of texts, on the CPU."""
    starts = range(0, len(texts), EMBED_BATCH)
    return torch.cat([encoder.encode_texts(texts[start : start + EMBED_BATCH]).cpu() for start in starts])
