"""The model: Hugging Face's MetaClip2 with random weights, in sizes from tiny, for a CPU, to the published ViT-H/14."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import MetaClip2Config, MetaClip2Model, MetaClip2TextConfig, MetaClip2VisionConfig

from curation.errors import UsageError
from training.data.tokenizer import Tokenizer
from training.data.transforms import normalize_pixels
from training.models.embeddings import Embeddings


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


# B to L follow CLIP (arXiv 2103.00020, table 20); H/14 follows the published worldwide model (arXiv 2507.22062).
PRESETS = {
    "tiny": Preset(64, 8, 32, 128, Tower(96, 3, 3), Tower(128, 3, 4)),
    "vit_b_32": Preset(224, 32, 77, 512, Tower(768, 12, 12), Tower(512, 12, 8)),
    "vit_b_16": Preset(224, 16, 77, 512, Tower(768, 12, 12), Tower(512, 12, 8)),
    "vit_l_14": Preset(224, 14, 77, 768, Tower(1024, 24, 16), Tower(768, 12, 12)),
    "vit_h_14": Preset(224, 14, 77, 1024, Tower(1280, 32, 16), Tower(1024, 24, 16)),
}


def build_model(preset: Preset, tokenizer: Tokenizer, *, side: int | None = None, seed: int = 0) -> MetaClip2Model:
    """Return a model with random weights for this tokenizer and images of `side` pixels (default: the preset's).

    Raises UsageError if the image side is not a multiple of the patch side.
    """
    side = side or preset.image_size
    if side % preset.patch_size:
        raise UsageError(f"image_size: {side} is not a multiple of the preset's patch side, {preset.patch_size} pixels")
    text = MetaClip2TextConfig(
        **_tower(preset.text, preset.embedding),
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=preset.context_length,
        pad_token_id=tokenizer.pad_id,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,  # the model reads the text's embedding at this token
    )
    vision = MetaClip2VisionConfig(
        **_tower(preset.vision, preset.embedding), image_size=side, patch_size=preset.patch_size
    )
    torch.manual_seed(seed)
    return MetaClip2Model(MetaClip2Config(text_config=text, vision_config=vision, projection_dim=preset.embedding))


def _tower(tower: Tower, embedding: int) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": 4 * tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "projection_dim": embedding,
        "hidden_act": "quick_gelu",
    }


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


MAX_TEXT_GROUPS, MIN_TEXT_GROUP = 4, 16  # groups per batch of texts; texts per group


class TwoTowers(nn.Module):
    """Both encoders in one forward pass, as DDP requires.

    Args:
        model: the wrapped MetaClip2Model.
    """

    def __init__(self, model: MetaClip2Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tokens: Tensor) -> Embeddings:
        """Return the embeddings of pairs, the logit scale, and the bias if the model has one.

        Args:
            images: uint8 of shape (n, height, width, 3), on any device.
            tokens: ids of shape (n, length), preferably on the CPU, because their lengths control the grouping.
        """
        bias = getattr(self.model, "logit_bias", None)
        return Embeddings(self.embed_images(images), self.embed_texts(tokens), self.model.logit_scale.exp(), bias)

    def embed_images(self, images: Tensor) -> Tensor:
        """Return the unit embeddings of images."""
        pixels = normalize_pixels(images.to(self.model.device, non_blocking=True))
        return normalize(self.model.get_image_features(pixel_values=pixels).pooler_output.float(), dim=-1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Return the unit embeddings of texts.

        Attention is causal and the embedding is read at the end token, so later tokens have no effect. Texts of similar
        length are encoded together, truncated to the longest of them; most alt texts are far shorter than the context.
        """
        lengths = tokens.eq(self.model.text_model.eos_token_id).int().argmax(1) + 1
        by_length = lengths.argsort(stable=True)
        parts = [
            self.model.get_text_features(
                input_ids=tokens[rows, : lengths[rows[-1]]].to(self.model.device)
            ).pooler_output
            for rows in by_length.chunk(max(1, min(MAX_TEXT_GROUPS, len(tokens) // MIN_TEXT_GROUP)))
        ]
        return normalize(torch.cat(parts).float(), dim=-1)[by_length.argsort().to(self.model.device)]
