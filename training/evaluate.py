"""Measure a checkpoint, per language: zero-shot classification, image-text retrieval, and a linear probe.

    python -m training.evaluate --checkpoint DIR --images labels.jsonl --classes classes.json
    python -m training.evaluate --checkpoint DIR --captions xm3600/captions.jsonl
    python -m training.evaluate --checkpoint DIR --images val --probe_images train

The checkpoint is a checkpoint or the output folder of a training run, or any CLIP-like model in a Hugging Face folder.
docs/training.md describes the layouts of the inputs and the figures. Results are printed to stdout, one JSON line per
task and language; a table on stderr shows the same.

exit codes, as in docs/operations.md: 0 done, 1 a bug, 2 usage or config, 3 an input that is missing or unreadable,
130 interrupted
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console

from curation.cli.locations import Location
from curation.cli.log import logs_text
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError, UsageError
from training.engine import checkpoint
from training.evaluation.captioned_images import captioned_images
from training.evaluation.class_prompts import Prompts, read_classes
from training.evaluation.encoder import Encoder, is_trained_here, read_hugging_face, trained_encoder
from training.evaluation.labeled_images import Labeled, embed_labeled, labeled_images
from training.evaluation.linear_probe import linear_probe
from training.evaluation.results_table import results_table
from training.evaluation.retrieval import embed_captioned, retrieval
from training.evaluation.stored_rows import Columns
from training.evaluation.zero_shot import zero_shot
from training.models.metaclip2 import TwoTowers

log = logging.getLogger(__name__)

TABLE_WIDTH = 160  # in characters, where stderr is not a terminal


class EvaluateConfig(BaseSettings):
    """All configuration keys of an evaluation."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="WORLDCURATE_EVALUATE_")

    checkpoint: Location | None = Field(
        None,
        description="a checkpoint, the output folder of a training run (its newest checkpoint), or any CLIP-like model "
        "in a Hugging Face folder",
    )
    images: Location | None = Field(
        None,
        description="labeled images: labels.jsonl with one {image, label} per line, a folder of one folder per class, "
        "Parquet files or WebDataset tars",
    )
    classes: Location | None = Field(
        None,
        description="zero-shot classification of `images`: {languages: {language: {class: [prompt, …]}}}, "
        "or Babel-ImageNet's {language: [[class index, …], [class name, …]]}",
    )
    templates: Location | None = Field(
        None, description="templates of prompts, {language: [template with {} or {c}, …]}; default: the names alone"
    )
    captions: Location | None = Field(
        None,
        description="image-text retrieval: captions.jsonl of XM3600, a folder of XTD10, JSON with images and captions, "
        "Parquet files or WebDataset tars",
    )
    image_folder: Location | None = Field(
        None, description="folder of the images that `captions` names; default: `images` next to it"
    )
    equal_captions: bool = Field(
        True, description="a caption that several images have is correct for all of them; false: only for its own image"
    )
    probe_images: Location | None = Field(
        None, description="linear probe: labeled images to fit it to; it is measured on `images`"
    )
    probe_c: float = Field(0.316, gt=0, description="inverse of the L2 penalty of the linear probe")
    languages: Literal["all"] | list[str] = Field("all", description="languages to measure, such as en,de; or all")
    image_column: str = Field("image", description="Parquet column with the bytes of the image")
    label_column: str = Field("label", description="column with the label; also of the JSON of a WebDataset sample")
    text_column: str = Field("text", description="column with a caption, or a list of captions")
    language_column: str = Field("lang", description="column with the language of the captions")

    @property
    def columns(self) -> Columns:
        """The names of columns."""
        return Columns(self.image_column, self.label_column, self.text_column, self.language_column)


def main(argv: Sequence[str]) -> None:
    """Read the arguments and print one JSON line per task and language."""
    config = load_config(
        EvaluateConfig,
        argv,
        prog="python -m training.evaluate",
        description=__doc__ or "",
        required=("checkpoint", "images|captions"),
    )
    _check(config)
    results = []
    for result in evaluate(config):
        results.append(result)
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    if logs_text():
        Console(stderr=True, width=None if sys.stderr.isatty() else TABLE_WIDTH).print(*results_table(results))


def _check(config: EvaluateConfig) -> None:
    """Raise UsageError if a key lacks another one that it needs."""
    if config.images and not (config.classes or config.probe_images):
        raise UsageError("images: nothing to measure: set classes, for zero-shot classification, or probe_images")
    for key in ("classes", "probe_images"):
        if getattr(config, key) and not config.images:
            raise UsageError(f"{key}: images is missing: set it to the labeled images to measure")


def evaluate(config: EvaluateConfig) -> Iterator[dict[str, Any]]:
    """Yield the results of all tasks that the configuration asks for: `task` and the keys of that task."""
    prompts: Prompts = {}
    by_index = False
    if config.classes:
        templates = Path(config.templates) if config.templates else None
        prompts, by_index = read_classes(Path(config.classes), templates)
        prompts = {language: prompts[language] for language in _chosen(config, prompts, "classes")}
    encoder = _read_encoder(Path(config.checkpoint or ""))

    def embed(path: str) -> Labeled:
        return embed_labeled(encoder, labeled_images(path, config.columns, by_index=by_index))

    if config.images:
        images = embed(config.images)
        for result in zero_shot(encoder, images, prompts) if config.classes else ():
            yield {"task": "zero_shot", **result}
        if config.probe_images:
            probe = linear_probe(embed(config.probe_images), images, inverse_penalty=config.probe_c)
            yield {"task": "linear_probe", **probe}
    if config.captions:
        folder = Path(config.image_folder) if config.image_folder else None
        captioned = embed_captioned(encoder, captioned_images(config.captions, folder, config.columns))
        languages = _chosen(config, captioned.captions, "captions")
        captioned = captioned._replace(captions={language: captioned.captions[language] for language in languages})
        for result in retrieval(encoder, captioned, equal_captions=config.equal_captions):
            yield {"task": "retrieval", **result}


def _chosen(config: EvaluateConfig, known: Iterable[str], key: str) -> list[str]:
    """Return the languages to measure. Raises UsageError if `key` has none of one of them."""
    known = list(known)
    if config.languages == "all":
        return known
    unknown = [language for language in config.languages if language not in known]
    if unknown:
        raise UsageError(f"languages: {key} has no {', '.join(unknown)}: choose from {', '.join(known)}")
    return config.languages


def _read_encoder(path: Path) -> Encoder:
    folder = checkpoint.find(path)
    if folder is None:
        raise InputError(f"checkpoint: {path} contains no checkpoint: pass a checkpoint or an output folder")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not is_trained_here(folder):
        log.info("%s: with the image transform and the tokenizer of this folder", folder)
        return read_hugging_face(folder, device)
    model, tokenizer = checkpoint.load_model(folder)
    return trained_encoder(TwoTowers(model).to(device).eval(), tokenizer)


if __name__ == "__main__":
    sys.exit(run_command(main))
