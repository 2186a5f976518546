"""Measure the zero-shot accuracy of a checkpoint, per language.

    python -m training.evaluate --checkpoint DIR --images labels.jsonl --classes classes.json

Each line of `labels.jsonl` is `{"image": path, "label": class}`, with paths relative to its folder; `classes.json` is
`{"languages": {language: {class: [prompt, …]}}}`. A language may omit classes: it is evaluated on the images whose
label it lists. Results are printed to stdout, one JSON line per language.

exit codes, as in docs/operations.md: 0 done, 1 a bug, 2 usage or config, 3 an input that is missing or unreadable,
130 interrupted
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from curation.cli.locations import Location
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError
from training.engine import checkpoint
from training.evaluation.zero_shot import read_classes, read_labels, zero_shot
from training.models.metaclip2 import TwoTowers


class EvaluateConfig(BaseSettings):
    """All configuration keys of an evaluation."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="WORLDCURATE_EVALUATE_")

    checkpoint: Location | None = Field(
        None, description="a checkpoint folder, or the output folder of a training run (its newest checkpoint)"
    )
    images: Location | None = Field(None, description="labels.jsonl: one {image, label} per line")
    classes: Location | None = Field(None, description="classes.json: {languages: {language: {class: [prompt, …]}}}")


def main(argv: Sequence[str]) -> None:
    """Read the arguments and print one JSON line per language."""
    config = load_config(
        EvaluateConfig,
        argv,
        prog="python -m training.evaluate",
        description=__doc__ or "",
        required=("checkpoint", "images", "classes"),
    )
    folder = checkpoint.find(Path(config.checkpoint or ""))
    if folder is None:
        raise InputError(
            f"checkpoint: {config.checkpoint} contains no checkpoint: pass a checkpoint or an output folder"
        )
    model, tokenizer = checkpoint.load_model(folder)
    TwoTowers(model).to("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = read_labels(Path(config.images or ""))
    for result in zero_shot(model, tokenizer, images, labels, read_classes(Path(config.classes or ""))):
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(run_command(main))
