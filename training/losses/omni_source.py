"""The contrastive loss of videos with two texts, subtitle and caption, and of frames with captions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import cross_entropy

from training.losses.gather import gather_rows, position
from training.losses.rows import at_least_float32, mean_of_rows


class VideoRows(NamedTuple):
    """Unit embeddings (b, d) of a rank's videos and their texts; b is equal on all ranks.

    Attributes:
        video: the videos.
        subtitle: what is said in them.
        caption: descriptions of a frame.
        frame: those frames; None: they are not compared.
        has_caption: bool (b,), the rows with a caption; None: all.
    """

    video: Tensor
    subtitle: Tensor
    caption: Tensor
    frame: Tensor | None = None
    has_caption: Tensor | None = None


def omni_source_loss(rows: VideoRows, scale: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Return this rank's part of the omnisource loss (CLIP-ViP, arXiv 2209.06430), a scalar.

    It is a sum of cross entropies: from subtitle and caption to video, from video to its subtitle among all subtitles
    and the captions of other videos, from video to its caption among all captions and the subtitles of other videos,
    and both directions between frame and caption. Rows without a caption take no part in the terms with captions. The
    mean over the ranks of a group is the loss of their rows. It is computed in float32, also under autocast, and in
    float64 for such embeddings.

    Args:
        rows: the embeddings.
        scale: the factor of the cosine similarities, a scalar.
        group: the ranks that are compared with each other; None: all.
    """
    with torch.autocast(rows.video.device.type, enabled=False):
        scale, present = at_least_float32(scale), rows.has_caption
        video, subtitle, caption = (at_least_float32(each) for each in rows[:3])
        videos, subtitles, captions = (gather_rows(each, group) for each in (video, subtitle, caption))
        own = _own_columns(len(video), group, video.device)
        # a row without a caption keeps its own column, so that no row of logits is empty; its loss is left out
        absent = None if present is None else ~gather_rows(present.to(torch.uint8), group).bool() & ~own

        def mean_loss(logits: Tensor, mask: Tensor | None = None) -> Tensor:
            losses = cross_entropy(logits, own.int().argmax(1), reduction="none")
            return mean_of_rows(losses, mask, group)

        to_subtitles = scale * video @ subtitles.T
        to_captions = _without(scale * video @ captions.T, absent)
        losses = [
            mean_loss(scale * subtitle @ videos.T),
            mean_loss(scale * caption @ videos.T, present),
            mean_loss(torch.cat([to_subtitles, _without(to_captions, own)], 1)),
            mean_loss(torch.cat([to_captions, _without(to_subtitles, own)], 1), present),
        ]
        if rows.frame is not None:
            frame = at_least_float32(rows.frame)
            losses += [
                mean_loss(_without(scale * frame @ captions.T, absent), present),
                mean_loss(_without(scale * caption @ gather_rows(frame, group).T, absent), present),
            ]
        return torch.stack(losses).sum()


def _own_columns(count: int, group: ProcessGroup | None, device: torch.device) -> Tensor:
    """Return a mask (b, B) of the column of every row of this rank among those of the group."""
    rank, size = position(group)
    own = torch.zeros(count, size * count, dtype=torch.bool, device=device)
    own[:, rank * count : (rank + 1) * count].fill_diagonal_(True)
    return own


def _without(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return logits in which masked candidates have probability 0."""
    return logits if mask is None else logits.masked_fill(mask, -torch.inf)
