from __future__ import annotations

import pytest
import torch
from torch.optim import Optimizer

from support.models import build_model
from training.config import TrainConfig
from training.engine.optimizer import build_optimizer, parameter_groups, set_learning_rate
from training.models.metaclip2 import PRESETS
from training.optimizers.adabelief import AdaBelief


def optimizer_of(model, config: TrainConfig) -> Optimizer:
    return build_optimizer(dict(model.named_parameters()), config, config.planned_phases[0])


def test_only_matrices_decay(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    decayed, others = parameter_groups(dict(model.named_parameters()), 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    exempt = {names[id(parameter)] for parameter in others["params"]}
    assert "logit_scale" in exempt
    assert "vision_model.embeddings.class_embedding" in exempt
    assert all("bias" in name or "norm" in name or name.endswith(("logit_scale", "class_embedding")) for name in exempt)
    assert len(decayed["params"]) + len(exempt) == len(names)


def test_adamw_has_the_settings_of_the_published_trainer_unless_the_config_has_others(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    published = optimizer_of(model, TrainConfig(steps=1)).defaults
    assert (published["lr"], published["betas"], published["eps"]) == (4e-4, (0.9, 0.95), 1e-6)
    other = optimizer_of(model, TrainConfig(steps=1, lr=0.1, betas=(0.5, 0.6), eps=1e-9, weight_decay=0.3))
    assert (other.defaults["lr"], other.defaults["betas"], other.defaults["eps"]) == (0.1, (0.5, 0.6), 1e-9)
    assert [group["weight_decay"] for group in other.param_groups] == [0.3, 0.0]


def test_layer_decay_slows_every_layer_by_the_same_factor_down_to_the_embeddings(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)  # both encoders have three layers
    groups = parameter_groups(dict(model.named_parameters()), 0.1, layer_decay=0.5)
    scales = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    expected = {
        "logit_scale": 1.0,
        "text_projection.weight": 1.0,
        "visual_projection.weight": 1.0,
        "vision_model.post_layernorm.weight": 1.0,
        "text_model.final_layer_norm.bias": 1.0,
        "vision_model.encoder.layers.2.mlp.fc1.weight": 0.5,
        "text_model.encoder.layers.1.self_attn.k_proj.bias": 0.25,
        "text_model.encoder.layers.0.layer_norm1.weight": 0.125,
        "vision_model.pre_layrnorm.weight": 0.0625,
        "vision_model.embeddings.class_embedding": 0.0625,
        "text_model.embeddings.token_embedding.weight": 0.0625,
    }
    parameters = dict(model.named_parameters())
    assert {name: scales[id(parameters[name])] for name in expected} == expected
    assert len(scales) == len(parameters) == sum(len(group["params"]) for group in groups)
    matrices = {id(p) for p in parameters.values() if p.ndim > 1}
    for group in groups:
        assert {id(p) in matrices for p in group["params"]} == {group["weight_decay"] == 0.1}


def test_the_learning_rate_of_a_group_is_its_share(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    optimizer = optimizer_of(model, TrainConfig(steps=1, phase={"layer_decay": 0.5}))
    set_learning_rate(optimizer, 0.01)
    assert {group["lr"] for group in optimizer.param_groups} == {0.01 * 0.5**k for k in range(5)}


def test_without_layer_decay_there_are_two_groups_in_the_order_of_the_model(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    matrices, others = parameter_groups(dict(model.named_parameters()), 0.1)
    assert [id(p) for p in matrices["params"]] == [id(p) for p in model.parameters() if p.ndim > 1]
    assert [id(p) for p in others["params"]] == [id(p) for p in model.parameters() if p.ndim <= 1]
    assert matrices["lr_scale"] == others["lr_scale"] == 1.0


def test_learning_rates_follow_the_schedule_of_the_phase():
    lengths = {"steps": 10, "warmup_steps": 2, "lr": 0.8}
    plain = TrainConfig(**lengths)
    assert [plain.planned_phases[0].rate(step) for step in (0, 1, 6)] == pytest.approx([0.4, 0.8, 0.4])
    linear = TrainConfig(**lengths, phase={"schedule": "linear", "warmup_from_zero": True})
    assert [linear.planned_phases[0].rate(step) for step in (0, 1, 4)] == pytest.approx([0.0, 0.4, 0.6])
    assert TrainConfig(**lengths, phase={"schedule": "constant"}).planned_phases[0].rate(9) == 0.8


def test_adabelief_has_the_groups_and_betas_of_the_config(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    optimizer = optimizer_of(model, TrainConfig(steps=1, betas=(0.9, 0.999), phase={"optimizer": "adabelief"}))
    assert isinstance(optimizer, AdaBelief)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == ((0.9, 0.999), 1e-16)


def test_adaptive_clipping_limits_gradients_before_the_step(tokenizer):
    model = build_model(PRESETS["tiny"], tokenizer)
    optimizer = optimizer_of(model, TrainConfig(steps=1, phase={"adaptive_clip": 0.01}))
    weight = model.text_projection.weight
    norms = weight.detach().norm(dim=1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    torch.testing.assert_close(weight.grad.norm(dim=1), 0.01 * norms)
