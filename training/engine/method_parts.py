"""A model with what the terms of a method need: outputs of its encoders, heads, and a second model for targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import MetaClip2Model

from curation.errors import UsageError
from curation.hashing import u64
from training.config import TrainConfig
from training.engine.checkpoint import read_frame_tokens
from training.engine.targets import TargetModel
from training.losses.neighbors import TextBank
from training.methods.base import Video
from training.methods.terms import (
    TARGET,
    AnyTerm,
    InfoNCETerm,
    MaskedWordsTerm,
    NeighborTerm,
    OmniSourceTerm,
    PullTerm,
    SiameseTerm,
    SigmoidTerm,
)
from training.methods.views import FramesView, ImageView, TextView, View
from training.models.frames import FrameTokens
from training.models.heads import Heads
from training.models.metaclip2 import enable_activation_checkpointing
from training.models.siamese_heads import SiameseHeads
from training.models.towers import Encoder, Outputs, TwoTowers

CLIP_SCALE, SIGMOID_SCALE = 1 / 0.07, 10.0  # CLIP, arXiv 2103.00020; SigLIP, arXiv 2303.15343, section 3.2

IMAGE_ENCODER = ("vision_model.*", "visual_projection.*")
TEXT_ENCODER = ("text_model.*", "text_projection.*")


def make_towers(
    config: TrainConfig, model: MetaClip2Model, device: torch.device
) -> tuple[TwoTowers, TargetModel | None]:
    """Return a model with the heads of a run, on the CPU, and the model of its targets, if there are any."""
    if config.compile:
        # in place, so the names of the weights stay; the text encoder sees other shapes in every batch
        (model.vision_model.encoder if config.has_video else model.vision_model).compile()  # frames enter the former
        model.text_model.compile(dynamic=True)
    if config.grad_checkpointing:
        enable_activation_checkpointing(model)
    views, terms = config.all_views, named_terms(config.all_terms)
    heads = make_heads(terms, model, config.seed, video=config.video if config.has_video else None)
    if heads.frames is not None and config.start.checkpoint is not None:
        _start_frames(heads.frames, Path(config.start.checkpoint))
    towers = TwoTowers(model, outputs_for(views, terms), heads)
    if config.targets is None:
        return towers, None
    return towers, TargetModel(model, outputs_for(views, terms, targets=True), config.targets.momentum, device)


def named_terms(terms: Sequence[AnyTerm]) -> dict[str, AnyTerm]:
    """Return terms by their kinds, with a number if a kind occurs several times."""
    kinds = [term.kind for term in terms]
    return {
        kind if kinds.count(kind) == 1 else f"{kind}_{1 + kinds[:number].count(kind)}": terms[number]
        for number, kind in enumerate(kinds)
    }


def shared_sigmoid(terms: Iterable[AnyTerm]) -> SigmoidTerm | None:
    """Return the first sigmoid term that uses scale and bias of the model; None if there is none."""
    return next((term for term in terms if isinstance(term, SigmoidTerm) and term.scale == "shared"), None)


def outputs_for(views: Mapping[str, View], terms: Mapping[str, AnyTerm], *, targets: bool = False) -> Outputs:
    """Return what terms read of the trained model, or of the model of targets."""
    read = {name for term in terms.values() for name in term.reads() if name.startswith(TARGET) == targets}
    read = {name.removeprefix(TARGET) for name in read}
    encoders: dict[str, Encoder] = {}
    for name, view in views.items():
        if name in read and isinstance(view, ImageView | FramesView | TextView):
            encoders[name] = view.kind
    pulled = {name for term in terms.values() if isinstance(term, PullTerm) for name in term.between}
    raw = {name.removeprefix(TARGET) for name in pulled if name.startswith(TARGET) == targets}
    if targets:
        return Outputs(encoders, raw)
    siamese = {view: name for name, term in terms.items() if isinstance(term, SiameseTerm) for view in term.between}
    words = {term.view: name for name, term in terms.items() if isinstance(term, MaskedWordsTerm)}
    return Outputs(encoders, raw, siamese, words)


def make_heads(terms: Mapping[str, AnyTerm], model: MetaClip2Model, seed: int, *, video: Video | None = None) -> Heads:
    """Return the heads of terms for a model, with random weights that depend only on the seed; `video` adds frames."""
    heads = Heads()
    torch.manual_seed(u64(seed, "heads"))
    width, words = int(model.config.projection_dim or 0), model.text_model.config.vocab_size
    for name, term in terms.items():
        if isinstance(term, InfoNCETerm | SigmoidTerm | NeighborTerm | OmniSourceTerm) and term.scale == "own":
            heads.add_scale(name, SIGMOID_SCALE if isinstance(term, SigmoidTerm) else CLIP_SCALE)
        if isinstance(term, SigmoidTerm) and term.scale != "shared":
            heads.add_bias(name, term.bias)
        if isinstance(term, SiameseTerm):
            heads.siamese[name] = SiameseHeads(width, hidden=term.hidden, bottleneck=term.bottleneck)
        if isinstance(term, MaskedWordsTerm):
            heads.words[name] = nn.Linear(model.text_model.config.hidden_size, words)
        if isinstance(term, NeighborTerm):
            heads.banks[name] = TextBank(term.size, width)
    if video is not None:
        torch.manual_seed(u64(seed, "frames"))
        heads.frames = FrameTokens(
            model.vision_model.config.hidden_size, proxies=video.proxies, time_rows=video.time_rows
        )
    return heads


def _start_frames(extra: FrameTokens, folder: Path) -> None:
    """Copy proxies and times of a model that reads frames. Raises UsageError if it has other numbers of them."""
    found = read_frame_tokens(folder)
    if found is None:
        return
    sizes, needed = ({name: len(rows) for name, rows in each.state_dict().items()} for each in (found, extra))
    if sizes != needed:
        raise UsageError(f"video: {folder} has {sizes}, not {needed}: set video.proxies and video.time_rows as there")
    extra.load_state_dict(found.state_dict())


def unused_parameters(outputs: Outputs, terms: Mapping[str, AnyTerm]) -> tuple[str, ...]:
    """Return patterns of the parameters of a model that no term depends on."""
    encoders = set(outputs.encoders.values())
    images, texts = encoders & {"image", "frames"}, encoders & {"text"}
    unused = [*(() if images else IMAGE_ENCODER), *(() if texts else TEXT_ENCODER)]
    shared = [term for term in terms.values() if getattr(term, "scale", None) == "shared"]
    unused += [] if shared else ["logit_scale"]
    unused += [] if shared_sigmoid(terms.values()) else ["logit_bias"]
    return tuple(unused)
