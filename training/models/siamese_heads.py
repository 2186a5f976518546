"""Projector and predictor between the features of two views of an image and their siamese loss."""

from __future__ import annotations

from torch import Tensor, nn


class SiameseHeads(nn.Module):
    """The heads of DeCLIP (arXiv 2110.05208), after SimSiam (arXiv 2011.10566).

    Batch statistics are those of a rank.

    Args:
        width: numbers per image feature.
        hidden: width of the projector and of the predictor's output.
        bottleneck: width of the predictor's middle layer.
    """

    def __init__(self, width: int, *, hidden: int = 1024, bottleneck: int = 512) -> None:
        super().__init__()
        self.projector = nn.Sequential(
            nn.Linear(width, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
        )
        self.predictor = nn.Sequential(
            nn.Linear(hidden, bottleneck), nn.BatchNorm1d(bottleneck), nn.ReLU(), nn.Linear(bottleneck, hidden)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return predictions p and projections z, both (b, hidden), of image features (b, width) of any length."""
        projected = self.projector(features)
        return self.predictor(projected), projected
