"""Write the page of a training run again from the files in its output folder: `OUTPUT/run.html`.

    python -m training.run_page --run runs/1

A run writes the page itself, with each checkpoint. The path of the page is printed to stdout.

exit codes, as in docs/operations.md: 0 done, 1 a bug, 2 usage, 3 the folder has no metrics of a run, 5 the disk is
full, 130 interrupted
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from curation.cli.locations import Location
from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.errors import InputError, UsageError
from curation.io.paths import is_s3
from training.engine import checkpoint
from training.engine.checkpoint import TrainingState
from training.report.metrics_file import METRICS_FILE
from training.report.page import write_page


class RunPageConfig(BaseSettings):
    """All configuration keys of the command."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="WORLDCURATE_RUN_PAGE_")

    run: Location | None = Field(None, description="output folder of the training run")


def main(argv: Sequence[str]) -> None:
    """Read the arguments and write the page."""
    prog = "python -m training.run_page"
    config = load_config(RunPageConfig, argv, prog=prog, description=__doc__ or "", required=("run",))
    assert config.run is not None, "load_config requires this key"
    if is_s3(config.run):
        raise UsageError(f"run: {config.run} is on S3: open its run.html there, or pass a copy of it in a folder")
    output = Path(config.run)
    if not (output / METRICS_FILE).exists():
        raise InputError(f"run: {output} has no {METRICS_FILE}: pass the output folder of a training run")
    folder = checkpoint.find(output)
    state = TrainingState.read(folder).model_dump(mode="json") if folder else {}
    sys.stdout.write(f"{write_page(output, state)}\n")


if __name__ == "__main__":
    sys.exit(run_command(main))
