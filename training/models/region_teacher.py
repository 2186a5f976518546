"""A teacher of image embeddings that knows regions and caption (DCLIP, arXiv 2505.21549).

Token states of the caption and embeddings of image regions, both of a frozen CLIP, attend to each other. The caption is
part of the image's embedding, so it belongs to the pair, not to the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

TEMPERATURE = 2.0  # of the weights of positions


class RegionTeacher(nn.Module):
    """Two attentions, from tokens to regions and from regions to tokens, and the pooled mean of both sides.

    Args:
        width: numbers per token state and region embedding.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.to_regions = nn.MultiheadAttention(width, heads, batch_first=True)
        self.to_tokens = nn.MultiheadAttention(width, heads, batch_first=True)
        self.token_norm, self.region_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, tokens: Tensor, regions: Tensor, token_mask: Tensor, region_mask: Tensor) -> Tensor:
        """Return the embeddings (b, width) of pairs, of any length.

        Args:
            tokens: projected states (b, n, width) of the caption's tokens without start and end.
            regions: embeddings (b, k, width) of regions.
            token_mask: bool (b, n), the tokens that exist; every pair has one.
            region_mask: bool (b, k), the regions that exist; every pair has one.
        """
        attended_tokens, attended_regions = self.attend(tokens, regions, token_mask, region_mask)
        return (pool(attended_tokens, token_mask) + pool(attended_regions, region_mask)) / 2

    def attend(self, tokens: Tensor, regions: Tensor, token_mask: Tensor, region_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens and regions after attention, residual and norm; the arguments are those of `forward`."""
        from_regions, _ = self.to_regions(tokens, regions, regions, key_padding_mask=~region_mask)
        from_tokens, _ = self.to_tokens(regions, tokens, tokens, key_padding_mask=~token_mask)
        return self.token_norm(tokens + from_regions), self.region_norm(regions + from_tokens)


def pool(states: Tensor, mask: Tensor) -> Tensor:
    """Return the sum (b, width) of states (b, n, width), weighted by a softmax of their cosines with their mean.

    States outside the mask (b, n) count neither in the mean nor in the sum.
    """
    present = mask[..., None].to(states.dtype)
    mean = (states * present).sum(1, keepdim=True) / present.sum(1, keepdim=True)
    cosines = cosine_similarity(states, mean, dim=-1) / TEMPERATURE
    weights = cosines.masked_fill(~mask, -torch.inf).softmax(1)
    return (weights[..., None] * states).sum(1)
