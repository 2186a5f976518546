"""A second model that gives targets: a frozen copy of the trained model, or a moving average of its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import MetaClip2Model

from training.engine.weight_average import WeightAverage
from training.models.features import Features
from training.models.towers import Outputs, TwoTowers


class TargetModel:
    """A copy of a model, without gradients: copy = momentum * copy + (1 - momentum) * model per update.

    Every rank has one; their updates are equal because their models are.

    Args:
        model: the model that is trained, before it is wrapped for parallel training.
        outputs: what terms read of the copy.
        momentum: share of the copy that an update keeps; 1: the copy is frozen.
        device: where the copy computes.
    """

    def __init__(self, model: MetaClip2Model, outputs: Outputs, momentum: float, device: torch.device) -> None:
        self._momentum = momentum
        self._towers = TwoTowers(copy.deepcopy(model).requires_grad_(False), outputs).eval().to(device)
        weights: dict[str, Tensor] = {name: p.detach() for name, p in self._towers.model.named_parameters()}
        self._average = WeightAverage(model, momentum, weights)

    @torch.no_grad()
    def __call__(self, views: Mapping[str, Tensor]) -> Features:
        """Return the copy's features of a batch."""
        features: Features = self._towers(views)
        return features

    def update(self) -> None:
        """Move the copy's weights towards those of the model."""
        if self._momentum < 1:
            self._average.update()

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The copy's weights by name."""
        return self._average.weights

    def restore(self, folder: Path) -> None:
        """Read the copy that a checkpoint's folder holds. Raises DamagedCheckpointError if it cannot be read."""
        self._average.restore(folder)
