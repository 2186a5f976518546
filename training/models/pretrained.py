"""Read encoders from the folders of Hugging Face MetaClip2 and CLIP models, and put two together."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import (
    AutoConfig,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    MetaClip2Model,
    MetaClip2TextConfig,
    MetaClip2TextModelWithProjection,
    MetaClip2VisionConfig,
    MetaClip2VisionModelWithProjection,
)

from curation.errors import UsageError
from curation.io.failures import first_line
from training.data.tokenizer import Tokenizer
from training.models.metaclip2 import check_side, model_class, special_ids

# CLIP has the same layers and weight names as MetaClip2
MODELS = {
    "metaclip_2": MetaClip2Model,
    "metaclip_2_vision_model": MetaClip2VisionModelWithProjection,
    "metaclip_2_text_model": MetaClip2TextModelWithProjection,
    "clip": CLIPModel,
    "clip_vision_model": CLIPVisionModelWithProjection,
    "clip_text_model": CLIPTextModelWithProjection,
}

LEGACY_CLIP_EOS = 2  # in early configs of CLIP, which reads a text at the largest id: that of the end token

SCALARS = {"logit_scale", "logit_bias"}
VISION_POSITIONS = "vision_model.embeddings.position_embedding.weight"
TEXT_POSITIONS = "text_model.embeddings.position_embedding.weight"


class Source(NamedTuple):
    """A pretrained model: its configuration and its weights in float32, by name."""

    folder: str
    config: Any
    weights: dict[str, Tensor]


def read_source(folder: str) -> Source:
    """Read a pretrained model. Raises UsageError if the folder has none, or one of another architecture."""
    config = _read_config(folder)
    kind: Any = model_class(config) if config.model_type == "metaclip_2" else MODELS[config.model_type]
    try:
        model, report = kind.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"start: cannot read the model in {folder}: {first_line(error)}") from error
    missing = {name for name in report["missing_keys"] if not name.endswith("_projection.weight")}
    if missing:
        raise UsageError(f"start: {folder} lacks the weights {', '.join(sorted(missing)[:3])} …: save the model again")
    weights = {name: value for name, value in model.state_dict().items() if name not in report["missing_keys"]}
    return Source(folder, config, weights)


def read_positions(folder: str) -> int:
    """Return the context length of a pretrained text encoder in tokens."""
    config = _read_config(folder)
    return int(getattr(config, "text_config", config).max_position_embeddings)


def _read_config(folder: str) -> Any:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"start: cannot read the model in {folder}: {first_line(error)}") from error
    if config.model_type not in MODELS:
        raise UsageError(f"start: {folder} has a model of type {config.model_type!r}: choose a MetaClip2 or CLIP model")
    return config


def vision_part(source: Source, *, side: int | None) -> tuple[MetaClip2VisionConfig, dict[str, Tensor]]:
    """Return the image encoder of a source, with its positions resized if images have another side.

    Raises UsageError if the source has no image encoder, or the side is not a multiple of the patch side.
    """
    weights = _named(source, "vision")
    sizes = _sizes(source, "vision_config")
    config = MetaClip2VisionConfig(**sizes)
    if side and side != config.image_size:
        check_side(side, sizes["patch_size"])
        config.image_size = side
        weights[VISION_POSITIONS] = _resize_positions(weights[VISION_POSITIONS], side // sizes["patch_size"])
    return config, weights


def text_part(source: Source, tokenizer: Tokenizer) -> tuple[MetaClip2TextConfig, dict[str, Tensor]]:
    """Return the text encoder of a source for a tokenizer, whose context may be shorter than that of the source.

    Raises UsageError if the source has no text encoder, too few positions or token embeddings, or another end token.
    """
    weights = _named(source, "text")
    sizes = _sizes(source, "text_config")
    rows, positions, eos = sizes["vocab_size"], sizes["max_position_embeddings"], sizes["eos_token_id"]
    if eos == LEGACY_CLIP_EOS and source.config.model_type.startswith("clip"):
        eos = tokenizer.vocab_size - 1
    if tokenizer.vocab_size > rows:
        raise UsageError(
            f"tokenizer: its {tokenizer.vocab_size} ids do not fit the {rows} token embeddings of {source.folder}: use "
            f"the tokenizer of that model"
        )
    if tokenizer.eos_id != eos:
        raise UsageError(
            f"tokenizer: its end token has the id {tokenizer.eos_id}, but the model in {source.folder} reads texts at "
            f"id {eos}: use the tokenizer of that model"
        )
    length = tokenizer.context_length
    if length > positions:
        raise UsageError(
            f"context_length: {length} is more than the {positions} positions of {source.folder}: lower it"
        )
    weights[TEXT_POSITIONS] = weights[TEXT_POSITIONS][:length].clone()
    return MetaClip2TextConfig(**(sizes | special_ids(tokenizer) | {"max_position_embeddings": length})), weights


def load_parts(model: MetaClip2Model, weights: dict[str, Tensor]) -> None:
    """Replace the weights of a model by those of the same name; a projection from or to another size stays random."""
    own = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and value.shape == own[name].shape}
    odd = {name for name in weights.keys() - fitting.keys() if not name.endswith("_projection.weight")} - SCALARS
    assert not odd, f"weights of another shape: {odd}"
    model.load_state_dict(fitting, strict=False)


def _named(source: Source, tower: str) -> dict[str, Tensor]:
    """Return the weights of one encoder and of its projection."""
    prefixes = (f"{tower}_model.", "visual_projection." if tower == "vision" else "text_projection.")
    weights = {name: value for name, value in source.weights.items() if name.startswith(prefixes)}
    if not weights:
        raise UsageError(f"start: {source.folder} has no {tower} encoder: choose a folder that has one")
    return weights


def _sizes(source: Source, section: str) -> dict[str, Any]:
    """Return the settings of one encoder; the projection's size is that of the whole model, if it is whole."""
    config = getattr(source.config, section, source.config)
    known = MetaClip2TextConfig() if section == "text_config" else MetaClip2VisionConfig()
    sizes = {key: value for key, value in config.to_dict().items() if key in known.to_dict() and key != "model_type"}
    return sizes | {"projection_dim": source.config.projection_dim}


def _resize_positions(positions: Tensor, side: int) -> Tensor:
    """Return position embeddings (1 + n², width) for side² patches, interpolated bicubically; the class's stays."""
    old = round((len(positions) - 1) ** 0.5)
    grid = positions[1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    resized = interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], resized.permute(0, 2, 3, 1).reshape(side * side, -1)])
