"""Models with random weights."""

from __future__ import annotations

from transformers import MetaClip2Model

from training.data.tokenizer import Tokenizer
from training.models.metaclip2 import Preset, random_model, text_config, vision_config


def build_model(preset: Preset, tokenizer: Tokenizer, *, side: int | None = None, seed: int = 0) -> MetaClip2Model:
    """Return a model of a preset for this tokenizer and images of `side` pixels (default: the preset's)."""
    return random_model(vision_config(preset, side=side), text_config(preset, tokenizer), seed=seed)
