"""A model that is whole on every rank, as DDP trains it: the interface of every form of a model on several ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from training.distributed import World
from training.models.towers import TwoTowers
from training.parallel.tensors import local


class Replicas:
    """A model that is whole on every rank; DDP averages the gradients of several ranks.

    Attributes:
        module: the model to call in a training step.

    Args:
        towers: the model, on the CPU.
        world: the processes.
    """

    is_sharded = False

    def __init__(self, towers: TwoTowers, world: World) -> None:
        self._world = world
        self.module: nn.Module = self._wrap(towers)
        self._parameters = [p for p in towers.parameters() if p.requires_grad]

    def _wrap(self, towers: TwoTowers) -> nn.Module:
        towers.to(self._world.device)
        if self._world.size == 1:
            return towers
        # the buffers are equal on all ranks, apart from running statistics, which training does not read
        return DistributedDataParallel(towers, broadcast_buffers=False)

    def end_backward(self) -> Tensor:
        """Complete the gradients after a backward pass and return their norm, which is equal on all ranks."""
        return get_total_norm([p.grad for p in self._parameters if p.grad is not None])

    def clip_gradients(self, norm: Tensor, max_norm: float) -> None:
        """Scale gradients of this norm down to `max_norm` if they are longer."""
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grads_with_norm_
        torch._foreach_mul_([local(p.grad) for p in self._parameters if p.grad is not None], factor)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let each rank use the model by itself while the block runs; every rank must enter the block."""
        yield
