"""Mask tokens of a text, so that a model learns to predict them (BERT, arXiv 1810.04805, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from training.data.views.seeds import generator

UNMASKED = -100  # label of a token that is not predicted, as in torch and Hugging Face's libraries
MASK_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the selected tokens; the others stay as they are

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class WordMask:
    """Which tokens are masked, and by what.

    Attributes:
        mask_id: the id that replaces masked tokens.
        vocab_size: number of ids.
        special_ids: start, end, padding and other ids that are never selected and never drawn, since a model reads a
            text at its only end token; `mask_id` is one of them.
        share: probability that a token is selected.
    """

    mask_id: int
    vocab_size: int
    special_ids: Sequence[int]
    share: float = 0.15
    _ordinary: npt.NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        special = {self.mask_id, *self.special_ids}
        object.__setattr__(self, "_ordinary", np.setdiff1d(np.arange(self.vocab_size), list(special)))

    def apply(self, ids: Ids, seed: int) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Return the masked ids of a text (length,), and labels: the original ids of selected tokens, else UNMASKED.

        Numbers are drawn for every position in order, so the padding of a text does not change its mask.
        """
        selected_by, replaced_by, drawn = generator(seed).random((len(ids), 3)).T
        selected = np.isin(ids, self._ordinary) & (selected_by < self.share)
        masked = ids.copy()
        masked[selected & (replaced_by < MASK_SHARE)] = self.mask_id
        is_random = selected & (replaced_by >= MASK_SHARE) & (replaced_by < MASK_SHARE + RANDOM_SHARE)
        masked[is_random] = self._ordinary[(drawn[is_random] * len(self._ordinary)).astype(int)]
        return masked, np.where(selected, ids, UNMASKED).astype(np.int64)
