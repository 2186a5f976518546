"""DCLIP (arXiv 2505.21549): pull the embeddings of a trained model towards those of a teacher that knows regions.

The projections of the image encoder's attention and the whole text encoder are trained.
"""

from __future__ import annotations

from training.methods.catalog import Method


def _views(size: int) -> dict[str, object]:
    """Return the views for a teacher whose embeddings have a size."""
    return {
        "image": {"kind": "image"},
        "text": {"kind": "text"},
        "teacher_image": {"kind": "vector", "column": "teacher_image", "size": size},
        "teacher_text": {"kind": "vector", "column": "teacher_text", "size": size},
    }


METHOD = Method(
    "fine-tune towards stored embeddings of a teacher, and keep what the model knows",
    published={
        "views": _views(512),
        "terms": [
            {"kind": "info_nce", "scale": 20.0},
            {"kind": "pull", "between": ["image", "teacher_image"]},
            {"kind": "pull", "between": ["text", "teacher_text"]},
        ],
        "phase": {
            "train": ["vision_model*proj*", "visual_projection.*", "text_model.*", "text_projection.*"],
            "schedule": "constant",
        },
        "warmup_steps": 0,
        "lr": 1e-6,
        "weight_decay": 0.01,
        "betas": [0.9, 0.999],
        "max_grad_norm": 0.5,
    },
    tiny={"views": _views(128), "lr": 1e-4},
)
