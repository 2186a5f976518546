"""CLL-CLIP with TEIR (arXiv 2401.17186): learn languages one after the other by their token embeddings.

The published order has 36 languages, English first, each for three epochs; `sequence.languages` lists those of a run.
The vectors are those of the model at the start, before normalization.
"""

from __future__ import annotations

from training.methods.catalog import Method


def _views(size: int) -> dict[str, object]:
    """Return the views for a teacher whose embeddings have a size."""
    return {
        "text": {"kind": "text"},
        "teacher_text": {"kind": "vector", "column": "teacher_text", "size": size},
        "teacher_image": {"kind": "vector", "column": "teacher_image", "size": size},
        "image_id": {"kind": "key", "column": "image_id"},
    }


METHOD = Method(
    "learn languages one after the other by their token embeddings, and keep those of earlier languages (TEIR)",
    published={
        "views": _views(512),
        "terms": [
            {"kind": "pull", "between": ["text", "teacher_text"], "by": "mse"},
            {
                "kind": "info_nce",
                "between": ["text", "teacher_image"],
                "scale": "own",
                "same": "image_id",
                "weight": 0.01,
            },
        ],
        "select": {"teacher_text": {}, "teacher_image": {}},
        "sequence": {"vocab_size": 10_000, "new_rows": "matrix"},
        "phase": {
            "train": ["text_model.embeddings.token_embedding.weight", "heads.scales.*"],
            "row_factors": ["gradient", "decay"],
            "schedule": "constant",
            "scale": {"min": 2, "max": 1000},
        },
        "validation_share": 0.05,
        "batch_size": 128,
        "lr": 5e-5,
        "weight_decay": 0.05,
        "betas": [0.9, 0.999],
        "eps": 1e-6,
        "max_grad_norm": 1.0,
    },
    tiny={"views": _views(128), "sequence": {"vocab_size": 500}, "validation_share": 0.2, "lr": 3e-3},
)
