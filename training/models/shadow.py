"""A second model that gives targets: a frozen copy of the trained model, or a moving average of its weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Shadow:
    """A copy of a model that computes without gradients: copy = momentum * copy + (1 - momentum) * model per update.

    Every rank has one; their updates are equal because their models are.

    Args:
        model: the model that is trained, before it is wrapped for parallel training.
        momentum: share of the copy that an update keeps; 1: the copy is frozen.
    """

    def __init__(self, model: nn.Module, momentum: float) -> None:
        self._trained, self._momentum = model, momentum
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def __call__(self, *inputs: Any) -> Any:
        """Return the copy's output."""
        return self.model(*inputs)

    @torch.no_grad()
    def update(self) -> None:
        """Move the copy's weights towards the model's, and copy its buffers, such as running statistics."""
        if self._momentum == 1:
            return
        torch._foreach_lerp_(
            [p.data for p in self.model.parameters()],
            [p.detach() for p in self._trained.parameters()],
            1 - self._momentum,
        )
        for buffer, present in zip(self.model.buffers(), self._trained.buffers(), strict=True):
            buffer.copy_(present)
