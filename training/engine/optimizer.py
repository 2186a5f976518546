"""The learning-rate schedule and the parameter groups of AdamW."""

from __future__ import annotations

import math
import re
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from training.config import TrainConfig

LAYER = re.compile(r"(\w+)\.encoder\.layers\.(\d+)\.")
BEFORE_LAYERS = re.compile(r"\w+\.(embeddings|pre_layrnorm)\.")


def learning_rate(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Return the learning rate of a step (counted from 0): linear warm-up, then cosine decay to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) / 2


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group to its share of a rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Group the trained parameters for AdamW: matrices are decayed; vectors (biases, norms) and scalars are not.

    `lr_scale` of a group is its share of the learning rate. With `layer_decay` d it is d^k for an encoder's layer
    that is k layers below the projection, and for its embeddings (BEiT, arXiv 2106.08254, appendix).
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    scales = _layer_scales(model, layer_decay)
    for is_matrix in (True, False):
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and (parameter.ndim > 1) == is_matrix:
                groups.setdefault((scales[name], is_matrix), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if is_matrix else 0.0, "lr_scale": scale}
        for (scale, is_matrix), parameters in groups.items()
    ]


def _layer_scales(model: nn.Module, decay: float) -> dict[str, float]:
    """Return the share of the learning rate of every parameter by name."""
    names = [name for name, _ in model.named_parameters()]
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


def build_optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """Return AdamW over the trained parameters of a model, with the settings of a run."""
    groups = parameter_groups(model, config.weight_decay, config.phase.layer_decay)
    return AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
