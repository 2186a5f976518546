"""What a run starts from, and the model and the tokenizer of a new one."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from transformers import MetaClip2Model

from curation.balance.sampling import DrawKey
from training.config import TrainConfig
from training.data.shard_index import TrainValSplit
from training.data.tokenizer import Tokenizer
from training.data.tokenizer_texts import tokenizer_texts
from training.engine.checkpoint import ResumePoint
from training.engine.method_parts import SIGMOID_SCALE, shared_sigmoid
from training.methods.phase import set_scale
from training.models.metaclip2 import PRESETS, random_model, text_config, vision_config
from training.models.pretrained import SCALARS, load_parts, read_positions, read_source, text_part, vision_part


class RunStart(NamedTuple):
    """The start of a run.

    Attributes:
        model: the model, on the CPU.
        tokenizer: its tokenizer.
        resume: the checkpoint to resume from; None for a new run.
        token_factors: factor of every token embedding (rows,), for `phase.row_factors`.
    """

    model: MetaClip2Model
    tokenizer: Tokenizer
    resume: ResumePoint | None
    token_factors: Tensor | None = None


def make_tokenizer(config: TrainConfig, split: TrainValSplit) -> Tokenizer:
    """Return the tokenizer of a new run: the configured one, that of the start, or one trained on the shards.

    It has a token for masked ones if a view masks some.
    """
    tokenizer = _plain_tokenizer(config, split)
    return tokenizer.with_mask() if any(getattr(view, "mask", 0) for view in config.all_views.values()) else tokenizer


def _plain_tokenizer(config: TrainConfig, split: TrainValSplit) -> Tokenizer:
    folder = config.start.text_source if config.tokenizer == "train" else config.tokenizer
    if config.start.text_source:
        length = config.context_length or read_positions(config.start.text_source)
    else:
        length = config.context_length or PRESETS[config.preset].context_length
    if folder is not None:
        return Tokenizer.read(folder, length)
    key = DrawKey(config.seed, 0) if config.draw == "online" else None
    texts = tokenizer_texts(split.train, config.open_storage(), key, alpha=config.tokenizer_alpha)
    return Tokenizer.train(texts, vocab_size=config.vocab_size, context_length=length)


def make_model(config: TrainConfig, tokenizer: Tokenizer) -> MetaClip2Model:
    """Return the model of a new run: random weights, with those of the start in their place.

    Raises UsageError if a start cannot be read, or does not fit the tokenizer or the other settings.
    """
    start, preset, sigmoid = config.start, PRESETS[config.preset], shared_sigmoid(config.all_terms)
    weights: dict[str, Tensor] = {}
    vision, text = vision_config(preset, side=config.image_size), text_config(preset, tokenizer)
    if start.text_source:
        source = read_source(start.text_source)
        text, weights_of_text = text_part(source, tokenizer)
        weights |= weights_of_text
        vision.projection_dim = int(text.projection_dim or preset.embedding)
    if start.vision_source:
        source = read_source(start.vision_source)
        vision, weights_of_vision = vision_part(source, side=config.image_size)
        weights |= weights_of_vision
    if start.checkpoint:
        weights |= {name: value for name, value in source.weights.items() if name in SCALARS}
    model = random_model(vision, text, seed=config.seed, bias=sigmoid.bias if sigmoid else None)
    load_parts(model, weights)
    first = config.phases[0] if config.phases else config.phase
    initial = first.scale.initial or (SIGMOID_SCALE if sigmoid and not start.checkpoint else None)
    if initial is not None:
        set_scale(model, initial)
    return model
