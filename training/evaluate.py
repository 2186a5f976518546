"""Zero-shot classification and retrieval: what a trained model knows without being trained for it.

    python -m training.evaluate --checkpoint DIR --images labels.jsonl --classes classes.json

`labels.jsonl` has one `{"image": path, "label": class}` a line, paths relative to its own folder; `classes.json` is
`{"languages": {language: {class: [prompt, …]}}}`. A language need not name every class: its images are those whose
label it names. One JSON line a language goes to stdout.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from torch import Tensor
from torch.nn.functional import normalize
from transformers import MetaClip2Model

from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError
from curation.io.storage import Storage
from training.data.loader import ShardReader
from training.data.shard_index import ShardIndex
from training.data.tokenizer import Tokenizer
from training.data.transforms import center_box, decode, resize
from training.engine import checkpoint
from training.models.metaclip2 import TwoTowers, image_size

Classes = Mapping[str, Mapping[str, Sequence[str]]]

EMBED_BATCH = 256


class EvaluateConfig(BaseSettings):
    """All keys of an evaluation."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="WORLDCURATE_EVALUATE_")

    checkpoint: str | None = Field(None, description="a checkpoint, or the output folder of a training run")
    images: str | None = Field(None, description="labels.jsonl: one {image, label} a line")
    classes: str | None = Field(None, description="classes.json: {languages: {language: {class: [prompt, …]}}}")


def main(argv: Sequence[str]) -> None:
    """Read the arguments and print one JSON line a language."""
    config = load_config(
        EvaluateConfig,
        argv,
        prog="python -m training.evaluate",
        description="zero-shot accuracy of a checkpoint, per language",
        required=("checkpoint", "images", "classes"),
    )
    folder = checkpoint.find(Path(config.checkpoint or ""))
    if folder is None:
        raise InputError(f"checkpoint: {config.checkpoint} holds no checkpoint")
    model, tokenizer = checkpoint.load_model(folder)
    TwoTowers(model).to("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = read_labels(Path(config.images or ""))
    for result in zero_shot(model, tokenizer, images, labels, read_classes(Path(config.classes or ""))):
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")


def zero_shot(
    model: MetaClip2Model, tokenizer: Tokenizer, images: Sequence[Path | bytes], labels: Sequence[str], classes: Classes
) -> list[dict[str, Any]]:
    """Name every image by the class whose prompts are nearest to it, in each language on its own.

    A class is the normalised mean of its prompts' embeddings (CLIP, arXiv 2103.00020, section 3.1.4). Returns a
    dictionary a language: `language`, `n` images whose label it names, `classes`, `correct`, `accuracy`, `chance`
    (1 / classes), and `low` and `high`, the 95% Wilson interval of the accuracy. Raises InputError when an image
    cannot be read or no language names any label.

    Args:
        model: the model, on the device to compute on.
        tokenizer: its tokenizer.
        images: paths of pictures, or their bytes.
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
        truth = torch.tensor([names.index(labels[row]) for row in rows])
        prototypes = torch.stack([embed_texts(towers, tokenizer, prompts[name]).mean(0) for name in names])
        named = (embedded[rows] @ normalize(prototypes, dim=-1).T).argmax(1)
        correct, n = int((named == truth).sum()), len(rows)
        low, high = wilson_interval(correct, n)
        result = {"language": language, "n": n, "classes": len(names), "correct": correct, "accuracy": correct / n}
        results.append({**result, "chance": 1 / len(names), "low": low, "high": high})
    if not results:
        raise InputError("no language of the classes names the label of any image")
    return results


def wilson_interval(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (JASA 22, 1927), by default at 95%."""
    share, squared = correct / n, z * z / n
    centre = (share + squared / 2) / (1 + squared)
    spread = z / (1 + squared) * math.sqrt(share * (1 - share) / n + squared / (4 * n))
    return max(0.0, min(share, centre - spread)), min(1.0, max(share, centre + spread))  # whatever the rounding


def retrieval(images: Tensor, texts: Tensor, captions: Sequence[str]) -> dict[str, float]:
    """Return recall@1 from image to text and from text to image.

    What was found is right when its caption equals the asked one's, so pairs with equal captions do not count as
    wrong for each other.

    Args:
        images: unit embeddings (n, d).
        texts: unit embeddings (n, d) of their captions.
        captions: the captions.
    """
    same = torch.from_numpy(np.unique(np.array(captions), return_inverse=True)[1])
    cosines = images @ texts.T
    text_of, image_of = cosines.argmax(1), cosines.argmax(0)
    return {
        "image_to_text_recall": float((same[text_of] == same).float().mean()),
        "text_to_image_recall": float((same[image_of] == same).float().mean()),
    }


def held_out_retrieval(
    towers: TwoTowers, tokenizer: Tokenizer, index: ShardIndex, storage: Storage, limit: int
) -> dict[str, float]:
    """Return retrieval recall on the first `limit` samples of an index, with the number of pairs."""
    pairs = list(_pairs(index, storage, limit))
    towers.eval()
    images = embed_images(towers, [image for image, _ in pairs])
    captions = [text for _, text in pairs]
    texts = embed_texts(towers, tokenizer, captions)
    towers.train()
    return {"held_out_pairs": len(pairs), **retrieval(images, texts, captions)}


def _pairs(index: ShardIndex, storage: Storage, limit: int) -> Iterator[tuple[bytes, str]]:
    reader, left = ShardReader(index, storage), limit
    for group in np.flatnonzero(index.counts).tolist():
        rows = reader.load(group)
        yield from (rows[row] for row in range(min(left, len(rows))))
        left -= len(rows)
        if left <= 0:
            return


@torch.no_grad()
def embed_images(towers: TwoTowers, images: Sequence[Path | bytes]) -> Tensor:
    """Return the unit embeddings (n, d), on the CPU, of pictures: the centre square of each.

    Raises InputError, naming it, when one cannot be read.
    """
    size = image_size(towers.model)
    parts = []
    for start in range(0, len(images), EMBED_BATCH):
        pixels = np.stack([_pixels(image, size) for image in images[start : start + EMBED_BATCH]])
        parts.append(towers.embed_images(torch.from_numpy(pixels)).cpu())
    return torch.cat(parts)


def _pixels(image: Path | bytes, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        picture = decode(image if isinstance(image, bytes) else image.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {image!s}: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{image if isinstance(image, Path) else 'a held-out image'}: {error}") from error
    return resize(picture, center_box(*picture.size), size)


@torch.no_grad()
def embed_texts(towers: TwoTowers, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return the unit embeddings (n, d), on the CPU, of texts."""
    starts = range(0, len(texts), EMBED_BATCH)
    return torch.cat([towers.embed_texts(tokenizer(texts[at : at + EMBED_BATCH])).cpu() for at in starts])


def read_labels(path: Path) -> tuple[list[Path], list[str]]:
    """Read image paths and labels. Raises InputError that names the line."""
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
        raise InputError(f"{path} names no image")
    return images, labels


def read_classes(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read the prompts of every language. Raises InputError that names what is wrong."""
    try:
        languages = json.loads(_read(path))["languages"]
        checked = {
            language: {name: [str(prompt) for prompt in prompts] for name, prompts in classes.items()}
            for language, classes in languages.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected {{'languages': {{language: {{class: [prompt, …]}}}}}}") from error
    empty = [f"{language}: {name}" for language, named in checked.items() for name in named if not named[name]]
    if empty:
        raise InputError(f"{path}: no prompt for {', '.join(empty)}")
    return checked


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


if __name__ == "__main__":
    sys.exit(run_command(main))
