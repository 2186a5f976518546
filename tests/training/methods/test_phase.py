from __future__ import annotations

import math

import pytest
import torch

from curation.errors import UsageError
from support.models import build_model
from training.engine.optimizer import parameter_groups
from training.methods.base import Phase, Scale
from training.methods.phase import clamp_scale, freeze, set_scale
from training.models.metaclip2 import PRESETS


@pytest.fixture
def model(tokenizer):
    return build_model(PRESETS["tiny"], tokenizer)


def trained(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_by_default_every_parameter_is_trained(model):
    freeze(dict(model.named_parameters()), Phase())
    assert trained(model) == {name for name, _ in model.named_parameters()}


def test_a_parameter_is_trained_if_a_pattern_selects_it_and_none_freezes_it(model):
    freeze(
        dict(model.named_parameters()),
        Phase(train=("text_model.*", "*_projection.weight"), freeze=("*.embeddings.*", "visual_*")),
    )
    names = {name for name, _ in model.named_parameters() if name.startswith("text_model") and "embeddings" not in name}
    assert trained(model) == names | {"text_projection.weight"}
    freeze(dict(model.named_parameters()), Phase(train=("*projection*",)))
    assert trained(model) == {"text_projection.weight", "visual_projection.weight"}


def test_frozen_parameters_are_not_in_the_optimizer(model):
    freeze(dict(model.named_parameters()), Phase(freeze=("vision_model.*",)))
    grouped = {id(p) for group in parameter_groups(dict(model.named_parameters()), 0.1) for p in group["params"]}
    assert grouped == {id(p) for name, p in model.named_parameters() if not name.startswith("vision_model")}


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"freeze": ("vision.*",)}, r"phase\.freeze: no parameter matches 'vision\.\*': names are like .*projection"),
        ({"train": ("*", "text_mode")}, r"phase\.train: no parameter matches 'text_mode'"),
        ({"freeze": ("*",)}, "phase: no parameter is left to train: shorten phase.freeze"),
        ({"train": ("logit_scale",), "scale": Scale(learned=False)}, "phase: no parameter is left to train"),
    ],
)
def test_patterns_without_effect_are_refused_in_one_line(model, keys, line):
    with pytest.raises(UsageError, match=line) as caught:
        freeze(dict(model.named_parameters()), Phase(**keys))
    assert "\n" not in str(caught.value)


def test_a_learned_scale_stays_within_its_bounds_and_a_fixed_one_where_it_is(model):
    for value, expected in ((5000.0, 100.0), (0.01, 1.0), (50.0, 50.0)):
        set_scale(model, value)
        clamp_scale(model, Scale())
        assert model.logit_scale.exp().item() == pytest.approx(expected)
    set_scale(model, 150.0)
    clamp_scale(model, Scale(max=200))
    assert model.logit_scale.exp().item() == pytest.approx(150.0)
    for phase in (Phase(scale=Scale(learned=False)), Phase(freeze=("logit_scale",))):
        freeze(dict(model.named_parameters()), phase)
        assert "logit_scale" not in trained(model)
        clamp_scale(model, phase.scale)
        assert model.logit_scale.exp().item() == pytest.approx(150.0)


@pytest.mark.parametrize("keys", [{"initial": 101}, {"initial": 0.5}, {"initial": 20, "max": 19}])
def test_a_learned_scale_does_not_start_outside_its_bounds(keys):
    with pytest.raises(ValueError, match=r"initial: .* is not between 1 and max"):
        Scale(**keys)
    assert Scale(**keys, learned=False).initial == keys["initial"]


def test_the_default_bound_is_that_of_clip(model):
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    clamp_scale(model, Scale())
    assert model.logit_scale.item() == pytest.approx(math.log(100))
