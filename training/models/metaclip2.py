"""The model: Hugging Face's MetaClip2 with random weights, in sizes from tiny, for a CPU, to the published ViT-H/14."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import MetaClip2Config, MetaClip2Model, MetaClip2TextConfig, MetaClip2VisionConfig
from transformers.utils import logging as transformers_logging

from curation.errors import UsageError
from training.data.tokenizer import Tokenizer

# progress bars for a single file would interrupt the log lines
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


class Tower(NamedTuple):
    """The size of one encoder: width of the residual stream, layers, attention heads; the MLP is four times as wide."""

    width: int
    layers: int
    heads: int


class Preset(NamedTuple):
    """A model size: image and patch side in pixels, context length in tokens, embedding dimension, both encoders."""

    image_size: int
    patch_size: int
    context_length: int
    embedding: int
    vision: Tower
    text: Tower
    activation: str = "gelu"


# The published worldwide models (arXiv 2507.22062); of these, only H/14 has QuickGELU. `tiny` is for tests on a CPU.
PRESETS = {
    "tiny": Preset(64, 8, 32, 128, Tower(96, 3, 3), Tower(128, 3, 4), "quick_gelu"),
    "vit_s_16": Preset(224, 16, 77, 384, Tower(384, 12, 6), Tower(384, 12, 6)),
    "vit_b_32": Preset(224, 32, 77, 512, Tower(768, 12, 12), Tower(512, 12, 8)),
    "vit_b_16": Preset(224, 16, 77, 512, Tower(768, 12, 12), Tower(512, 12, 8)),
    "vit_l_14": Preset(224, 14, 77, 768, Tower(1024, 24, 16), Tower(768, 12, 12)),
    "vit_h_14": Preset(224, 14, 77, 1024, Tower(1280, 32, 16), Tower(1024, 24, 16), "quick_gelu"),
}


def random_model(
    vision: MetaClip2VisionConfig, text: MetaClip2TextConfig, *, seed: int, bias: float | None = None
) -> MetaClip2Model:
    """Return a model of two encoders with random weights.

    Args:
        vision: the image encoder; the size of its projection is that of the embeddings.
        text: the text encoder.
        seed: determines the weights.
        bias: initial bias for the sigmoid loss; None: the model has none.
    """
    config = MetaClip2Config(text_config=text, vision_config=vision, projection_dim=vision.projection_dim)
    if bias is not None:
        config.logit_bias = bias
    torch.manual_seed(seed)
    return model_class(config)(config)


def vision_config(preset: Preset, *, side: int | None = None) -> MetaClip2VisionConfig:
    """Return the size of a preset's image encoder. Raises UsageError if the side is not a multiple of the patch's."""
    side = side or preset.image_size
    check_side(side, preset.patch_size)
    return MetaClip2VisionConfig(**_tower(preset, preset.vision), image_size=side, patch_size=preset.patch_size)


def check_side(side: int, patch_size: int) -> None:
    """Raise UsageError if an image side is not a multiple of the patch side."""
    if side % patch_size:
        raise UsageError(f"image_size: {side} is not a multiple of the model's patch side, {patch_size} pixels")


def text_config(preset: Preset, tokenizer: Tokenizer) -> MetaClip2TextConfig:
    """Return the size of a preset's text encoder for a tokenizer and its context length."""
    return MetaClip2TextConfig(
        **_tower(preset, preset.text),
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=tokenizer.context_length,
        **special_ids(tokenizer),
    )


def special_ids(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the ids of a tokenizer's special tokens; the model reads the embedding of a text at the end token."""
    return {
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
    }


def _tower(preset: Preset, tower: Tower) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": 4 * tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "projection_dim": preset.embedding,
        "hidden_act": preset.activation,
    }


class BiasedMetaClip2(MetaClip2Model):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """MetaClip2 with the bias of the sigmoid loss, whose initial value is `logit_bias` in its configuration.

    The bias is one more weight of a saved model; MetaClip2Model ignores it when it loads the folder.
    """

    def __init__(self, config: MetaClip2Config) -> None:
        super().__init__(config)
        self.logit_bias = nn.Parameter(torch.tensor(float(config.logit_bias)))


def model_class(config: MetaClip2Config) -> type[MetaClip2Model]:
    """Return the class of a model with this configuration."""
    return BiasedMetaClip2 if hasattr(config, "logit_bias") else MetaClip2Model


def read_model(folder: Path) -> MetaClip2Model:
    """Load a saved model, with its bias if it has one. Raises OSError, ValueError or SafetensorError."""
    config = MetaClip2Config.from_pretrained(folder, local_files_only=True)
    model: MetaClip2Model = model_class(config).from_pretrained(folder, local_files_only=True)
    return model


def image_size(model: MetaClip2Model) -> int:
    """Return the side of a model's square input in pixels."""
    return int(model.config.vision_config.image_size)  # type: ignore[union-attr, arg-type]  # typed loosely in transformers


def context_length(model: MetaClip2Model) -> int:
    """Return the context length of a model's text encoder in tokens."""
    return int(model.config.text_config.max_position_embeddings)  # type: ignore[union-attr]  # as above


def enable_activation_checkpointing(model: MetaClip2Model) -> None:
    """Make a model recompute activations in the backward pass instead of storing them."""
    # transformers 5.0 has only the second name; later releases deprecate it
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    enable = next(getattr(model, name) for name in names if hasattr(model, name))
    enable({"use_reentrant": False})
