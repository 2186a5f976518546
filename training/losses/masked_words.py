"""The loss of masked words, which a model predicts from the rest of a text."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import cross_entropy

from training.data.views.word_masking import UNMASKED
from training.losses.rows import at_least_float32, mean_of_rows


def masked_word_loss(logits: Tensor, labels: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Return this rank's part of the mean cross entropy over masked positions (BERT, arXiv 1810.04805), a scalar.

    The mean over the ranks of a group is the mean over all of their masked positions, 0 if there are none.

    Args:
        logits: scores (b, length, vocabulary).
        labels: the ids (b, length) before masking; UNMASKED where nothing was masked.
        group: the ranks whose positions are averaged; None: all.
    """
    with torch.autocast(logits.device.type, enabled=False):
        ids = labels.long()
        losses = cross_entropy(
            at_least_float32(logits).flatten(0, 1), ids.flatten(), ignore_index=UNMASKED, reduction="none"
        )
        return mean_of_rows(losses.view(ids.shape), ids != UNMASKED, group)
