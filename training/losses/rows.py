"""Precision and averages of losses over rows."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from training.losses.gather import position


def at_least_float32(values: Tensor) -> Tensor:
    """Return values in float32, or as they are if they are float64."""
    return values if values.dtype == torch.float64 else values.float()


def mean_of_rows(values: Tensor, present: Tensor | None = None, group: ProcessGroup | None = None) -> Tensor:
    """Return this rank's part of the mean over the rows that are present, a scalar.

    The mean over the ranks of a group is the mean over their rows. Without any such row it is 0, with a graph, so that
    all ranks compute the same gradients.

    Args:
        values: one number per row (b,), or per row and position (b, length).
        present: a mask of the same shape; None: all, and b is equal on all ranks.
        group: the ranks that are averaged; None: all.
    """
    if present is None:
        return values.mean()
    count = present.sum()
    _, size = position(group)
    if size > 1:
        dist.all_reduce(count, group=group)
    total = torch.where(present, values, torch.zeros_like(values)).sum()
    return total * size / count.clamp(min=1)
