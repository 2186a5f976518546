"""Measure how far the sample order is from a uniform permutation, for several streams and windows.

Two figures, each beside that of a uniform permutation:

- the share of pairs of samples of a batch that are of the same row group. Samples of a row group are unrelated, as
  shards are in hash order, but they meet again in the next epoch if they are often together;
- the mean distance of a sample's positions in two epochs, as a share of the epoch (uniform: 1/3).

    python benchmarks/bench_shuffle.py [--tiny]
"""

from __future__ import annotations

import numpy as np
from common import run, scaled, table

from training.data.sample_order import SampleOrder

GROUPS, ROWS = scaled(100, 20), scaled(1000, 50)
BATCH = scaled(1024, 64)


def samples_in_order(order: SampleOrder, epoch: int) -> np.ndarray:
    """Return the samples of an epoch as numbers, in their order."""
    locations = order.epoch(epoch, np.full(GROUPS, ROWS))
    return np.array([at.group * ROWS + at.row for at in map(locations.locate, range(GROUPS * ROWS))])


def same_group_share(samples: np.ndarray) -> float:
    """Return the share of pairs of samples of a batch that are of the same row group."""
    batches = samples[: len(samples) // BATCH * BATCH].reshape(-1, BATCH) // ROWS
    counts = np.array([np.bincount(batch, minlength=GROUPS) for batch in batches])
    return float((counts * (counts - 1)).sum(1).mean() / (BATCH * (BATCH - 1)))


def mean_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean distance of a sample's positions in two orders, as a share of their length."""
    return float(np.abs(np.argsort(one) - np.argsort(other)).mean() / len(one))


def main() -> None:
    """Print both figures for each order."""
    rng = np.random.default_rng(0)
    uniform = [rng.permutation(GROUPS * ROWS) for _ in range(2)]
    expected = same_group_share(uniform[0])
    rows = [["uniform", "", f"{expected:.4f}", "1.0", f"{mean_distance(*uniform):.3f}"]]
    for streams, window in ((1, 2048), (8, 2048), (64, 2048), (8, 512), (8, 8192)):
        epochs = [samples_in_order(SampleOrder(0, streams, window), epoch) for epoch in range(2)]
        share = same_group_share(epochs[0])
        figures = [f"{share:.4f}", f"{share / expected:.1f}", f"{mean_distance(*epochs):.3f}"]
        rows.append([str(streams), f"{window:,}", *figures])
    table(
        f"{GROUPS} row groups of {ROWS} samples, batches of {BATCH}",
        ["streams", "window", "pairs of a batch in the same row group", "× uniform", "distance between epochs"],
        rows,
    )


if __name__ == "__main__":
    run(main)
