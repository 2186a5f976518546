"""Choose which parameters are trained, and keep the scale of the similarities in its bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from transformers import MetaClip2Model

from curation.errors import UsageError
from training.methods.base import Phase, Scale


def freeze(model: MetaClip2Model, phase: Phase) -> None:
    """Let a model compute gradients only for the parameters that a phase trains.

    Raises UsageError if a pattern matches no parameter, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    for key, patterns in (("train", phase.train), ("freeze", phase.freeze)):
        for pattern in patterns:
            if not _matches([pattern], names):
                raise UsageError(
                    f"phase.{key}: no parameter matches {pattern!r}: names are like {names[-1]} or "
                    f"vision_model.encoder.layers.0.*"
                )
    trained = _matches(phase.train, names) - _matches(phase.freeze, names)
    if not phase.scale.learned:
        trained -= {"logit_scale"}
    if not trained:
        raise UsageError("phase: no parameter is left to train: shorten phase.freeze or extend phase.train")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def set_scale(model: MetaClip2Model, scale: float) -> None:
    """Set the factor of the cosine similarities."""
    with torch.no_grad():
        model.logit_scale.fill_(math.log(scale))


def clamp_scale(model: MetaClip2Model, scale: Scale) -> None:
    """Clamp the scale to [1, max] if it is trained (CLIP, arXiv 2103.00020, section 2.5)."""
    if model.logit_scale.requires_grad:
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(scale.max))


def _matches(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
