"""LaCLIP (arXiv 2305.20088): every visit shows the text or one of its rewrites, all equally likely."""

from __future__ import annotations

from training.methods.catalog import Method

METHOD = Method(
    "show the text of a sample or one of its rewrites in every visit",
    published={
        "text": {"sources": {"published": 1, "rewrites": 1}, "short_words": 2},
        "crop": {"area": [0.5, 1]},
        "lr": 1e-3,
        "weight_decay": 0.5,
        "betas": [0.9, 0.98],
    },
    tiny={},
)
