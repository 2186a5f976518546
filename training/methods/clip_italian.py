"""CLIP-Italian (arXiv 2108.08688): two finished encoders, first only their projections, then all weights.

The rate of the first phase is not published; it has that of the second. Negatives are those of one rank.
"""

from __future__ import annotations

from training.methods.catalog import Method

PHASE = {
    "optimizer": "adabelief",
    "adaptive_clip": 0.01,
    "warmup_from_zero": True,
    "scale": {"initial": 20, "learned": False},
}

METHOD = Method(
    "train the projections of two finished encoders, then all weights, with AdaBelief and a fixed scale",
    published={
        "phases": [{**PHASE, "train": ["*_projection.weight"], "share": 26}, {**PHASE, "share": 15}],
        "crop": {"augment": "clip_italian"},
        "group": {"ranks": 1},
        "lr": 1e-5,
        "weight_decay": 0.0,
        "betas": [0.9, 0.999],
        "context_length": 96,
    },
    tiny={
        "phases": [{**PHASE, "train": ["*_projection.weight"]}, {**PHASE, "lr": 1e-4}],
        "lr": 1e-3,
        "context_length": 32,
    },
)
