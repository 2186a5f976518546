"""Measure a checkpoint, per language: zero-shot classification, retrieval of images and videos, a linear probe.

    python -m training.evaluate --checkpoint DIR --images labels.jsonl --classes classes.json
    python -m training.evaluate --checkpoint DIR --captions xm3600/captions.jsonl
    python -m training.evaluate --checkpoint DIR --images val --probe_images train
    python -m training.evaluate --checkpoint DIR --videos msrvtt.jsonl --video_frames 12

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
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console

from curation.cli.locations import Location
from curation.cli.log import logs_text
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError
from training.engine import checkpoint
from training.evaluation.encoder import Encoder, is_trained_here, read_hugging_face, trained_encoder
from training.evaluation.evaluation_set import EvaluationSet
from training.evaluation.measure import check_inputs, measure
from training.evaluation.results_table import results_table
from training.models.heads import Heads
from training.models.towers import TwoTowers

log = logging.getLogger(__name__)

TABLE_WIDTH = 160  # in characters, where stderr is not a terminal


class EvaluateConfig(BaseSettings, EvaluationSet):
    """All configuration keys of an evaluation."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="WORLDCURATE_EVALUATE_")

    checkpoint: Location | None = Field(
        None,
        description="a checkpoint, the output folder of a training run (its newest checkpoint), or any CLIP-like model "
        "in a Hugging Face folder",
    )


def main(argv: Sequence[str]) -> None:
    """Read the arguments and print one JSON line per task and language."""
    config = load_config(
        EvaluateConfig,
        argv,
        prog="python -m training.evaluate",
        description=__doc__ or "",
        required=("checkpoint", "images|captions|videos"),
    )
    check_inputs(config)
    results = []
    for result in measure(_read_encoder(Path(config.checkpoint or "")), config):
        results.append(result)
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    if logs_text():
        Console(stderr=True, width=None if sys.stderr.isatty() else TABLE_WIDTH).print(*results_table(results))


def _read_encoder(path: Path) -> Encoder:
    folder = checkpoint.find(path)
    if folder is None:
        raise InputError(f"checkpoint: {path} contains no checkpoint: pass a checkpoint or an output folder")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not is_trained_here(folder):
        log.info("%s: with the image transform and the tokenizer of this folder", folder)
        return read_hugging_face(folder, device)
    model, tokenizer = checkpoint.load_model(folder)
    heads = Heads()
    heads.frames = checkpoint.read_frame_tokens(folder)
    return trained_encoder(TwoTowers(model, heads=heads).to(device).eval(), tokenizer)


if __name__ == "__main__":
    sys.exit(run_command(main))
