"""The exponential moving average of a model's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from curation.io.failures import first_line
from training.output.manifest import DamagedCheckpointError
from training.parallel.tensors import local, read_into


class WeightAverage:
    """Averages weights over steps: average = decay * average + (1 - decay) * weights, from the first weights on.

    Args:
        model: the model whose weights are averaged; buffers are not.
        decay: share of the average that a step keeps.
        weights: where the average is, such as the parameters of a copy of the model; None: in tensors of its own.
    """

    def __init__(self, model: nn.Module, decay: float, weights: dict[str, Tensor] | None = None) -> None:
        self._decay = decay
        self._parameters = dict(model.named_parameters())
        self.weights = weights or {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Add the present weights to the average."""
        present = [local(p.detach()) for p in self._parameters.values()]
        torch._foreach_lerp_([local(value) for value in self.weights.values()], present, 1 - self._decay)

    def restore(self, folder: Path) -> None:
        """Read the average that a checkpoint's folder holds. Raises DamagedCheckpointError if it cannot be read."""
        try:
            read_into(folder, self.weights)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise DamagedCheckpointError(
                f"resume: {folder} cannot be read ({first_line(error)}): set resume to another checkpoint"
            ) from error
