"""The model: Hugging Face's MetaClip2 with random weights, in sizes from one for a CPU to the published one."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import MetaClip2Config, MetaClip2Model, MetaClip2TextConfig, MetaClip2VisionConfig

from curation.errors import UsageError
from training.data.tokenizer import Tokenizer
from training.data.transforms import normalize_pixels


class Tower(NamedTuple):
    """One encoder: width of the residual stream, layers, attention heads; the MLP is four times as wide."""

    width: int
    layers: int
    heads: int


class Preset(NamedTuple):
    """A model size: input side and patch side in pixels, context in tokens, embedding dimension, both encoders."""

    image_size: int
    patch_size: int
    context_length: int
    embedding: int
    vision: Tower
    text: Tower


# B to L as in CLIP (arXiv 2103.00020, table 20); H/14 as the published worldwide model (arXiv 2507.22062).
PRESETS = {
    "tiny": Preset(64, 8, 32, 128, Tower(96, 3, 3), Tower(128, 3, 4)),
    "vit_b_32": Preset(224, 32, 77, 512, Tower(768, 12, 12), Tower(512, 12, 8)),
    "vit_b_16": Preset(224, 16, 77, 512, Tower(768, 12, 12), Tower(512, 12, 8)),
    "vit_l_14": Preset(224, 14, 77, 768, Tower(1024, 24, 16), Tower(768, 12, 12)),
    "vit_h_14": Preset(224, 14, 77, 1024, Tower(1280, 32, 16), Tower(1024, 24, 16)),
}


def build_model(preset: Preset, tokenizer: Tokenizer, *, side: int | None = None, seed: int = 0) -> MetaClip2Model:
    """Return a model with random weights for this tokenizer's ids and images of `side` pixels (default: the preset's).

    Raises UsageError when the image is not a whole number of patches.
    """
    side = side or preset.image_size
    if side % preset.patch_size:
        raise UsageError(f"image_size: {side} is not a multiple of the preset's patch, {preset.patch_size} pixels")
    text = MetaClip2TextConfig(
        **_tower(preset.text, preset.embedding),
        vocab_size=tokenizer.vocab_size,
        max_position_embeddings=preset.context_length,
        pad_token_id=tokenizer.pad_id,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,  # the token whose state is the text's embedding
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
    return int(model.config.vision_config.image_size)  # type: ignore[union-attr, arg-type]  # typed loosely there


def context_length(model: MetaClip2Model) -> int:
    """Return how many tokens a model's text encoder reads."""
    return int(model.config.text_config.max_position_embeddings)  # type: ignore[union-attr]  # as above


MAX_TEXT_GROUPS, MIN_TEXT_GROUP = 4, 16  # groups a batch of texts is cut into, and texts in each


class TwoTowers(nn.Module):
    """Both encoders in one forward pass, which is what DDP hooks into.

    Args:
        model: the wrapped MetaClip2Model.
    """

    def __init__(self, model: MetaClip2Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return unit image embeddings, unit text embeddings, both (n, embedding) float32, and the logit scale.

        Args:
            images: uint8 of shape (n, height, width, 3), on any device.
            tokens: ids of shape (n, length), best on the CPU: their lengths steer the work.
        """
        return self.embed_images(images), self.embed_texts(tokens), self.model.logit_scale.exp()

    def embed_images(self, images: Tensor) -> Tensor:
        """Return the unit embeddings of images."""
        pixels = normalize_pixels(images.to(self.model.device, non_blocking=True))
        return normalize(self.model.get_image_features(pixel_values=pixels).pooler_output.float(), dim=-1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Return the unit embeddings of texts.

        Attention is causal and a text is read at its end token, so what follows that changes nothing. Texts of like
        length go through the encoder together, cut to the longest of them; most alt texts are far shorter than the
        context.
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
