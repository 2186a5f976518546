"""Exchange features among the ranks that are compared with each other, differentiably."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup


def position(group: ProcessGroup | None = None) -> tuple[int, int]:
    """Return the rank of this process in a group (all ranks if None) and the group's size; (0, 1) if it is alone."""
    return (dist.get_rank(group), dist.get_world_size(group)) if dist.is_initialized() else (0, 1)


def gather_rows(features: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Return the rows of all ranks of a group in rank order, differentiably; a single process gets its rows back.

    In the backward pass, each row gets the sum of the gradients from all ranks of the group.
    """
    if position(group)[1] == 1:
        return features
    gathered: Tensor = _GatherRows.apply(features, group)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return gathered


class _GatherRows(torch.autograd.Function):
    """An all_gather whose backward pass sums, for each row, the gradients from all ranks."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, group: ProcessGroup | None) -> Tensor:
        ctx.group = group
        parts = [torch.empty_like(features) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, features.contiguous(), group=group)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        parts = list(gradient.contiguous().chunk(dist.get_world_size(ctx.group)))
        summed = torch.empty_like(parts[0])
        dist.reduce_scatter(summed, parts, group=ctx.group)
        return summed, None


def neighbor_group(ranks: int) -> ProcessGroup | None:
    """Return the group of this rank if every `ranks` neighboring ranks form one; None if all ranks do.

    Every rank must call it. The number of ranks is a multiple of `ranks`.
    """
    rank, size = position()
    if ranks == size:
        return None
    groups: list[ProcessGroup] = [dist.new_group(list(range(start, start + ranks))) for start in range(0, size, ranks)]
    return groups[rank // ranks]
