"""The encoder of an evaluation: a model that training saved, or any CLIP-like model in a Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoModel, AutoProcessor

from curation.errors import InputError, UsageError
from curation.io.failures import first_line
from training.data.tokenizer import Tokenizer
from training.data.transforms import center_box, processor_config, resize
from training.models.metaclip2 import image_size
from training.models.towers import TwoTowers

PROCESSOR_FILE = "preprocessor_config.json"


@dataclass(frozen=True)
class Encoder:
    """Functions from images and texts to unit embeddings of equal length.

    Attributes:
        prepare: an RGB image to the input of the model, without its batch dimension; several threads call it at once.
        encode_images: a batch of such inputs to embeddings (n, d).
        encode_texts: texts to embeddings (n, d).
        encode_videos: a batch of videos (n, frames, …) of such inputs to embeddings (n, d); None: a video is the mean
            of its frames.
        video_pooling: how frames become one embedding: `mean`, or by `proxies`.
    """

    prepare: Callable[[Image.Image], Tensor]
    encode_images: Callable[[Tensor], Tensor]
    encode_texts: Callable[[Sequence[str]], Tensor]
    encode_videos: Callable[[Tensor], Tensor] | None = None
    video_pooling: Literal["mean", "proxies"] = "mean"

    def embed_frames(self, videos: Tensor) -> Tensor:
        """Return the unit embeddings (n, d) of videos, inputs (n, frames, …) of the model."""
        if self.encode_videos is not None:
            return self.encode_videos(videos)
        of_frames = self.encode_images(videos.flatten(0, 1))
        return normalize(of_frames.view(*videos.shape[:2], -1).mean(1), dim=-1)


def trained_encoder(towers: TwoTowers, tokenizer: Tokenizer, precision: str = "fp32") -> Encoder:
    """Return the encoder of a model that training made; it sees the center square of an image.

    Args:
        towers: the model.
        tokenizer: its tokenizer.
        precision: `bf16` computes the encoders under autocast, as a training step does.
    """
    size = image_size(towers.model)

    def embed(encode: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        with torch.autocast(towers.model.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return encode(batch)

    return Encoder(
        prepare=lambda image: torch.from_numpy(resize(image, center_box(*image.size), size).copy()),
        encode_images=lambda images: embed(towers.embed_images, images),
        encode_texts=lambda texts: embed(towers.embed_texts, tokenizer(texts)),
        encode_videos=lambda videos: embed(towers.embed_videos, videos),
        video_pooling="mean" if towers.heads.frames is None else "proxies",
    )


def is_trained_here(folder: Path) -> bool:
    """Return whether a folder holds a MetaClip2 model with the image transform of training."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        processor = json.loads((folder / PROCESSOR_FILE).read_bytes()) if (folder / PROCESSOR_FILE).exists() else None
    except (OSError, ValueError):
        return False  # reading the model reports it
    if config.get("model_type") != "metaclip_2":
        return False
    side = config.get("vision_config", {}).get("image_size", 224)
    return processor is None or processor == processor_config(side)


def read_hugging_face(folder: Path, device: torch.device) -> Encoder:
    """Return the encoder of a CLIP-like model, with the image transform and the tokenizer of its folder.

    Raises InputError if a file of the folder cannot be read, UsageError if the model does not embed images and texts.
    """
    try:
        kind = str(AutoConfig.from_pretrained(folder, local_files_only=True).model_type)
        model: Any = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
            raise UsageError(f"checkpoint: {folder} has a model of type {kind!r}: choose one like CLIP or SigLIP")
        processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise InputError(f"checkpoint: cannot read the model in {folder}: {first_line(error)}") from error
    model.to(device).eval()
    limit = int(getattr(model.config, "text_config", model.config).max_position_embeddings)
    length = min(limit, int(processor.tokenizer.model_max_length))
    padding = "max_length" if "siglip" in kind else True  # SigLIP is trained with padding, without a mask

    def encode_texts(texts: Sequence[str]) -> Tensor:
        tokens = processor(text=list(texts), padding=padding, truncation=True, max_length=length, return_tensors="pt")
        return _unit(model.get_text_features(**tokens.to(device)))

    return Encoder(
        prepare=lambda image: processor(images=image, return_tensors="pt")["pixel_values"][0],
        encode_images=lambda pixels: _unit(model.get_image_features(pixel_values=pixels.to(device))),
        encode_texts=encode_texts,
    )


def _unit(features: Any) -> Tensor:
    """Return unit embeddings; from transformers 5 on, most models return them in an object."""
    return normalize(getattr(features, "pooler_output", features).float(), dim=-1)
