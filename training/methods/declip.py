"""DeCLIP (arXiv 2110.05208): two views of image and text, siamese images, nearest neighbors and masked words.

The values are those for YFCC15M. The bank of earlier texts holds those of all ranks, the same on each. Synonyms are
left out of the edits, because they need a thesaurus of every language.
"""

from __future__ import annotations

from training.methods.catalog import Method

IMAGES, TEXTS = ("image", "image_2"), ("text", "text_2")
NEIGHBORS = {"kind": "neighbor", "images": IMAGES, "texts": TEXTS, "weight": 0.2}
PAIRS = [{"kind": "info_nce", "between": [image, text], "weight": 0.4 / 4} for image in IMAGES for text in TEXTS]

METHOD = Method(
    "learn from two views of image and text, nearest neighbors and masked words, for few pairs",
    published={
        "views": {
            **{image: {"kind": "image", "area": [0.2, 1], "augment": "moco"} for image in IMAGES},
            "text": {"kind": "text", "mask": 0.15},
            "text_2": {"kind": "text", "edits": ["swap", "delete"]},
        },
        "terms": [*PAIRS, NEIGHBORS, {"kind": "siamese", "weight": 0.2}, {"kind": "masked_words", "weight": 0.2}],
        "lr": 1e-3,
        "warmup_steps": 2500,
        "weight_decay": 0.1,
        "betas": [0.9, 0.98],
        "eps": 1e-8,
    },
    tiny={
        "terms": [
            *PAIRS,
            {**NEIGHBORS, "size": 512},
            {"kind": "siamese", "weight": 0.2, "hidden": 128, "bottleneck": 64},
            {"kind": "masked_words", "weight": 0.2},
        ],
        "views": {image: {"area": [0.5, 1]} for image in IMAGES},
        "warmup_steps": None,
    },
)
