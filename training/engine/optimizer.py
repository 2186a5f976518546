"""The optimizer of a phase, its parameter groups and learning rates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from curation.errors import UsageError
from training.config import TrainConfig
from training.methods.phase import PlannedPhase
from training.optimizers.adabelief import AdaBelief
from training.optimizers.adaptive_clipping import clip_adaptively
from training.optimizers.row_factors import RowFactors

LAYER = re.compile(r"(\w+)\.encoder\.layers\.(\d+)\.")
BEFORE_LAYERS = re.compile(r"\w+\.(embeddings|pre_layrnorm)\.")
TOKEN_EMBEDDINGS = "text_model.embeddings.token_embedding.weight"  # noqa: S105 - a name of weights


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group to its share of a rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], weight_decay: float, layer_decay: float = 1.0, *, alone: str | None = None
) -> list[dict[str, Any]]:
    """Group the trained parameters: matrices are decayed; vectors (biases, norms) and scalars are not.

    The parameter with the name `alone` is in a group of its own.

    `lr_scale` of a group is its share of the learning rate. With `layer_decay` d it is d^k for an encoder's layer
    that is k layers below the projection, and for its embeddings (BEiT, arXiv 2106.08254, appendix).
    """
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    scales = _layer_scales(list(parameters), layer_decay)
    for is_matrix in (True, False):
        for name, parameter in parameters.items():
            if parameter.requires_grad and (parameter.ndim > 1) == is_matrix:
                groups.setdefault((scales[name], is_matrix, name == alone), []).append(parameter)
    return [
        {"params": members, "weight_decay": weight_decay if is_matrix else 0.0, "lr_scale": scale}
        for (scale, is_matrix, _), members in groups.items()
    ]


def _layer_scales(names: Sequence[str], decay: float) -> dict[str, float]:
    """Return the share of the learning rate of every parameter by name."""
    layers: dict[str, int] = {}
    for name in names:
        if match := LAYER.match(name):
            layers[match[1]] = max(layers.get(match[1], 0), int(match[2]) + 1)
    below = {}
    for name in names:
        tower = name.partition(".")[0]
        if match := LAYER.match(name):
            below[name] = layers[tower] - int(match[2])
        elif BEFORE_LAYERS.match(name):
            below[name] = layers[tower] + 1
        else:
            below[name] = 0  # last norms, projections, scale and bias
    return {name: decay**number for name, number in below.items()}


def build_optimizer(
    parameters: Mapping[str, nn.Parameter],
    config: TrainConfig,
    phase: PlannedPhase,
    token_factors: Tensor | None = None,
) -> Optimizer:
    """Return the optimizer of the parameters that a phase trains.

    Adaptive clipping and factors of rows are a part of its steps, after the clipping of the whole gradient.

    Raises UsageError if factors are given for token embeddings that the phase does not train.

    Args:
        parameters: all parameters by name.
        config: the configuration of the run.
        phase: what is trained, and how.
        token_factors: factor of every token embedding (rows,), if there are any and the phase has `row_factors`.
    """
    settings = phase.settings
    alone = TOKEN_EMBEDDINGS if settings.row_factors else None
    groups = parameter_groups(parameters, config.weight_decay, settings.layer_decay, alone=alone)
    optimizer: Optimizer
    if settings.optimizer == "adabelief":
        optimizer = AdaBelief(groups, phase.lr, betas=config.betas)
    else:
        optimizer = AdamW(groups, lr=phase.lr, betas=config.betas, eps=config.eps, fused=True)
    if (limit := settings.adaptive_clip) is not None:
        trained = [parameter for group in groups for parameter in group["params"]]
        optimizer.register_step_pre_hook(lambda *_: clip_adaptively(trained, limit))
    if settings.row_factors and token_factors is not None:
        matrix = parameters[TOKEN_EMBEDDINGS]
        if not matrix.requires_grad:
            raise UsageError(f"{phase.key}.row_factors: {TOKEN_EMBEDDINGS} is not trained: add it to {phase.key}.train")
        RowFactors(optimizer, matrix, token_factors, settings.row_factors)
    return optimizer
