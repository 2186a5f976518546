"""Zero-shot classification: label images with the class whose prompts are nearest, per language."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize
from transformers import MetaClip2Model

from curation.errors import InputError
from training.data.tokenizer import Tokenizer
from training.evaluation.embed import embed_images, embed_texts
from training.models.metaclip2 import TwoTowers

Classes = Mapping[str, Mapping[str, Sequence[str]]]


def zero_shot(
    model: MetaClip2Model, tokenizer: Tokenizer, images: Sequence[Path | bytes], labels: Sequence[str], classes: Classes
) -> list[dict[str, Any]]:
    """Classify every image by the nearest class, separately for each language.

    A class is represented by the normalized mean of its prompts' embeddings (CLIP, arXiv 2103.00020, section 3.1.4).
    Returns one dictionary per language: `language`, `n` (images whose label it lists), `classes`, `correct`,
    `accuracy`, `chance` (1 / classes), and `low` and `high`, the 95% Wilson interval of the accuracy. Raises InputError
    if an image cannot be read or no language lists any label.

    Args:
        model: the model, on its device.
        tokenizer: the tokenizer of the model.
        images: paths or bytes of the images.
        labels: the class of each image.
        classes: language -> class -> prompts.
    """
    towers = TwoTowers(model).eval()
    embedded = embed_images(towers, images)
    results = []
    for language, prompts in classes.items():
        names = list(prompts)
        rows = [number for number, label in enumerate(labels) if label in prompts]
        if not rows:
            continue
        expected = torch.tensor([names.index(labels[row]) for row in rows])
        prototypes = torch.stack([embed_texts(towers, tokenizer, prompts[name]).mean(0) for name in names])
        predicted = (embedded[rows] @ normalize(prototypes, dim=-1).T).argmax(1)
        correct, n = int((predicted == expected).sum()), len(rows)
        low, high = wilson_interval(correct, n)
        result = {"language": language, "n": n, "classes": len(names), "correct": correct, "accuracy": correct / n}
        results.append({**result, "chance": 1 / len(names), "low": low, "high": high})
    if not results:
        raise InputError("classes: no language lists the label of any image")
    return results


def wilson_interval(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (JASA 22, 1927), at 95% by default."""
    share, squared = correct / n, z * z / n
    center = (share + squared / 2) / (1 + squared)
    spread = z / (1 + squared) * math.sqrt(share * (1 - share) / n + squared / (4 * n))
    return max(0.0, min(share, center - spread)), min(1.0, max(share, center + spread))  # guards against rounding


def read_labels(path: Path) -> tuple[list[Path], list[str]]:
    """Read image paths and labels. Raises InputError with the number of a malformed line."""
    images, labels = [], []
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            image, label = row["image"], row["label"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} line {number}: expected {{'image': path, 'label': class}}") from error
        images.append(path.parent / image)
        labels.append(str(label))
    if not images:
        raise InputError(f"{path} lists no images")
    return images, labels


def read_classes(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read the prompts of every language. Raises InputError if the file is malformed or a class has no prompt."""
    try:
        languages = json.loads(_read(path))["languages"]
        checked = {
            language: {name: _list_of_texts(prompts) for name, prompts in classes.items()}
            for language, classes in languages.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected {{'languages': {{language: {{class: [prompt, …]}}}}}}") from error
    empty = [f"{language}: {name}" for language, named in checked.items() for name in named if not named[name]]
    if empty:
        raise InputError(f"{path}: no prompt for {', '.join(empty)}")
    return checked


def _list_of_texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("not a list of texts")
    return value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
