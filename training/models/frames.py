"""An image encoder that reads the frames of a video, through its own layers (CLIP-ViP, arXiv 2209.06430).

Every frame gives its patches. Proxy tokens, of which the class token is the first, attend to all frames; a patch
attends to the proxies and to the patches of its own frame. One frame and one proxy give what the image encoder gives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize
from transformers import MetaClip2Model

from training.data.transforms import normalize_pixels

TIME_ROWS = 12


class FrameEncoder(nn.Module):
    """Encodes videos as sequences of frames.

    The published code starts added proxies with standard deviation 1; here they start like a class token of CLIP, with
    width^-1/2. Times start at 0, so that order does not matter before training.

    Args:
        model: its image encoder and projection are used, not copied.
        proxies: number of proxy tokens, at least 1; the class token is one.
        time_rows: number of rows of the table of times.
    """

    def __init__(self, model: MetaClip2Model, *, proxies: int = 4, time_rows: int = TIME_ROWS) -> None:
        super().__init__()
        self.vision, self.projection = model.vision_model, model.visual_projection
        width = self.projection.in_features
        self.added_proxies = nn.Parameter(torch.randn(proxies - 1, width) * width**-0.5)
        self.times = nn.Parameter(torch.zeros(time_rows, width))

    def forward(self, frames: Tensor) -> Tensor:
        """Return the unit embeddings (n, d) of videos.

        Args:
            frames: uint8 (n, frames, height, width, 3).
        """
        count, num_frames = frames.shape[:2]
        pixels = normalize_pixels(frames.flatten(0, 1).to(self.times.device, non_blocking=True))
        tokens = self.vision.embeddings(pixels).unflatten(0, (count, num_frames))  # class token, then patches
        classes, patches = tokens[:, 0, :1], tokens[:, :, 1:]
        num_patches = patches.shape[2]
        if len(self.added_proxies):
            start = self.vision.embeddings.position_embedding.weight[:1]  # the position of the class token
            classes = torch.cat([classes, (self.added_proxies + start).expand(count, -1, -1)], 1)
        patches = patches + resize_times(self.times, num_frames)[:, None]
        states = self.vision.pre_layrnorm(torch.cat([classes, patches.flatten(1, 2)], 1))
        mask = None
        if num_frames > 1:
            allowed = attention_mask(classes.shape[1], num_frames, num_patches, device=states.device)
            mask = torch.zeros(allowed.shape, device=states.device).masked_fill(~allowed, -torch.inf)[None, None]
        encoded = self.vision.encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state
        pooled = self.projection(self.vision.post_layernorm(encoded[:, 0]))
        return normalize(pooled.float(), dim=-1)


def resize_times(table: Tensor, frames: int) -> Tensor:
    """Return one row of time per frame (frames, d), read at equal distances between the rows of a table (rows, d)."""
    return interpolate(table.T[None], size=frames, mode="linear", align_corners=False)[0].T


def attention_mask(proxies: int, frames: int, patches: int, *, device: torch.device | None = None) -> Tensor:
    """Return which token (row) attends to which (column), a square bool matrix of proxies + frames * patches tokens."""
    frame_of = torch.arange(frames, device=device).repeat_interleave(patches)
    allowed = torch.ones(2 * [proxies + len(frame_of)], dtype=torch.bool, device=device)
    allowed[proxies:, proxies:] = frame_of[:, None] == frame_of
    return allowed
