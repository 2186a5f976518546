"""The parameters that the terms of a loss have beside those of the model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.data.views.word_masking import UNMASKED
from training.models.frames import FrameTokens


class Heads(nn.Module):
    """Heads by the name of their term; a method without heads has none of them.

    Attributes:
        scales: logarithms of the factors of cosine similarities.
        biases: biases of sigmoid losses.
        siamese: projectors and predictors of image features.
        words: the head that predicts masked words.
        banks: earlier texts.
        frames: what the image encoder needs to read frames; None: the views have none.
    """

    frames: FrameTokens | None

    def __init__(self) -> None:
        super().__init__()
        self.scales, self.biases = nn.ParameterDict(), nn.ParameterDict()
        self.siamese, self.words, self.banks = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.frames = None

    def add_scale(self, term: str, initial: float) -> None:
        """Add a scale of a term's own."""
        self.scales[term] = nn.Parameter(torch.tensor(math.log(initial)))

    def add_bias(self, term: str, initial: float) -> None:
        """Add a bias of a term's own."""
        self.biases[term] = nn.Parameter(torch.tensor(initial))

    def scalars(self) -> dict[str, Tensor]:
        """Return scales and biases by the names that `Features` has for them."""
        scales = {f"scale.{term}": value.exp() for term, value in self.scales.items()}
        return scales | {f"bias.{term}": value.clone() for term, value in self.biases.items()}

    def clamp_scales(self, smallest: float, largest: float) -> None:
        """Clamp the trained scales to [smallest, largest]."""
        with torch.no_grad():
            for value in self.scales.values():
                if value.requires_grad:
                    value.clamp_(math.log(smallest), math.log(largest))


def word_losses(head: nn.Module, states: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropies (n, length) of masked words, 0 where nothing was masked.

    Scores are computed for masked positions only, in float32, or in float64 for such states.

    Args:
        head: predicts scores of all ids from states.
        states: states (n, length, width) of a text's tokens.
        labels: the ids (n, length) before masking; UNMASKED where nothing was masked.
    """
    masked = labels != UNMASKED
    scores = head(states[masked])
    scores = scores if scores.dtype == torch.float64 else scores.float()
    losses = cross_entropy(scores, labels[masked].long(), reduction="none")
    return torch.zeros(labels.shape, dtype=losses.dtype, device=losses.device).masked_scatter(masked, losses)
