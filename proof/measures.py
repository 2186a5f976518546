"""Measure a model on held-out artists with the trainer's evaluation: per language and per concept.

    python -m proof.measures --checkpoint DIR --world DIR --concepts FILE

Prints the figures as JSON and writes the correct answers per concept to a Parquet file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.engine import checkpoint
from training.evaluation.captioned_images import captioned_images
from training.evaluation.class_prompts import read_classes
from training.evaluation.encoder import Encoder, trained_encoder
from training.evaluation.labeled_images import Labeled, embed_labeled, labeled_images
from training.evaluation.metrics.classification import classification_metrics
from training.evaluation.retrieval import embed_captioned, retrieval
from training.evaluation.stored_rows import Columns
from training.evaluation.zero_shot import class_scores
from training.models.towers import TwoTowers

CONCEPTS = pa.schema(
    [("lang", pa.string()), ("concept", pa.string()), ("pictures", pa.int32()), ("correct", pa.int32())]
)


def measure(folder: Path, world: Path, concepts: Path) -> dict[str, Any]:
    """Return the figures of a checkpoint per language, and write the correct answers per concept to a Parquet file.

    Keys: `zero_shot`, with `macro_accuracy` over concepts; `retrieval`, with recall, alignment and uniformity.
    """
    model, tokenizer = checkpoint.load_model(folder)
    encoder = trained_encoder(TwoTowers(model).eval(), tokenizer)
    images = embed_labeled(encoder, labeled_images(str(world / "heldout" / "labels.jsonl"), Columns()))
    prompts = read_classes(world / "classes.json").prompts
    rows, figures = [], []
    for language, classes in prompts.items():
        figure, of_language = zero_shot_by_concept(encoder, images, language, classes)
        figures.append(figure)
        rows += of_language
    pq.write_table(pa.Table.from_pylist(rows, schema=CONCEPTS), concepts)
    captions = captioned_images(str(world / "heldout" / "captions.json"), world / "heldout", Columns())
    retrieved = list(retrieval(encoder, embed_captioned(encoder, captions), equal_captions=True))
    return {"zero_shot": figures, "retrieval": retrieved}


def zero_shot_by_concept(
    encoder: Encoder, images: Labeled, language: str, classes: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the figures of a language, and a row for each concept with its pictures and the correct answers."""
    scored = class_scores(encoder, images, classes)
    assert scored is not None, "every language names held-out concepts"
    scores, expected = scored
    pictures = Counter(expected.tolist())
    correct = Counter(expected[scores.argmax(1) == expected].tolist())
    rows = [
        {"lang": language, "concept": concept, "pictures": pictures[number], "correct": correct[number]}
        for number, concept in enumerate(classes)
        if pictures[number]
    ]
    return {"language": language, **classification_metrics(scores, expected)}, rows


def main() -> None:
    """Measure a checkpoint from the command line."""
    parser = argparse.ArgumentParser(prog="python -m proof.measures", description="measure a checkpoint of the proof")
    for name in ("checkpoint", "world", "concepts"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options.checkpoint, options.world, options.concepts)) + "\n")


if __name__ == "__main__":
    main()
