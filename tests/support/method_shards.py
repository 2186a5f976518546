"""Shards with the annotations that training methods read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from support.annotations import publish_annotations
from support.shards import ShardLake, draw, shard_row

MAKER = {"maker": "m:Maker", "version": "1"}


def publish_for_methods(root: Path) -> ShardLake:
    """Publish 50 pairs with annotations; their values are functions of the image_id."""
    lake = ShardLake(root)
    lake.publish([shard_row(n) for n in range(50)])
    for number, kind in enumerate(("rewrites", "teacher_image", "teacher_text", "frames")):
        publish_annotations(lake, kind, value=annotation, maker=MAKER, run=f"20300101T000000-a-{number}")
    return lake


def annotation(kind: str, image_id: str) -> Any:
    """Return the value of an image."""
    number = int(image_id, 16)
    if kind == "frames":
        caption = f"picture {number}" if number % 3 else None
        frames = {"frames": [draw(number + n)[0] for n in range(6)], "frame_times": [*range(6)]}
        return frames | {"subtitle": f"video {number}", "caption": caption}
    if kind == "rewrites":
        return [{"text": f"one {number} more", "style": "", "of": 0}]
    values = torch.randn(128, generator=torch.Generator().manual_seed(number))
    return (values / values.norm()).tolist()
