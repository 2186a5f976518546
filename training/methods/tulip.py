"""TULIP (arXiv 2503.15485): sigmoid contrasts of image and text, of two crops, and of two forms of a text.

Weights are not published; each contrast has a scale and a bias of its own, because their pairs are found by chance with
different rates. Pairs with equal texts are left out of the contrasts of images and of texts.
"""

from __future__ import annotations

from training.methods.catalog import Method


def _terms(weight: float) -> list[dict[str, object]]:
    """Return the three contrasts; those of images and of texts have a weight."""
    own = {"kind": "sigmoid", "scale": "own", "same": "caption", "weight": weight}
    return [
        {"kind": "sigmoid"},
        {**own, "between": ["image", "target.image_2"]},
        {**own, "between": ["text", "text_2"]},
    ]


METHOD = Method(
    "contrast images with texts, with other crops seen by a moving average of the model, and texts with edited ones",
    published={
        "views": {
            "image": {"kind": "image", "area": [0.4, 1]},
            "image_2": {"kind": "image", "area": [0.4, 1]},
            "text": {"kind": "text"},
            "text_2": {"kind": "text", "edits": ["swap", "delete"]},
            "caption": {"kind": "key", "column": "text"},
        },
        "terms": _terms(1.0),
        "targets": {"momentum": 0.996},
        "lr": 1e-5,
        "weight_decay": 1e-4,
        "max_grad_norm": 2.0,
        "betas": [0.9, 0.999],
        "context_length": 70,
    },
    tiny={
        "views": {"image": {"area": [0.8, 1]}, "image_2": {"area": [0.8, 1]}},
        "terms": _terms(0.1),
        "lr": 3e-4,
        "context_length": 32,
    },
)
