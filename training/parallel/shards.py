"""A model of which every rank stores a share (FSDP2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from training.distributed import World
from training.models.towers import TwoTowers
from training.parallel.replicas import Replicas


class Shards(Replicas):
    """A model of whose weights, gradients and moments every rank stores a share (FSDP2).

    The embeddings and every layer of an encoder are gathered when they are needed, and freed again. The scalars (scale
    and bias) are whole on every rank, because a scalar cannot be shared out.
    """

    is_sharded = True

    def _wrap(self, towers: TwoTowers) -> nn.Module:
        mesh = init_device_mesh(self._world.device.type, (self._world.size,))
        self._scalars = [p for p in towers.parameters() if p.ndim == 0]
        towers.text_groups = 1  # every group would gather all layers of the text encoder again
        model = towers.model
        self._units: list[FSDPModule] = []
        for encoder in (model.vision_model, model.text_model):
            for unit in (encoder.embeddings, *encoder.encoder.layers):
                self._units.append(fully_shard(unit, mesh=mesh))
        self._units.append(fully_shard(towers, mesh=mesh, ignored_params=set(self._scalars)))
        return towers.to(self._world.device)

    def end_backward(self) -> Tensor:
        """Complete the gradients after a backward pass and return their norm, which is equal on all ranks."""
        scalars = [p.grad for p in self._scalars if p.grad is not None]
        for gradient in scalars:
            dist.all_reduce(gradient)
            gradient /= self._world.size
        shares = [p.grad.to_local() for p in self._parameters if isinstance(p.grad, DTensor)]
        squares = get_total_norm(shares).square()
        dist.all_reduce(squares)
        return (squares + sum(gradient.square() for gradient in scalars)).sqrt()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let each rank use the model by itself while the block runs; every rank must enter the block."""
        for unit in self._units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for unit in self._units:
                unit.set_reshard_after_forward(unit is not self._units[-1], recurse=False)
                unit.reshard()


def parallelize(towers: TwoTowers, world: World, kind: Literal["ddp", "fsdp"]) -> Replicas:
    """Return a model, given on the CPU, as it is trained on all ranks; a single process has nothing to share."""
    return Shards(towers, world) if kind == "fsdp" and world.size > 1 else Replicas(towers, world)
