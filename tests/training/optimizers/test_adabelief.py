from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from support.vectors import assert_close, expected, inputs
from training.optimizers.adabelief import AdaBelief
from training.optimizers.adaptive_clipping import clip_adaptively

GIVEN, WANTED = inputs("clip_italian", "agc_adabelief"), expected("clip_italian", "agc_adabelief")


def as_rows(values) -> torch.Tensor:
    """Return numbers of the vector, whose matrices have a column per output, with a row per output."""
    tensor = torch.as_tensor(values, dtype=torch.float64).detach()
    return tensor.T.contiguous() if tensor.ndim == 2 else tensor.clone()


def parameters() -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(as_rows(values)) for name, values in GIVEN["weights"].items()}


@pytest.mark.parametrize(("rule", "previous_mean"), [("weights_2021", True), ("weights_today", False)])
def test_clipped_steps_equal_the_vector(rule, previous_mean):
    weights = parameters()
    optimizer = AdaBelief(weights.values(), GIVEN["lr"], previous_mean=previous_mean)
    for number, gradients in enumerate(GIVEN["gradients"]):
        for name, parameter in weights.items():
            parameter.grad = as_rows(gradients[name])
        clip_adaptively(weights.values(), GIVEN["clip"], GIVEN["clip_eps"])
        if number == 0:
            for name, wanted in WANTED["first_clipped_gradient"].items():
                assert_close(weights[name].grad, as_rows(wanted).tolist())
        optimizer.step()
        for name, wanted in WANTED[rule][number].items():
            assert_close(weights[name], as_rows(wanted).tolist())


def test_short_gradients_and_parameters_without_one_are_not_clipped():
    weight, other = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(2))
    weight.grad = torch.full((3, 4), 1e-4)
    weight.grad[1] = 5.0
    clip_adaptively([weight, other], 0.01)
    assert other.grad is None
    assert torch.equal(weight.grad[[0, 2]], torch.full((2, 4), 1e-4))
    assert weight.grad[1].norm().item() == pytest.approx(0.01 * 2)


def test_weight_decay_shrinks_weights_before_the_step():
    decayed, plain = nn.Parameter(torch.ones(2).double()), nn.Parameter(torch.full((2,), 0.98).double())
    for parameter, decay in ((decayed, 0.2), (plain, 0.0)):
        parameter.grad = torch.tensor([1.0, -2.0]).double()
        AdaBelief([parameter], 0.1, weight_decay=decay).step()
    torch.testing.assert_close(decayed, plain)


def test_training_goes_on_exactly_from_a_saved_state():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = AdaBelief(model.parameters(), 0.01)

    def train(model, optimizer, steps):
        for step in range(steps):
            optimizer.zero_grad()
            model(torch.full((4, 3), float(step + 1))).square().sum().backward()
            optimizer.step()

    train(model, optimizer, 3)
    resumed = copy.deepcopy(model)
    other = AdaBelief(resumed.parameters(), 0.01)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, its in ((model, optimizer), (resumed, other)):
        train(each, its, 2)
    assert torch.equal(model.weight, resumed.weight)
