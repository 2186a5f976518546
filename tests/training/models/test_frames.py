from __future__ import annotations

import pytest
import torch
from transformers import MetaClip2VisionConfig
from transformers.models.metaclip_2.modeling_metaclip_2 import MetaClip2Attention

from support.models import build_model
from support.vectors import assert_close, expected, inputs
from training.models.frames import FrameTokens, attention_mask, encode_frames, resize_times
from training.models.heads import Heads
from training.models.metaclip2 import PRESETS
from training.models.towers import TwoTowers


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_model(PRESETS["tiny"], tokenizer).eval()


def videos(count: int = 2, frames: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, frames, 64, 64, 3), dtype=torch.uint8, generator=generator)


WIDTH = PRESETS["tiny"].vision.width


def towers_for_frames(model, *, proxies: int = 3) -> TwoTowers:
    torch.manual_seed(1)
    heads = Heads()
    heads.frames = FrameTokens(WIDTH, proxies=proxies, time_rows=3)
    with torch.no_grad():
        heads.frames.times.normal_(0, 0.5)
    return TwoTowers(model, heads=heads)


@torch.no_grad()
def test_one_frame_and_one_proxy_give_the_image_encoder_bit_for_bit(model):
    frames = videos(4, 1)
    towers = towers_for_frames(model, proxies=1)
    towers.heads.frames.times.zero_()
    assert torch.equal(towers.embed_videos(frames), TwoTowers(model).embed_images(frames[:, 0]))
    assert [*towers.heads.state_dict()] == ["frames.times"]


@torch.no_grad()
def test_an_image_is_a_video_of_one_frame(model):
    frames, towers = videos(4, 1), towers_for_frames(model)
    assert torch.equal(towers.embed_images(frames[:, 0]), towers.embed_videos(frames))
    assert not torch.allclose(towers.embed_images(frames[:, 0]), TwoTowers(model).embed_images(frames[:, 0]))


@torch.no_grad()
def test_without_frame_tokens_a_video_is_the_mean_of_its_frames(model):
    frames, towers = videos(), TwoTowers(model)
    means = torch.stack([towers.embed_images(video).mean(0) for video in frames])
    torch.testing.assert_close(towers.embed_videos(frames), means / means.norm(dim=1, keepdim=True))


@torch.no_grad()
def test_under_autocast_videos_are_nearly_the_same(model):
    towers, frames = towers_for_frames(model), videos()
    with torch.autocast("cpu", torch.bfloat16):
        found = towers.embed_videos(frames)
    torch.testing.assert_close(found, towers.embed_videos(frames), atol=0.02, rtol=0.1)


@pytest.mark.parametrize("proxies", [1, 3])
def test_frame_tokens_are_made_again_from_their_weights(proxies):
    extra = FrameTokens(6, proxies=proxies, time_rows=2)
    again = FrameTokens.of(extra.state_dict()).state_dict()
    assert again.keys() == extra.state_dict().keys()
    assert all(torch.equal(again[name], rows) for name, rows in extra.state_dict().items())


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
    towers, frames, order = towers_for_frames(model), videos(), [2, 0, 1]
    before = towers.embed_videos(frames)
    alone = towers.embed_videos(frames[:, order])
    assert not torch.allclose(before, alone, atol=1e-4)
    towers.heads.frames.times.copy_(towers.heads.frames.times[order])
    torch.testing.assert_close(towers.embed_videos(frames[:, order]), before, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_of_other_videos_do_not_matter(model):
    towers, frames = towers_for_frames(model), videos()
    before = towers.embed_videos(frames)[0]
    frames[1] = 255 - frames[1]
    torch.testing.assert_close(towers.embed_videos(frames)[0], before)


def test_all_proxies_and_times_get_a_gradient(model):
    extra = towers_for_frames(model).heads.frames
    encode_frames(model, extra, videos()).sum().backward()
    assert (extra.added_proxies.grad.abs().sum(1) > 0).all()
    assert (extra.times.grad.abs().sum(1) > 0).all()
