from __future__ import annotations

import torch
from torch import nn

from support.vectors import assert_close, expected, inputs
from training.models.shadow import Shadow


def linear(weight: torch.Tensor) -> nn.Linear:
    model = nn.Linear(*weight.T.shape, bias=False, dtype=weight.dtype)
    model.weight.data.copy_(weight)
    return model


def test_an_update_equals_the_vector():
    given = inputs("tulip", "ema")
    model = linear(given["teacher"].detach())
    shadow = Shadow(model, given["m"])
    model.weight.data.copy_(given["student"].detach())
    shadow.update()
    assert_close(shadow.model.weight, expected("tulip", "ema")["teacher"])


def test_a_frozen_copy_keeps_its_bits_and_gives_no_gradient():
    model = linear(torch.tensor([[1.0, 2.0]]))
    shadow = Shadow(model, 1.0)
    before = shadow.model.weight.clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        rows = torch.ones(2, 2)
        targets = shadow(rows)
        assert not targets.requires_grad
        (model(rows) - targets - 1).square().sum().backward()
        optimizer.step()
        shadow.update()
    assert torch.equal(shadow.model.weight, before)
    assert not torch.equal(model.weight, before)


def test_buffers_follow_the_model():
    model = nn.BatchNorm1d(2)
    shadow = Shadow(model, 0.5)
    model(torch.randn(8, 2) + 3)
    shadow.update()
    assert torch.equal(shadow.model.running_mean, model.running_mean)
    assert not shadow.model.training
