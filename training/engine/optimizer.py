"""The optimizer of a run, its parameter groups and learning rates."""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from training.config import TrainConfig
from training.optimizers.adabelief import AdaBelief
from training.optimizers.adaptive_clipping import clip_adaptively
from training.optimizers.schedules import scheduled_rate

LAYER = re.compile(r"(\w+)\.encoder\.layers\.(\d+)\.")
BEFORE_LAYERS = re.compile(r"\w+\.(embeddings|pre_layrnorm)\.")


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a step, counted from 0."""
    return scheduled_rate(
        step,
        peak=config.lr,
        warmup=config.warmup,
        total=config.total_steps,
        schedule=config.phase.schedule,
        starts_at_zero=config.phase.warmup_from_zero,
    )


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group to its share of a rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Group the trained parameters: matrices are decayed; vectors (biases, norms) and scalars are not.

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


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimizer of the trained parameters of a model, with the settings of a run.

    Adaptive clipping is a part of its steps, after the clipping of the whole gradient.
    """
    phase = config.phase
    groups = parameter_groups(model, config.weight_decay, phase.layer_decay)
    optimizer: Optimizer
    if phase.optimizer == "adabelief":
        optimizer = AdaBelief(groups, config.lr, betas=config.betas)
    else:
        optimizer = AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    if (limit := phase.adaptive_clip) is not None:
        parameters = [parameter for group in groups for parameter in group["params"]]
        optimizer.register_step_pre_hook(lambda *_: clip_adaptively(parameters, limit))
    return optimizer
