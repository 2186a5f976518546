"""An image encoder that reads the frames of a video, through its own layers (CLIP-ViP, arXiv 2209.06430).

Every frame gives its patches. Proxy tokens, of which the class token is the first, attend to all frames; a patch
attends to the proxies and to the patches of its own frame. One frame and one proxy give what the image encoder gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import MetaClip2Model

from training.data.transforms import normalize_pixels


class FrameTokens(nn.Module):
    """What an image encoder needs beside its own weights to read frames: added proxies, and times.

    The published code starts added proxies with standard deviation 1; here they start like a class token of CLIP, with
    width^-1/2. Times start at 0, so that order does not matter before training.

    Args:
        width: of the image encoder.
        proxies: number of proxy tokens, at least 1; the class token is one.
        time_rows: number of rows of the table of times.
    """

    def __init__(self, width: int, *, proxies: int, time_rows: int) -> None:
        super().__init__()
        self.added_proxies: nn.Parameter | None = None  # DDP and optimizers expect parameters with numbers
        if proxies > 1:
            self.added_proxies = nn.Parameter(torch.randn(proxies - 1, width) * width**-0.5)
        self.times = nn.Parameter(torch.zeros(time_rows, width))

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Self:
        """Return the module with these weights, which are those of its `state_dict`."""
        added, times = weights.get("added_proxies"), weights["times"]
        proxies = 1 + (0 if added is None else len(added))
        extra = cls(times.shape[1], proxies=proxies, time_rows=len(times))
        extra.load_state_dict(dict(weights))
        return extra


def encode_frames(model: MetaClip2Model, extra: FrameTokens, frames: Tensor) -> Tensor:
    """Return the projected features (n, d) of videos, of any length.

    Args:
        model: its image encoder and its projection read the frames.
        extra: proxies and times.
        frames: uint8 (n, frames, height, width, 3), on any device.
    """
    vision, (count, num_frames) = model.vision_model, frames.shape[:2]
    pixels = normalize_pixels(frames.flatten(0, 1).to(model.device, non_blocking=True))
    tokens = vision.embeddings(pixels).unflatten(0, (count, num_frames))  # class token, then patches
    proxies, patches = tokens[:, 0, :1], tokens[:, :, 1:]
    if extra.added_proxies is not None:
        start = vision.embeddings.position_embedding.weight[:1]  # the position of the class token
        proxies = torch.cat([proxies, (extra.added_proxies + start).expand(count, -1, -1)], 1)
    patches = patches + resize_times(extra.times, num_frames)[:, None]
    states = vision.pre_layrnorm(torch.cat([proxies, patches.flatten(1, 2)], 1))
    mask = None
    if num_frames > 1:
        allowed = attention_mask(proxies.shape[1], num_frames, patches.shape[2], device=states.device)
        mask = torch.zeros(allowed.shape, device=states.device).masked_fill(~allowed, -torch.inf)[None, None]
    encoded = vision.encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state
    features: Tensor = model.visual_projection(vision.post_layernorm(encoded[:, 0])).float()
    return features


def resize_times(table: Tensor, frames: int) -> Tensor:
    """Return one row of time per frame (frames, d), read at equal distances between the rows of a table (rows, d)."""
    return interpolate(table.T[None], size=frames, mode="linear", align_corners=False)[0].T


def attention_mask(proxies: int, frames: int, patches: int, *, device: torch.device | None = None) -> Tensor:
    """Return which token (row) attends to which (column), a square bool matrix of proxies + frames * patches tokens."""
    frame_of = torch.arange(frames, device=device).repeat_interleave(patches)
    allowed = torch.ones(2 * [proxies + len(frame_of)], dtype=torch.bool, device=device)
    allowed[proxies:, proxies:] = frame_of[:, None] == frame_of
    return allowed
