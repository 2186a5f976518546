"""Shards of several languages with the annotations of CLL-CLIP, and a small configuration that learns them in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from support.annotations import publish_annotations
from support.shards import COLORS, SHAPES, SMALL, ShardLake, shard_row

LANGUAGES = ("en", "it", "el")
ENGLISH = [*COLORS, *SHAPES, "a"]
ITALIAN = ["rosso", "verde", "blu", "giallo", "nero", "arancio", "cerchio", "quadro", "barra", "croce", "un"]
GREEK = [
    *("κόκκινο", "πράσινο", "μπλε", "κίτρινο", "μαύρο", "πορτοκαλί"),
    *("κύκλος", "κουτί", "γραμμή", "σταυρός", "ένα"),
]
WORDS = {"it": dict(zip(ENGLISH, ITALIAN, strict=True)), "el": dict(zip(ENGLISH, GREEK, strict=True))}
KEYS = SMALL | {
    "method": "cll",
    "sequence": {"languages": LANGUAGES},
    "batch_size": 8,
    "context_length": 24,
    "save_every": 2,
    "keep_checkpoints": 9,
    "steps": 4,
}


def language_row(number: int) -> dict[str, object]:
    """Return a row of shards in one of the languages, in turn; the languages share digits."""
    language, row = LANGUAGES[number % 3], shard_row(number // 3)
    words = WORDS.get(language, {})
    text = " ".join(words.get(word, word) for word in [*str(row["text"]).split(), str(number % 7)])
    return row | {"image_id": f"{number:024x}", "text": text, "lang": language}


def publish_languages(root: Path, rows: int = 90) -> ShardLake:
    """Publish pairs in three languages, with vectors that are a function of the image."""
    lake = ShardLake(root)
    lake.publish([language_row(number) for number in range(rows)])
    for number, kind in enumerate(("teacher_image", "teacher_text")):
        maker = {"maker": "m:Maker", "version": "1"}
        publish_annotations(lake, kind, value=_vector, maker=maker, run=f"20300101T000000-a-{number}")
    return lake


def _vector(kind: str, image_id: str) -> Any:
    generator = torch.Generator().manual_seed(int(image_id, 16) + 1000 * (kind == "teacher_text"))
    values = torch.randn(128, generator=generator)
    return (values / values.norm()).tolist()
