from __future__ import annotations

import pytest
import torch
from transformers import MetaClip2VisionConfig
from transformers.models.metaclip_2.modeling_metaclip_2 import MetaClip2Attention

from support.models import build_model
from support.vectors import assert_close, expected, inputs
from training.models.frames import FrameEncoder, attention_mask, resize_times
from training.models.metaclip2 import PRESETS
from training.models.towers import TwoTowers


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_model(PRESETS["tiny"], tokenizer).eval()


def videos(count: int = 2, frames: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, frames, 64, 64, 3), dtype=torch.uint8, generator=generator)


def encoder_with_times(model) -> FrameEncoder:
    torch.manual_seed(1)
    encoder = FrameEncoder(model, proxies=3, time_rows=3)
    with torch.no_grad():
        encoder.times.normal_(0, 0.5)
    return encoder


@torch.no_grad()
def test_one_frame_and_one_proxy_give_the_image_encoder_bit_for_bit(model):
    frames = videos(4, 1)
    found = FrameEncoder(model, proxies=1)(frames)
    assert torch.equal(found, TwoTowers(model).embed_images(frames[:, 0]))


def test_a_layer_of_the_model_under_the_mask_equals_the_vector():
    given, wanted = inputs("clip_vip", "proxy_attention"), expected("clip_vip", "proxy_attention")
    allowed = attention_mask(given["proxies"], given["frames"], given["patches_per_frame"])
    assert allowed.int().tolist() == wanted["allowed"]
    config = MetaClip2VisionConfig(hidden_size=4, num_attention_heads=given["heads"], attn_implementation="sdpa")
    layer = MetaClip2Attention(config).double()
    with torch.no_grad():
        for name, weight in given["weights"].items():
            linear = getattr(layer, f"{name}_proj")
            linear.weight.copy_(torch.tensor(weight, dtype=torch.float64))
            linear.bias.zero_()
    mask = torch.zeros(8, 8).double().masked_fill(~allowed, -torch.inf)[None, None]
    assert_close(layer(given["tokens"], attention_mask=mask)[0], wanted["output"])


def test_times_between_the_rows_of_the_table_equal_the_vector():
    table = inputs("clip_vip", "temporal_interpolation")["table"]
    for frames, wanted in expected("clip_vip", "temporal_interpolation").items():
        assert_close(resize_times(table, int(frames)), wanted)


@torch.no_grad()
def test_only_times_tell_the_order_of_frames(model):
    encoder, frames, order = encoder_with_times(model), videos(), [2, 0, 1]
    before = encoder(frames)
    alone = encoder(frames[:, order])
    assert not torch.allclose(before, alone, atol=1e-4)
    encoder.times.copy_(encoder.times[order])
    torch.testing.assert_close(encoder(frames[:, order]), before, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_of_other_videos_do_not_matter(model):
    encoder, frames = encoder_with_times(model), videos()
    before = encoder(frames)[0]
    frames[1] = 255 - frames[1]
    torch.testing.assert_close(encoder(frames)[0], before)


def test_all_proxies_and_times_get_a_gradient(model):
    encoder = encoder_with_times(model)
    encoder(videos()).sum().backward()
    assert (encoder.added_proxies.grad.abs().sum(1) > 0).all()
    assert (encoder.times.grad.abs().sum(1) > 0).all()
