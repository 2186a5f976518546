"""Nearest neighbors of texts in a bank of earlier texts, as further targets of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.functional import normalize

from training.losses.contrastive import one_way_loss


class TextBank(nn.Module):
    """The newest rows of embeddings that were added, in a ring buffer that is saved with the model.

    Args:
        size: number of rows.
        width: numbers per row.
        wraps: rows that do not fit behind the pointer continue at the start. False: they are dropped, and the pointer
            returns to the start also if they fit exactly, as in the published code of DeCLIP (arXiv 2110.05208).
    """

    rows: Tensor
    pointer: Tensor

    def __init__(self, size: int, width: int, *, wraps: bool = True) -> None:
        super().__init__()
        self._wraps = wraps
        self.register_buffer("rows", normalize(torch.randn(size, width), dim=-1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def nearest(self, texts: Tensor) -> Tensor:
        """Return for each text (b, d) the unit row of the bank with the largest cosine similarity, without gradient."""
        return self.rows[(texts.to(self.rows.dtype) @ self.rows.T).argmax(1)]

    @torch.no_grad()
    def add(self, texts: Tensor) -> None:
        """Replace the oldest rows by the unit rows of texts (b, d); of more than `size` texts, keep the last."""
        size, start = len(self.rows), int(self.pointer)
        fitting = texts[-size:] if self._wraps else texts[: size - start]
        targets = (torch.arange(len(fitting), device=self.rows.device) + start) % size
        self.rows[targets] = fitting.detach().to(self.rows.dtype)
        self.pointer.fill_((start + len(fitting)) % size)


def neighbor_loss(
    images: Sequence[Tensor], neighbors: Sequence[Tensor], scale: Tensor, group: ProcessGroup | None = None
) -> Tensor:
    """Return this rank's part of the loss from each view of the images to the neighbors of each of their texts.

    It is the mean of the cross entropies of all combinations, from image to neighbor only; negatives are the neighbors
    of the other rows (DeCLIP, arXiv 2110.05208). The mean over the ranks of a group is their loss.

    Args:
        images: unit embeddings (b, d) of every view of this rank's images.
        neighbors: unit embeddings (b, d), the nearest neighbors of every view of their texts.
        scale: the factor of the cosine similarities, a scalar.
        group: the ranks that are compared with each other; None: all.
    """
    losses = [one_way_loss(view, rows.detach(), scale, group) for view in images for rows in neighbors]
    return torch.stack(losses).mean()
