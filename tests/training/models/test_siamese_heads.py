from __future__ import annotations

import torch

from training.losses.siamese import siamese_loss
from training.models.siamese_heads import SiameseHeads


def test_projections_are_normalized_over_the_batch_without_relu():
    predicted, projected = SiameseHeads(6, hidden=8, bottleneck=4)(torch.randn(5, 6))
    assert predicted.shape == projected.shape == (5, 8)
    torch.testing.assert_close(projected.mean(0), torch.zeros(8), atol=1e-5, rtol=0)


def test_training_the_heads_brings_predictions_of_one_view_to_projections_of_the_other():
    torch.manual_seed(0)
    heads, first = SiameseHeads(6, hidden=16, bottleneck=8), torch.randn(32, 6)
    views = (first, first + 0.1 * torch.randn(32, 6))
    optimizer = torch.optim.SGD(heads.parameters(), 0.5)
    losses = []
    for _ in range(30):
        (p1, z1), (p2, z2) = map(heads, views)
        loss = siamese_loss((p1, p2), (z1, z2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
