"""The loss of masked words, which a model predicts from the rest of a text."""

from __future__ import annotations

from torch import Tensor
from torch.distributed import ProcessGroup

from training.data.views.word_masking import UNMASKED
from training.losses.rows import mean_of_rows


def masked_word_loss(losses: Tensor, labels: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Return this rank's part of the mean cross entropy over masked positions (BERT, arXiv 1810.04805), a scalar.

    The mean over the ranks of a group is the mean over all of their masked positions, 0 if there are none.

    Args:
        losses: the cross entropy (b, length) of every position.
        labels: the ids (b, length) before masking; UNMASKED where nothing was masked.
        group: the ranks whose positions are averaged; None: all.
    """
    return mean_of_rows(losses, labels != UNMASKED, group)
