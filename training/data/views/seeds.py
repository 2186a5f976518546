"""Seeds of the random choices that a visit of a sample makes."""

from __future__ import annotations

import numpy as np

from curation.hashing import u64


def view_seed(seed: int, purpose: str, view: str, *, epoch: int, position: int) -> int:
    """Return the seed of one choice of one view; it does not depend on ranks, workers or resuming.

    Args:
        seed: seed of the run.
        purpose: what is chosen, such as `source`, so that choices are independent.
        view: name of the view.
        epoch: number of the epoch.
        position: position of the sample in the epoch.
    """
    return u64(seed, f"view-{purpose}", view, str(epoch), str(position))


def generator(seed: int) -> np.random.Generator:
    """Return a generator whose numbers depend only on a seed."""
    return np.random.Generator(np.random.PCG64(seed))
