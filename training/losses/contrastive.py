"""The symmetric contrastive loss over the global batch; every rank computes it for its own pairs only.

Each rank compares its b images with all B = R·b texts, and its texts with all images, so it stores two b x B matrices
instead of B x B ones. Gathering is differentiable: an embedding receives gradients from the losses of all ranks. DDP
averages the parameters' gradients over ranks, so the result is the gradient of the loss of the whole batch.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import cross_entropy

from training.losses.gather import gather_rows, position
from training.losses.rows import at_least_float32


class EqualRows(NamedTuple):
    """Rows of a batch that are not negatives of each other, such as texts of one image.

    Attributes:
        keys: int64 (b,); rows with equal keys belong together.
        rule: `soft` makes all of them targets, with equal probability (CLL-CLIP, arXiv 2401.17186); `drop` leaves all
            but the row's own pair out.
    """

    keys: Tensor
    rule: Literal["soft", "drop"]


def contrastive_loss(
    images: Tensor, texts: Tensor, scale: Tensor, group: ProcessGroup | None = None, *, equal: EqualRows | None = None
) -> Tensor:
    """Return this rank's part of the symmetric InfoNCE loss (CLIP, arXiv 2103.00020, figure 3), a scalar.

    The mean over the ranks of a group is the loss of their pairs. It is computed in float32, also under autocast, and
    in float64 for such embeddings.

    Args:
        images: unit embeddings (b, d) of this rank's images; b is equal on all ranks.
        texts: unit embeddings (b, d) of their texts.
        scale: the factor of the cosine similarities, a scalar.
        group: the ranks that are compared with each other; None: all.
        equal: rows that are not negatives of each other; None: every other row is a negative.
    """
    per_image = one_way_loss(images, texts, scale, group, equal=equal)
    return (per_image + one_way_loss(texts, images, scale, group, equal=equal)) / 2


def one_way_loss(
    queries: Tensor,
    candidates: Tensor,
    scale: Tensor,
    group: ProcessGroup | None = None,
    *,
    equal: EqualRows | None = None,
) -> Tensor:
    """Return this rank's part of the cross entropy from each query to its own candidate among all of the group.

    The arguments are those of `contrastive_loss`, which is the mean of both directions.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, scale = at_least_float32(queries), at_least_float32(scale)
        logits = scale * queries @ gather_rows(at_least_float32(candidates), group).T
        rank, _ = position(group)
        targets = torch.arange(len(queries), device=queries.device) + rank * len(queries)
        if equal is None:
            return cross_entropy(logits, targets)
        together = equal.keys[:, None] == gather_rows(equal.keys, group)
        if equal.rule == "soft":
            return cross_entropy(logits, together.to(logits.dtype) / together.sum(1, keepdim=True))
        others = together.scatter(1, targets[:, None], value=False)
        return cross_entropy(logits.masked_fill(others, -torch.inf), targets)
