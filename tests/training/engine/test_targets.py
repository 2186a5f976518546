from __future__ import annotations

import torch
from torch import nn

from support.models import build_model
from support.vectors import assert_close, expected, inputs
from training.engine.targets import TargetModel
from training.engine.weight_average import WeightAverage
from training.models.metaclip2 import PRESETS
from training.models.towers import PAIRS

CPU = torch.device("cpu")


def test_an_update_equals_the_vector():
    given = inputs("tulip", "ema")
    model = nn.Linear(*given["teacher"].T.shape, bias=False, dtype=torch.float64)
    model.weight.data.copy_(given["teacher"].detach())
    average = WeightAverage(model, given["m"])
    model.weight.data.copy_(given["student"].detach())
    average.update()
    assert_close(average.weights["weight"], expected("tulip", "ema")["teacher"])


def batch(tokenizer) -> dict[str, torch.Tensor]:
    images = torch.arange(4 * 64 * 64 * 3).reshape(4, 64, 64, 3).remainder(251).to(torch.uint8)
    return {"image": images, "text": tokenizer(["a red circle", "a bar", "two", "a blue cross"])}


def change(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.ones_like(parameter), alpha=0.01)


def test_a_frozen_copy_keeps_its_features_and_gives_no_gradient(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    targets, views = TargetModel(model, PAIRS, 1.0, CPU), batch(tokenizer)
    before = targets(views).rows
    change(model)
    targets.update()
    after = targets(views).rows
    assert not any(rows.requires_grad for rows in after.values())
    assert all(torch.equal(rows, before[name]) for name, rows in after.items())


def test_a_moving_copy_computes_with_its_averaged_weights(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    targets, views = TargetModel(model, PAIRS, 0.5, CPU), batch(tokenizer)
    before = {name: weight.clone() for name, weight in targets.weights.items()}
    old = targets(views).rows
    change(model)
    targets.update()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(targets.weights[name], (before[name] + parameter.detach()) / 2)
    assert not torch.equal(targets(views).rows["image"], old["image"])
