"""A CLIP, MetaClip2 or SigLIP model that embeds images and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.errors import UsageError
from jobs.tasks.models.pretrained import check_model, embeddings, load_model

Vectors = npt.NDArray[np.float64]


def check_clip(folder: str, key: str) -> None:
    """Raise UsageError, which starts with `key`, unless a folder has a model like CLIP; without loading it."""
    kind = check_model(folder, key)
    if not any(part in kind for part in ("clip", "siglip")):
        raise UsageError(f"{key}: {folder} has a model of type {kind!r}: give one like CLIP or SigLIP")


@dataclass(frozen=True)
class Clip:
    """A loaded model: `length` is the number of tokens of each text."""

    model: Any
    processor: Any
    length: int
    device: str

    def embed_texts(self, texts: Sequence[str], *, unit: bool = True) -> Vectors:
        """Return the embeddings of texts, one per row, of length 1 with `unit`."""
        import torch

        inputs = self.processor.tokenizer(
            list(texts),
            padding="max_length",  # texts of other rows in the batch change nothing
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        ).to(self.device)
        with torch.inference_mode():
            return _array(embeddings(self.model.get_text_features(**inputs), unit=unit))

    def embed_images(self, images: Sequence[npt.NDArray[np.uint8]], *, unit: bool = True) -> Vectors:
        """Return the embeddings of images [height, width, 3], one per row, of length 1 with `unit`."""
        import torch

        inputs = self.processor.image_processor(
            images=list(images),
            input_data_format="channels_last",  # sides of 1 and 3 pixels are ambiguous
            return_tensors="pt",
        ).to(self.device)
        with torch.inference_mode():
            features = self.model.get_image_features(pixel_values=inputs["pixel_values"])
            return _array(embeddings(features, unit=unit))


def _array(rows: Any) -> Vectors:
    return np.asarray(rows.cpu().numpy(), np.float64)


@lru_cache(maxsize=4)
def load_clip(folder: str, device: str) -> Clip:
    """Read a model, once per process. Raises what `load_model` and transformers raise."""
    from transformers import AutoProcessor

    model = load_model(folder, device)
    processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
    context = int(getattr(model.config, "text_config", model.config).max_position_embeddings)
    return Clip(model, processor, min(context, int(processor.tokenizer.model_max_length)), device)
