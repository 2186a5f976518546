from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from training.losses.sigmoid import sigmoid_loss


def embeddings() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(5)
    images, texts = (normalize(torch.randn(7, 4), dim=-1) for _ in range(2))
    return images, texts, torch.tensor(10.0), torch.tensor(-10.0)


def test_the_loss_is_the_sum_over_all_pairs_divided_by_the_number_of_pairs():
    images, texts, scale, bias = embeddings()
    total = 0.0
    for k, image in enumerate(images.tolist()):
        for j, text in enumerate(texts.tolist()):
            logit = 10 * sum(x * y for x, y in zip(image, text, strict=True)) - 10
            total += math.log1p(math.exp(-logit if k == j else logit))
    assert sigmoid_loss(images, texts, scale, bias).item() == pytest.approx(total / 7, rel=1e-5)


def test_the_loss_is_computed_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        inside = sigmoid_loss(*embeddings())
    assert inside.dtype == torch.float32
    assert torch.equal(inside, sigmoid_loss(*embeddings()))


def test_large_logits_give_finite_losses_and_gradients():
    images, texts, _, bias = embeddings()
    images.requires_grad_()
    loss = sigmoid_loss(images, texts, torch.tensor(1e4), bias)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(images.grad).all()
