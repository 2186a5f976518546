"""TEIR forgets less than plain training when toy languages that share pieces of words are learned one after the other.

The world has 24 captions of drawn shapes. A word of a language is two pieces, and 40% of its pieces are those of
earlier languages, with other meanings. The rule was fixed before the run: on each of three seeds, TEIR has the higher
average recall and the lower forgetting, from text to image. Decay must be strong to matter: lr x decay x steps is 0.36.
The run also prints the step mode, which is not published:

    python -m pytest -s -m slow tests/training/sequence/test_less_forgetting.py
"""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from support.annotations import publish_annotations
from support.shards import COLORS, SHAPES, ShardLake, draw, shard_row
from training.config import TrainConfig
from training.distributed import World
from training.engine.checkpoint import load_model
from training.evaluation.embed import StoredImage, embed_images
from training.evaluation.encoder import trained_encoder
from training.methods.forgetting import sequence_metrics
from training.models.towers import Outputs, TwoTowers
from training.sequence.recall_matrix import RecallMatrix
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
LANGUAGES = ("en", "l1", "l2", "l3", "l4", "l5")
PAIRS = 240  # of each language
PIECES = ["".join(letters) for letters in product("bdfgklmnprstvz", "aeiou")]
WORLD = {"image_size": 16, "context_length": 12, "log_every": 1000, "save_every": 1000, "shuffle_streams": 1}
ARMS = {
    "none": {"sequence": {"new_rows": 0.02}, "phase": {"row_factors": []}},
    "TEIR": {},
    "step": {"phase": {"row_factors": ["step", "decay"]}},
}


def vocabularies(seed: int) -> dict[str, dict[str, str]]:
    """Return the words of every language by their English ones."""
    choose, known, words = random.Random(seed), list[str](), {"en": {}}
    new = choose.sample(PIECES, len(PIECES))
    count = 2 * len([*COLORS, *SHAPES])
    for language in LANGUAGES[1:]:
        old = choose.sample(known, min(len(known), 2 * count // 5))
        pieces = old + [new.pop() for _ in range(count - len(old))]
        choose.shuffle(pieces)
        known += [piece for piece in pieces if piece not in known]
        pairs = zip(pieces[::2], pieces[1::2], strict=True)
        words[language] = {word: " ".join(pair) for word, pair in zip([*COLORS, *SHAPES], pairs, strict=True)}
    return words


def rows_of(seed: int) -> list[dict[str, Any]]:
    """Return the pairs of all languages, language after language, each in a picture of its own."""
    rows, words = [], vocabularies(seed)
    for number in range(PAIRS * len(LANGUAGES)):
        language, row = LANGUAGES[number // PAIRS], shard_row(number)
        text = str(row["text"])
        if language != "en":
            text = " ".join(words[language][word] for word in text.split()[1:])
        rows.append(row | {"text": text, "lang": language})
    return rows


def english_model(root: Path, seed: int) -> Path:
    """Train a model on English pairs and return its checkpoint."""
    lake = ShardLake(root / "english")
    lake.publish([shard_row(number) for number in range(5000, 5576)], group_rows=100, file_rows=600)
    caption = {"kind": "key", "column": "text"}
    keys = WORLD | {
        "views": {"image": {"kind": "image"}, "text": {"kind": "text"}, "caption": caption},
        "terms": [{"kind": "info_nce", "same": "caption"}],
        "vocab_size": 320,
        "batch_size": 48,
        "steps": 250,
        "lr": 1e-3,
    }
    summary = train(TrainConfig(lake=str(lake.root), output=str(root / "base"), seed=seed, **keys), ALONE)
    return Path(summary["checkpoint"])


def publish_world(root: Path, base: Path, seed: int) -> Path:
    """Publish the pairs of all languages with the embeddings of their images and English texts by a model."""
    lake, rows = ShardLake(root / "lake"), rows_of(seed)
    lake.publish(rows, group_rows=100, file_rows=2000)
    model, tokenizer = load_model(base)
    towers = TwoTowers(model, Outputs({"text": "text"}, raw={"text"})).eval()
    english = [draw(number)[1] for number in range(len(rows))]
    with torch.no_grad():
        texts = towers({"text": tokenizer(english)}).rows["text.raw"].tolist()
    sources = (StoredImage("", row["image"]) for row in rows)
    images = embed_images(trained_encoder(towers, tokenizer), sources).tolist()
    vectors = {"teacher_text": texts, "teacher_image": images}
    for number, (kind, values) in enumerate(vectors.items()):
        publish_annotations(
            lake,
            kind,
            value=lambda _, image_id, values=values: values[int(image_id, 16)],
            maker={"maker": "m:Maker", "version": "1"},
            run=f"20300101T000000-a-{number}",
        )
    return lake.root


def learn(lake: Path, base: Path, output: Path, seed: int, arm: dict[str, Any]) -> dict[str, float]:
    """Learn all languages and return the metrics of recall from text to image."""
    sequence = {"languages": LANGUAGES, "vocab_size": 300} | arm.get("sequence", {})
    keys = WORLD | {"batch_size": 64, "steps": 120, "lr": 3e-3, "weight_decay": 1.0, "keep_checkpoints": 1}
    keys |= {"method": "cll", "start": {"checkpoint": str(base)}, "seed": seed} | arm | {"sequence": sequence}
    train(TrainConfig(lake=str(lake), output=str(output), **keys), ALONE)
    return sequence_metrics(RecallMatrix.read(output).recall["text_to_image_recall"])


@pytest.mark.slow
def test_teir_has_higher_recall_and_less_forgetting_on_every_seed(tmp_path, capsys):
    differences = []
    for seed in range(3):
        root = tmp_path / str(seed)
        base = english_model(root, seed)
        lake = publish_world(root, base, seed)
        found = {name: learn(lake, base, root / name, seed, arm) for name, arm in ARMS.items()}
        with capsys.disabled():
            for name, metrics in found.items():
                print(f"seed {seed} {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in metrics.items()))  # noqa: T201
        differences.append({key: found["TEIR"][key] - found["none"][key] for key in ("AA", "F")})
    assert all(difference["AA"] > 0 > difference["F"] for difference in differences), differences
