"""Choose frames of a video (CLIP-ViP, arXiv 2209.06430)."""

from __future__ import annotations

from training.data.views.seeds import generator

CLIP_VIP_FRAMES = 12


def frame_indices(total: int, count: int, seed: int | None = None) -> list[int]:
    """Return the numbers of `count` frames of a video with `total`, in order and at equal distances.

    Without a seed they reach from the first to the last frame. A seed draws both ends, each within one distance.
    """
    if count == 1:
        return [middle_frame(total)]
    first, last = 0, total - 1
    if seed is not None:
        rng, step = generator(seed), total // (count - 1)
        first = min(int(rng.integers(step + 1)), total - 1)
        last = max(int(rng.integers(total - 1 - step, total)), first)
    return [first + number * (last - first) // (count - 1) for number in range(count)]


def middle_frame(total: int) -> int:
    """Return the number of the middle frame."""
    return total // 2
