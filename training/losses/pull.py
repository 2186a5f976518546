"""Losses that pull embeddings towards those of a teacher, which get no gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import normalize

from training.losses.rows import at_least_float32, mean_of_rows


def cosine_pull(
    rows: Tensor, teacher: Tensor, present: Tensor | None = None, group: ProcessGroup | None = None
) -> Tensor:
    """Return this rank's part of the mean of 1 - cos(row, teacher row) (DCLIP, arXiv 2505.21549), a scalar.

    The mean over the ranks of a group is the loss of their rows. It is computed in float32, also under autocast, and
    in float64 for such embeddings.

    Args:
        rows: embeddings (b, d) of any length.
        teacher: the embeddings (b, d) that they are pulled to.
        present: bool (b,), the rows that have a teacher; None: all, and b is equal on all ranks.
        group: the ranks whose rows are averaged; None: all.
    """
    with torch.autocast(rows.device.type, enabled=False):
        first, second = (normalize(at_least_float32(each), dim=-1) for each in (rows, teacher.detach()))
        return mean_of_rows(1 - (first * second).sum(-1), present, group)


def mse_pull(rows: Tensor, teacher: Tensor, present: Tensor | None = None, group: ProcessGroup | None = None) -> Tensor:
    """Return this rank's part of the mean squared difference of all numbers (CLL-CLIP, arXiv 2401.17186), a scalar.

    Arguments and precision are those of `cosine_pull`.
    """
    with torch.autocast(rows.device.type, enabled=False):
        difference = at_least_float32(rows) - at_least_float32(teacher.detach())
        return mean_of_rows(difference.square().mean(-1), present, group)
