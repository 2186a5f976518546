from __future__ import annotations

import pytest

from training.config import TrainConfig
from training.engine.optimizer import build_optimizer, learning_rate, parameter_groups
from training.models.metaclip2 import PRESETS, build_model


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rates = [learning_rate(step, peak=2.0, warmup=10, total=110) for step in range(111)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == max(rates) == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(0.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_only_matrices_decay(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    decayed, others = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    exempt = {names[id(parameter)] for parameter in others["params"]}
    assert "logit_scale" in exempt
    assert "vision_model.embeddings.class_embedding" in exempt
    assert all("bias" in name or "norm" in name or name.endswith(("logit_scale", "class_embedding")) for name in exempt)
    assert len(decayed["params"]) + len(exempt) == len(names)


def test_adamw_has_the_settings_of_the_published_trainer_unless_the_config_has_others(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    published = build_optimizer(model, TrainConfig(steps=1)).defaults
    assert (published["lr"], published["betas"], published["eps"]) == (4e-4, (0.9, 0.95), 1e-6)
    other = build_optimizer(model, TrainConfig(steps=1, lr=0.1, betas=(0.5, 0.6), eps=1e-9, weight_decay=0.3))
    assert (other.defaults["lr"], other.defaults["betas"], other.defaults["eps"]) == (0.1, (0.5, 0.6), 1e-9)
    assert [group["weight_decay"] for group in other.param_groups] == [0.3, 0.0]
