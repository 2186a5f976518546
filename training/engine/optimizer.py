"""The learning-rate schedule and the parameter groups of AdamW."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.optim import AdamW

from training.config import TrainConfig


def learning_rate(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Return the learning rate of a step (counted from 0): linear warm-up, then cosine decay to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) / 2


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Group parameters for AdamW: matrices are decayed; vectors (biases, norms) and the logit scale are not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def build_optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """Return AdamW over the parameters of a model, with the settings of a run."""
    groups = parameter_groups(model, config.weight_decay)
    return AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
