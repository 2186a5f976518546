from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from support.vectors import assert_close, expected, inputs
from training.optimizers.row_factors import RowFactors, language_factors

GIVEN = inputs("cll", "teir_adamw")
TEIR, STEP = ("gradient", "decay"), ("step", "decay")
NAMES = {TEIR: "teir_adamw", STEP: "teir_step"}


def optimizer_of(weight: nn.Parameter) -> AdamW:
    return AdamW(
        [weight],
        lr=GIVEN["lr"],
        betas=tuple(GIVEN["betas"].tolist()),
        eps=GIVEN["eps"],
        weight_decay=GIVEN["weight_decay"],
        fused=True,
    )


def train(weight: nn.Parameter, optimizer: AdamW, size: float) -> list[torch.Tensor]:
    states = [weight.detach().clone()]
    for gradient in GIVEN["gradients"].detach():
        weight.grad = gradient * size
        optimizer.step()
        states.append(weight.detach().clone())
    return states


def start() -> nn.Parameter:
    return nn.Parameter(GIVEN["weights"].detach().clone())


@pytest.mark.parametrize("on", [TEIR, STEP])
@pytest.mark.parametrize("size", ["large", "small"])
def test_steps_of_fused_adamw_equal_the_vector(on, size):
    weight = start()
    optimizer = optimizer_of(weight)
    RowFactors(optimizer, weight, GIVEN["row_factor"].detach(), on)
    states = train(weight, optimizer, 1.0 if size == "large" else GIVEN["small"])
    for state, wanted in zip(states[1:], expected("cll", NAMES[on])[size], strict=True):
        assert_close(state, wanted)
    assert torch.equal(states[-1][0], start()[0])  # its factor is 0
    assert optimizer.param_groups[0]["weight_decay"] == GIVEN["weight_decay"]


@pytest.mark.parametrize("size", ["large", "small"])
@pytest.mark.parametrize("with_factor", [True, False])
def test_adam_cancels_factors_of_large_gradients(size, with_factor):
    weight = start()
    optimizer = optimizer_of(weight)
    factors = GIVEN["row_factor"].detach()
    hooks = RowFactors(optimizer, weight, factors, TEIR)
    if not with_factor:
        hooks.remove()
    states = train(weight, optimizer, 1.0 if size == "large" else GIVEN["small"])
    key = f"mean_abs_first_step_{size}" + ("" if with_factor else "_without_factor")
    assert_close((states[1] - states[0]).abs().mean(1), expected("cll", "teir_adamw")[key])


def test_each_part_multiplies_what_it_names():
    factors, decay = GIVEN["row_factor"].detach(), 1 - GIVEN["lr"] * GIVEN["weight_decay"]
    moved = {}
    for on in (("gradient",), ("decay",), ("step",)):
        weight = start()
        RowFactors(optimizer := optimizer_of(weight), weight, factors, on)
        moved[on[0]] = train(weight, optimizer, 1.0)[1] - start()
    plain = train(weight := start(), optimizer_of(weight), 1.0)[1] - start()
    for part in ("gradient", "step"):  # the row with factor 0 is decayed, too
        assert_close(moved[part][0], ((decay - 1) * start()[0]).tolist())
    update = plain - (decay - 1) * start()
    assert_close(moved["step"], (factors[:, None] * update + (decay - 1) * start()).tolist())
    assert_close(moved["decay"], (update + factors[:, None] * (decay - 1) * start()).tolist())


@pytest.mark.parametrize("on", [TEIR, STEP])
def test_factors_of_one_change_nothing(on):
    plain, factored = start(), start()
    RowFactors(optimizer := optimizer_of(factored), factored, torch.ones(4), on)
    for first, second in zip(train(plain, optimizer_of(plain), 1.0), train(factored, optimizer, 1.0), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("on", [TEIR, STEP])
def test_steps_after_loading_a_state_are_those_of_an_optimizer_that_went_on(on):
    whole, resumed = start(), start()
    RowFactors(optimizer := optimizer_of(whole), whole, factors := GIVEN["row_factor"].detach(), on)
    for number, gradient in enumerate(GIVEN["gradients"].detach()):
        whole.grad = gradient.clone()
        optimizer.step()
        if number == 0:
            resumed.data.copy_(whole)
            state = copy.deepcopy(optimizer.state_dict())
    RowFactors(later := optimizer_of(resumed), resumed, factors, on)
    later.load_state_dict(state)
    resumed.grad = GIVEN["gradients"][1].detach().clone()
    later.step()
    assert torch.equal(resumed, whole)


def test_a_step_without_gradient_leaves_the_matrix_as_it_is():
    weight = start()
    optimizer = optimizer_of(weight)
    RowFactors(optimizer, weight, torch.ones(4), STEP)
    optimizer.step()
    assert torch.equal(weight, start())


def test_a_matrix_that_shares_its_group_is_refused():
    weight, other = start(), nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="the matrix shares its parameter group: give it a group of its own"):
        RowFactors(AdamW([weight, other]), weight, torch.ones(4), STEP)


def test_factors_count_the_languages_that_use_a_token():
    given = inputs("cll", "teir_scale")
    used: list[list[int]] = []
    for language, wanted in zip(given["languages"], expected("cll", "teir_scale"), strict=True):
        used.append(language["tokens_used"])
        found = language_factors(
            used,
            rows=language["vocab_after_growth"],
            original_rows=given["original_vocab"],
            special_ids=given["special"].int().tolist(),
        )
        assert_close(found, wanted["scale"])
